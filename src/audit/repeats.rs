//! Bounds what a script may write into the audit trail: whoever asks for polls
//! all day long, or is refused all day long, must not push the decisions of
//! people out of it.
//!
//! Of the same act by the same actor the first few are entries of their own.
//! What comes after them is counted, and the count is an entry at once, after a
//! second, after two, and so on up to an hour. After a quiet hour it starts anew.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{Act, Action, Actor, Target, Value};

/// So many are entries of their own.
const OWN_MAX: u32 = 10;
/// Entries of one act are never further apart, in seconds; and after so many
/// without it, it is forgotten.
const APART_MAX: u32 = 3_600;
/// Acts that are told apart at a time, by what they were done to.
const KINDS_MAX: usize = 64;

/// Acts that are counted and not yet in the trail.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<Vec<(Kind, Tally)>>);

/// What makes two acts the same.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    action: Action,
    /// Without the number of the process: each call of the command has its own.
    actor: Actor,
    outcome: Option<Value>,
    /// `None`: too many different ones.
    targets: Option<Vec<Target>>,
}

#[derive(Debug)]
struct Tally {
    /// The last one that was counted.
    last: Act,
    count: u64,
    /// How many had an entry of their own.
    own: u32,
    /// Seconds until the next entry may come.
    left: u32,
    /// Seconds that the entry after it has to wait.
    apart: u32,
    /// Seconds since the last one.
    quiet: u32,
}

impl Repeats {
    /// The act, when it is to be an entry of its own; otherwise it is counted.
    pub(super) fn admit(&self, act: Act) -> Option<Act> {
        let mut all = self.all();
        let mut kind = Kind::of(&act);
        if all.len() >= KINDS_MAX && !all.iter().any(|(known, _)| *known == kind) {
            kind.targets = None;
        }
        let is_one = kind.targets.is_some();
        let tally = match all.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, tally)) => tally,
            None => {
                all.push((kind, Tally::new(act.clone())));
                &mut all.last_mut()?.1
            }
        };
        tally.quiet = 0;
        if tally.own < OWN_MAX {
            tally.own += 1;
            return Some(act);
        }
        tally.count += 1;
        tally.last = if is_one { act } else { Act { targets: Vec::new(), ..act } };
        None
    }

    /// A second has passed: what is to be recorded.
    pub(super) fn tick(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        self.all().retain_mut(|(_, tally)| {
            tally.quiet += 1;
            tally.left = tally.left.saturating_sub(1);
            if tally.left == 0 && tally.count > 0 {
                acts.push(tally.take());
                tally.apart = (tally.apart * 2).clamp(1, APART_MAX);
                tally.left = tally.apart;
            }
            tally.quiet < APART_MAX || tally.count > 0
        });
        acts
    }

    /// All that is left, at the end.
    pub(super) fn take(&self) -> Vec<Act> {
        let all = std::mem::take(&mut *self.all());
        let left = all.into_iter().filter(|(_, tally)| tally.count > 0);
        left.map(|(_, mut tally)| tally.take()).collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<(Kind, Tally)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    fn of(act: &Act) -> Kind {
        Kind {
            action: act.action.clone(),
            actor: without_pid(act.actor.clone()),
            outcome: act.metadata.get("outcome").cloned(),
            targets: Some(act.targets.clone()),
        }
    }
}

impl Tally {
    fn new(last: Act) -> Tally {
        Tally { last, count: 0, own: 0, left: 0, apart: 0, quiet: 0 }
    }

    fn take(&mut self) -> Act {
        let act = self.last.clone().with("count", std::mem::take(&mut self.count));
        Act { actor: without_pid(act.actor), ..act }
    }
}

fn without_pid(actor: Actor) -> Actor {
    match actor {
        Actor::Process { uid, gid, .. } => Actor::Process { uid, gid, pid: None },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Caller;

    fn sync(directory: &str, pid: u32) -> Act {
        let by = Caller::peer(1000, 100, Some(pid));
        Act::of(Action::DIRECTORY_SYNC, by).on("directory", directory)
    }

    fn counted(acts: &[Act]) -> i64 {
        let count = |act: &Act| match act.metadata.get("count") {
            Some(Value::Integer(count)) => *count,
            other => panic!("{other:?}"),
        };
        acts.iter().map(count).sum()
    }

    #[test]
    fn a_script_that_repeats_itself_all_day_leaves_room_for_others() {
        let repeats = Repeats::default();
        let (mut own, mut counts) = (0, Vec::new());
        for second in 0..86_400 {
            own += (0..3).filter_map(|n| repeats.admit(sync("corp", second * 3 + n))).count();
            counts.extend(repeats.tick());
        }
        assert!((20..60).contains(&counts.len()), "{} entries in a day", counts.len());
        counts.extend(repeats.take());
        assert_eq!((own, counted(&counts)), (10, 3 * 86_400 - 10), "all are counted");
        let nobody = Actor::Process { uid: 1000, gid: Some(100), pid: None };
        assert!(counts.iter().all(|act| act.actor == nobody && act.targets.len() == 1));
        assert!(repeats.take().is_empty());
    }

    #[test]
    fn what_a_person_does_now_and_then_is_told_one_by_one() {
        let repeats = Repeats::default();
        for pid in 0..30 {
            assert!(repeats.admit(sync("corp", pid)).is_some(), "the {pid}th");
            for _ in 0..APART_MAX {
                assert_eq!(repeats.tick(), []);
            }
        }
    }

    #[test]
    fn other_directories_people_and_outcomes_are_told_apart() {
        let repeats = Repeats::default();
        let repeat = |act: &Act| (0..100).filter_map(|_| repeats.admit(act.clone())).count();
        let other = Act { actor: Actor::Token("query.token".into()), ..sync("corp", 1) };
        let refused = sync("corp", 1).refused("there is none");
        for act in [sync("corp", 1), sync("lab", 1), other, refused] {
            assert_eq!(repeat(&act), 10);
        }
        assert_eq!((repeats.tick().len(), repeats.tick().len()), (4, 0));
    }

    #[test]
    fn ever_new_targets_are_bounded_too() {
        let repeats = Repeats::default();
        let own = (0..10_000).filter_map(|n| repeats.admit(sync(&format!("d{n}"), 1))).count();
        assert_eq!(own, KINDS_MAX + 10);
        let left = repeats.take();
        assert_eq!((left.len(), left[0].targets.len()), (1, 0));
        assert_eq!(counted(&left), 10_000 - own as i64);
    }
}
