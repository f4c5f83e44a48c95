//! What the databroker has of ours, and what has to be put or deleted so that
//! it has what the directories have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message;
use ring::digest::{SHA256, digest};

use super::message::{Any, Moment, PutRequest, Record, STRUCT_URL, Struct, Value};
use super::people::{Person, Roster, Team};
use crate::clock::Timestamp;
use crate::store::record::RecordError;

/// What a request may take: 1 MiB, less the frame around it.
const REQUEST_BYTES_MAX: usize = (1 << 20) - 16;

/// In a record, beside what Pomerium reads: whose it is.
const WRITTEN_BY: &str = "written_by";
const DIRECTORY: &str = "directory";

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    User,
    Group,
}

/// A record's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub kind: Kind,
    pub id: Box<str>,
}

/// The records that the databroker has of ours.
#[derive(Debug, Default)]
pub(super) struct Records {
    all: BTreeMap<Key, Kept>,
    names: BTreeSet<Arc<str>>,
    round: u32,
}

#[derive(Debug)]
struct Kept {
    /// Of its data; `None` when that is not known.
    digest: Option<Digest>,
    /// The directory it is of.
    directory: Arc<str>,
    /// When it was last found in the directories.
    round: u32,
}

type Digest = [u8; 16];

/// One record to be put or deleted.
#[derive(Debug)]
pub(super) enum Step {
    Delete(Key),
    /// Of the directory at this place of the roster.
    Put {
        kind: Kind,
        directory: usize,
        slot: u32,
    },
}

/// What one comparison found.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// What takes access away comes first.
    pub steps: Vec<Step>,
    /// Records that no request can hold.
    pub refused: Vec<Key>,
}

/// A request, and what the databroker has when it is accepted.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub request: PutRequest,
    pub outcome: Vec<Outcome>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Deleted(Key),
    Stored { key: Key, digest: Digest, directory: Box<str> },
}

impl Kind {
    pub(super) const ALL: [Kind; 2] = [Kind::User, Kind::Group];

    /// The type URL's last part, by which records are synced.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::User => "pomerium.io/DirectoryUser",
            Kind::Group => "pomerium.io/DirectoryGroup",
        }
    }

    fn of(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Records {
    /// Takes a record as the databroker has it; whether that was known. Records
    /// that another wrote are not ours to delete.
    pub(super) fn take(&mut self, record: &Record, mark: &str) -> bool {
        let Some(kind) = Kind::of(&record.kind) else { return true };
        let key = Key { kind, id: record.id.as_str().into() };
        let data = record.data.as_ref().filter(|_| record.deleted_at.is_none());
        let data = data.and_then(|data| Struct::decode(data.value.as_slice()).ok());
        let text = |data: &Struct, name| {
            data.fields.get(name).and_then(Value::as_text).unwrap_or_default().to_owned()
        };
        let Some(data) = data.filter(|data| text(data, WRITTEN_BY) == mark) else {
            return self.all.remove(&key).is_none();
        };
        let found = digest_of(&data.encode_to_vec());
        let directory = text(&data, DIRECTORY);
        let known = self.all.get(&key).is_some_and(|kept| kept.digest == Some(found));
        self.store(key, Some(found), &directory);
        known
    }

    /// What a record holds is not known; perhaps there is none.
    pub(super) fn doubt(&mut self, key: Key, directory: &str) {
        self.store(key, None, directory);
    }

    /// What the databroker has when it has what is in the directories.
    ///
    /// # Errors
    /// When a record is damaged.
    pub(super) fn assume(&mut self, roster: &Roster, mark: &str) -> Result<(), RecordError> {
        for (kind, directory, slot) in places(roster) {
            if let Some(put) = made(roster, kind, directory, slot, mark)?
                && !put.is_too_large()
            {
                let name = put.directory.clone();
                self.store(put.key, Some(put.digest), &name);
            }
        }
        Ok(())
    }

    /// An accepted request.
    pub(super) fn accept(&mut self, outcome: Vec<Outcome>) {
        for one in outcome {
            match one {
                Outcome::Deleted(key) => drop(self.all.remove(&key)),
                Outcome::Stored { key, digest, directory } => {
                    self.store(key, Some(digest), &directory);
                }
            }
        }
    }

    /// Compares with the directories. Records of `frozen` ones stay as they are:
    /// what these hold is not known yet. Blocks.
    ///
    /// # Errors
    /// When a record is damaged.
    pub(super) fn compare(
        &mut self,
        roster: &Roster,
        frozen: &BTreeSet<String>,
        mark: &str,
    ) -> Result<Difference, RecordError> {
        self.round = self.round.wrapping_add(1);
        let (mut puts, mut refused) = (Vec::new(), Vec::new());
        for (kind, directory, slot) in places(roster) {
            let Some(put) = made(roster, kind, directory, slot, mark)? else { continue };
            if put.is_too_large() {
                refused.push(put.key);
                continue;
            }
            match self.all.get_mut(&put.key) {
                Some(kept) if frozen.contains(&*kept.directory) => {}
                Some(kept) if kept.digest == Some(put.digest) => kept.round = self.round,
                Some(kept) => {
                    kept.round = self.round;
                    puts.push(Step::Put { kind, directory, slot });
                }
                None => puts.push(Step::Put { kind, directory, slot }),
            }
        }
        let gone = self
            .all
            .iter()
            .filter(|(_, kept)| kept.round != self.round && !frozen.contains(&*kept.directory));
        let mut steps: Vec<Step> = gone.map(|(key, _)| Step::Delete(key.clone())).collect();
        steps.append(&mut puts);
        Ok(Difference { steps, refused })
    }

    fn store(&mut self, key: Key, digest: Option<Digest>, directory: &str) {
        let directory = match self.names.get(directory) {
            Some(name) => Arc::clone(name),
            None => {
                let name: Arc<str> = directory.into();
                self.names.insert(Arc::clone(&name));
                name
            }
        };
        self.all.insert(key, Kept { digest, directory, round: self.round });
    }
}

/// Takes of `steps` what fits into one request.
///
/// # Errors
/// When a record is damaged.
pub(super) fn next_batch(
    steps: &mut std::iter::Peekable<std::vec::IntoIter<Step>>,
    roster: &Roster,
    mark: &str,
    now: Timestamp,
) -> Result<Batch, RecordError> {
    let mut batch = Batch::default();
    let mut bytes = 0;
    while let Some(step) = steps.peek() {
        let (record, outcome) = match step {
            Step::Delete(key) => (deletion(key, now), Outcome::Deleted(key.clone())),
            Step::Put { kind, directory, slot } => {
                // The roster is the one that was compared with.
                let Some(put) = made(roster, *kind, *directory, *slot, mark)? else {
                    steps.next();
                    continue;
                };
                let Put { key, record, digest, directory } = put;
                (record, Outcome::Stored { key, digest, directory })
            }
        };
        bytes += in_request(&record);
        if bytes > REQUEST_BYTES_MAX && !batch.outcome.is_empty() {
            break;
        }
        batch.request.records.push(record);
        batch.outcome.push(outcome);
        steps.next();
    }
    Ok(batch)
}

/// A record to be put.
struct Put {
    key: Key,
    record: Record,
    digest: Digest,
    directory: Box<str>,
}

impl Put {
    fn is_too_large(&self) -> bool {
        in_request(&self.record) > REQUEST_BYTES_MAX
    }
}

/// Users first: a user's record says what the user may.
fn places(roster: &Roster) -> impl Iterator<Item = (Kind, usize, u32)> + '_ {
    let users = roster
        .directories()
        .enumerate()
        .flat_map(|(at, directory)| directory.user_slots().map(move |slot| (Kind::User, at, slot)));
    let groups = roster.directories().enumerate().flat_map(|(at, directory)| {
        directory.group_slots().map(move |slot| (Kind::Group, at, slot))
    });
    users.chain(groups)
}

fn made(
    roster: &Roster,
    kind: Kind,
    directory: usize,
    slot: u32,
    mark: &str,
) -> Result<Option<Put>, RecordError> {
    let name = roster.directories().nth(directory).map(|directory| directory.name());
    let name = name.unwrap_or_default();
    let found = match kind {
        Kind::User => roster.person(directory, slot)?.map(fields_of_user),
        Kind::Group => roster.team(directory, slot)?.map(fields_of_group),
    };
    let Some((id, mut fields)) = found else { return Ok(None) };
    fields.insert(DIRECTORY.to_owned(), Value::text(name));
    fields.insert(WRITTEN_BY.to_owned(), Value::text(mark));
    let value = Struct { fields }.encode_to_vec();
    let digest = digest_of(&value);
    let data = Some(Any { type_url: STRUCT_URL.to_owned(), value });
    let record = Record { kind: kind.as_str().to_owned(), id, data, ..Record::default() };
    let key = Key { kind, id: record.id.as_str().into() };
    Ok(Some(Put { key, record, digest, directory: name.into() }))
}

type Fields = BTreeMap<String, Value>;

fn fields_of_user(person: Person) -> (String, Fields) {
    let Person { id, group_ids, display_name, email, username } = person;
    let texts = [("display_name", display_name), ("email", email), ("username", username)];
    let mut fields = not_empty(texts);
    fields.insert("id".to_owned(), Value::text(id.as_str()));
    fields.insert("group_ids".to_owned(), Value::texts(group_ids));
    (id, fields)
}

fn fields_of_group(team: Team) -> (String, Fields) {
    let Team { id, name, email } = team;
    let mut fields = not_empty([("name", name), ("email", email)]);
    fields.insert("id".to_owned(), Value::text(id.as_str()));
    (id, fields)
}

fn not_empty<const N: usize>(texts: [(&str, String); N]) -> Fields {
    let there = texts.into_iter().filter(|(_, text)| !text.is_empty());
    there.map(|(name, text)| (name.to_owned(), Value::text(text))).collect()
}

fn deletion(key: &Key, now: Timestamp) -> Record {
    let seconds = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(now.0 % 1000 * 1_000_000).unwrap_or(0);
    let data = Any { type_url: STRUCT_URL.to_owned(), value: Vec::new() };
    Record {
        kind: key.kind.as_str().to_owned(),
        id: key.id.to_string(),
        data: Some(data),
        deleted_at: Some(Moment { seconds, nanos }),
        ..Record::default()
    }
}

/// What the record takes in a request: itself, its tag and its length.
fn in_request(record: &Record) -> usize {
    let length = record.encoded_len();
    1 + prost::length_delimiter_len(length) + length
}

fn digest_of(bytes: &[u8]) -> Digest {
    digest(&SHA256, bytes).as_ref().first_chunk().copied().unwrap_or_default()
}
