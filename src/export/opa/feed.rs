//! What an engine is to get: the state now, or what changed since one it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::delta;
use super::patch::Op;
use super::revision::Revision;
use super::scope::{Place, Scope};
use super::touched::{Touched, Untold};
use crate::index::{SharedView, View};
use crate::model::Filter;
use crate::query::{Journal, JournalError};
use crate::store::Asked;
use crate::store::record::RecordError;

/// Events that are read at once.
const PAGE: usize = 1_000;
/// Who is so many events behind is moved on though nothing changed: else these
/// are read again and again, until the journal does not reach back to there.
const BEHIND_MAX: u64 = if cfg!(test) { 200 } else { 20_000 };
/// Events that are passed over at once.
const PASSED_MAX: u64 = 10_000;

/// Which directories there are, and how old they are.
pub trait Places: Send + Sync {
    /// All that are configured, by name.
    fn all(&self) -> Vec<Place>;
}

/// Where states and changes come from. A cheap handle.
#[derive(Clone)]
pub struct Feed {
    view: Arc<SharedView>,
    journal: Arc<dyn Journal>,
    places: Arc<dyn Places>,
}

/// What one scope is at one moment.
#[derive(Clone)]
pub struct State {
    pub view: Arc<View>,
    pub scope: Arc<Scope>,
    /// The directories in scope.
    pub places: Vec<Place>,
    pub revision: Revision,
}

/// What happened between two states.
#[derive(Debug)]
pub enum Change {
    /// Nothing that the document says.
    Nothing,
    /// These operations, all of them or none. The first one fails where another
    /// state is held than the one they were made for.
    Patch(Vec<Op>),
    /// That is not known, or too much: the whole is needed. Why, for people.
    Whole(&'static str),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("a record cannot be read: {0}")]
    Record(#[from] RecordError),
}

impl Feed {
    pub fn new(view: Arc<SharedView>, journal: Arc<dyn Journal>, places: Arc<dyn Places>) -> Feed {
        Feed { view, journal, places }
    }

    /// Tells when the seq moved.
    pub fn moved(&self) -> watch::Receiver<u64> {
        self.view.subscribe()
    }

    /// The directories of a scope.
    pub fn places(&self, scope: &Scope) -> Vec<Place> {
        let all = self.places.all().into_iter();
        all.filter(|place| scope.has(place)).collect()
    }

    /// The state now. Blocks.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn state(&self, scope: &Arc<Scope>) -> Result<State, FeedError> {
        // In this order: data may be younger than it says, never older.
        let places = self.places(scope);
        let view = self.view.load();
        let committed = match view.seq {
            0 => None,
            seq => self.journal.time_of(seq)?,
        };
        let (shape, ages) = (scope.shape(&places), Place::ages(&places));
        let revision =
            Revision { seq: view.seq, committed: committed.unwrap_or_default(), shape, ages };
        Ok(State { view, scope: Arc::clone(scope), places, revision })
    }

    /// What happened from a state that a client has to this one. Blocks.
    ///
    /// # Errors
    /// When the journal or a record cannot be read.
    pub fn change(&self, from: Revision, to: &State) -> Result<Change, FeedError> {
        if from == to.revision {
            return Ok(Change::Nothing);
        }
        if from.shape != to.revision.shape {
            return Ok(Change::Whole("it holds another scope, or other directories"));
        }
        if !self.is_ours(from, to)? {
            return Ok(Change::Whole("the journal does not reach back to it"));
        }
        let touched = match self.touched(from, to) {
            Ok(Some(touched)) => touched,
            Ok(None) => return Ok(Change::Whole("too much happened, or not event by event")),
            Err(JournalError::Gone { .. }) => {
                return Ok(Change::Whole("the journal does not reach back to it"));
            }
            Err(error) => return Err(error.into()),
        };
        let mut ops = Vec::new();
        for (name, touched) in &touched {
            let Some(directory) = to.view.directory(name) else {
                return Ok(Change::Whole("a directory is gone"));
            };
            let prefix = to.scope.group_prefix.as_deref();
            match delta::of_directory(directory, touched, prefix)? {
                Some(more) => ops.extend(more),
                None => return Ok(Change::Whole("too much happened")),
            }
            if ops.len() > delta::OPS_MAX {
                return Ok(Change::Whole("too much happened"));
            }
        }
        Ok(finished(ops, from, to))
    }

    /// Whether the state was one of this journal: a store that was restored from
    /// a backup counts on from an older seq.
    fn is_ours(&self, from: Revision, to: &State) -> Result<bool, JournalError> {
        if from.seq == 0 || from.seq > to.view.seq {
            return Ok(from.seq == 0 && self.journal.oldest_seq() <= 1);
        }
        match self.journal.time_of(from.seq) {
            Ok(committed) => Ok(committed == Some(from.committed)),
            Err(JournalError::Gone { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What the events between touched, by directory; `None` when that is too
    /// much, or was not told.
    fn touched(
        &self,
        from: Revision,
        to: &State,
    ) -> Result<Option<BTreeMap<String, Touched>>, JournalError> {
        let names = to.places.iter().map(|place| place.name.clone()).collect();
        let mut filter = Filter::all();
        filter.directories = Some(names);
        let mut touched: BTreeMap<String, Touched> = BTreeMap::new();
        let (mut after, until) = (from.seq, to.view.seq);
        while after < until {
            let asked =
                Asked { filter: &filter, after, until, limit: PAGE, passed_max: PASSED_MAX };
            let part = self.journal.read(&asked)?;
            for event in part.events.iter().filter(|event| !event.directory.is_empty()) {
                let here = touched.entry(event.directory.clone()).or_default();
                if let Err(Untold) = here.note(event) {
                    return Ok(None);
                }
            }
            if touched.values().map(Touched::len).sum::<usize>() > delta::OBJECTS_MAX {
                return Ok(None);
            }
            if part.upto <= after {
                return Err(JournalError::Failed(format!("it ends before seq {until}")));
            }
            after = part.upto;
        }
        Ok(Some(touched))
    }
}

/// Adds what changes with every state: how old the directories are, its name, and
/// the guard. OPA goes on with a patch that nobody waits for any more, and its
/// patches have no `test`; but one that removes what is not there fails whole.
fn finished(mut ops: Vec<Op>, from: Revision, to: &State) -> Change {
    let is_near = to.revision.seq.saturating_sub(from.seq) <= BEHIND_MAX;
    if ops.is_empty() && from.ages == to.revision.ages && is_near {
        return Change::Nothing;
    }
    if !ops.iter().all(Op::can_be_said) {
        return Change::Whole("an object has an empty id");
    }
    if from.ages != to.revision.ages {
        ops.extend(to.places.iter().map(|place| {
            let as_of = place.as_of.map(|at| at.to_string());
            Op::put(&["as_of", &place.name], as_of)
        }));
    }
    ops.insert(0, Op::remove(&["held", &from.to_string()]));
    ops.push(Op::put(&["held", &to.revision.to_string()], true));
    ops.push(Op::put(&["seq"], to.revision.seq));
    ops.push(Op::put(&["revision"], to.revision.to_string()));
    Change::Patch(ops)
}
