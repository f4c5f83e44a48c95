//! Users and groups that could not be read well, and so are read again soon.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::model::Reference;
use crate::provider::Item;

/// So many are remembered; the rolling re-reading comes to the others.
const REMEMBERED_MAX: usize = 1000;
/// So many of each kind are read again at a poll.
const AT_ONCE: usize = 20;

/// In turn, by id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Again {
    users: VecDeque<String>,
    groups: VecDeque<String>,
}

impl Again {
    /// Notes those whose last good record is kept.
    pub fn note(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Kept(Reference::User(id)) => push(&mut self.users, id),
                Item::Kept(Reference::Group(id)) => push(&mut self.groups, id),
                _ => {}
            }
        }
    }

    /// Takes out the users and groups whose turn it is.
    pub fn next(&mut self) -> (Vec<String>, Vec<String>) {
        (take(&mut self.users), take(&mut self.groups))
    }
}

fn push(queue: &mut VecDeque<String>, id: &str) {
    if queue.len() < REMEMBERED_MAX && !queue.iter().any(|known| known == id) {
        queue.push_back(id.to_owned());
    }
}

fn take(queue: &mut VecDeque<String>) -> Vec<String> {
    queue.drain(..queue.len().min(AT_ONCE)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_turn() {
        let mut again = Again::default();
        let kept = |n: usize| Item::Kept(Reference::Group(n.to_string()));
        again.note(&(0..30).map(kept).collect::<Vec<_>>());
        again.note(&[kept(3)]);
        let (users, first) = again.next();
        assert_eq!((users.len(), first.len(), first[0].as_str()), (0, 20, "0"));
        again.note(&[kept(0)]);
        assert_eq!(again.next().1.last().map(String::as_str), Some("0"));
        assert_eq!(again, Again::default());
    }
}
