//! What answers hold, as far as most programs need it.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ClientError;
use crate::clock::Timestamp;

/// An answer, typed, and all of it as JSON.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    value: T,
    json: Value,
}

impl<T: DeserializeOwned> Answer<T> {
    pub(super) fn read(json: Value) -> Result<Answer<T>, ClientError> {
        let value = T::deserialize(&json).map_err(ClientError::unreadable)?;
        Ok(Answer { value, json })
    }
}

impl<T> Answer<T> {
    /// Everything that the daemon said.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// What is typed of it.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Answer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Where an answer comes from, and how old that is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Place {
    pub seq: u64,
    pub directory: String,
    pub as_of: Option<Timestamp>,
    pub age_seconds: Option<u64>,
}

/// The answer to one check.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Check {
    pub member: bool,
    pub user: CheckedUser,
    pub group: NamedGroup,
    #[serde(flatten)]
    pub place: Place,
}

/// The answers to many, in the order of the questions.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Checks {
    pub seq: u64,
    pub checks: Vec<CheckResult>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum CheckResult {
    Answer { member: bool, directory: String, user: CheckedUser, group: NamedGroup },
    Problem { problem: Problem },
}

impl CheckResult {
    /// Whether the user is a member.
    ///
    /// # Errors
    /// The problem, where there is no answer: it is not the same as *no*.
    pub fn member(&self) -> Result<bool, &Problem> {
        match self {
            CheckResult::Answer { member, .. } => Ok(*member),
            CheckResult::Problem { problem } => Err(problem),
        }
    }
}

/// Why there is no answer (RFC 9457).
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Problem {
    /// The word to branch on.
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub hint: Option<String>,
}

/// The user of a check.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CheckedUser {
    pub id: String,
    pub username: String,
    pub active: bool,
}

/// A group by its names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NamedGroup {
    pub id: String,
    pub name: String,
}

/// Through which groups.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Why {
    pub member: bool,
    pub user: User,
    pub group: Group,
    /// Each from a group the user is directly in to the group that was asked for.
    pub paths: Vec<Vec<NamedGroup>>,
    /// There may be more paths than these.
    pub truncated: bool,
    #[serde(flatten)]
    pub place: Place,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct User {
    pub id: String,
    pub username: String,
    pub email: Option<String>,
    #[serde(default)]
    pub emails: Vec<String>,
    pub display_name: Option<String>,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
    pub active: bool,
    pub status: Option<String>,
    pub title: Option<String>,
    pub department: Option<String>,
    pub manager: Option<String>,
    #[serde(default)]
    pub attributes: Map<String, Value>,
    /// Where it is, in lists of several directories.
    pub directory: Option<String>,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Group {
    pub id: String,
    pub name: String,
    pub email: Option<String>,
    pub description: Option<String>,
    #[serde(default)]
    pub attributes: Map<String, Value>,
    /// Where it is, in lists of several directories.
    pub directory: Option<String>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Member {
    User(User),
    Group(Group),
}

/// One user.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct UserAnswer {
    pub user: User,
    #[serde(flatten)]
    pub place: Place,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct GroupAnswer {
    pub group: Group,
    #[serde(flatten)]
    pub place: Place,
}

/// A page of the journal.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Events {
    pub events: Vec<Event>,
    /// Where to go on (`after`).
    pub seq: u64,
    /// The last event there is.
    pub last_seq: u64,
    /// The first event that can still be read.
    pub oldest_seq: u64,
    /// Left out when there is no more.
    pub next_cursor: Option<String>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Event {
    pub id: String,
    pub seq: u64,
    #[serde(rename = "type")]
    pub kind: String,
    pub occurred_at: Timestamp,
    pub tenant: String,
    pub product: String,
    pub directory: String,
    pub data: Value,
}

/// All directories.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Directories {
    pub directories: Vec<Directory>,
    pub seq: u64,
}

/// How a directory fares.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Directory {
    pub name: String,
    pub tenant: String,
    pub product: String,
    pub provider: String,
    /// `new`, `healthy`, `failing` or `held`.
    pub state: String,
    pub as_of: Option<Timestamp>,
    pub age_seconds: Option<u64>,
    pub users: u64,
    pub groups: u64,
    pub memberships: u64,
    pub crawling: bool,
    pub last_error: Option<String>,
    pub hold: Option<Hold>,
}

/// Changes that wait for a person.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Hold {
    pub id: String,
    pub since: Timestamp,
    pub reason: String,
    pub rejected: bool,
    /// What letting it through would do.
    pub counts: BTreeMap<String, u64>,
}

/// A page of what is held, or would change.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ChangeRow {
    pub held: bool,
    pub text: String,
}

/// A poll is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SyncRequested {
    pub directory: String,
    pub requested: bool,
    pub seq: u64,
}

/// What became of a held set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Decided {
    pub directory: String,
    pub id: String,
    /// `approved` or `rejected`.
    pub decision: String,
    /// How long a rejection stands, in words.
    pub until: Option<String>,
}

/// All webhooks.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Webhooks {
    pub webhooks: Vec<Webhook>,
    pub seq: u64,
}

/// How a webhook fares.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Webhook {
    pub name: String,
    pub url: String,
    /// `delivering`, `failing`, `paused`, `disabled` or `stopped`.
    pub state: String,
    pub last_delivered_seq: u64,
    pub backlog: u64,
    pub last_error: Option<String>,
}

/// What became of an order to a webhook.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct WebhookDone {
    pub webhook: String,
    /// `paused`, `resumed`, `replaying` or `tested`.
    pub done: String,
    pub from: Option<u64>,
    pub to: Option<u64>,
    /// Of a test.
    pub delivery: Option<Delivery>,
}

/// One attempt of a delivery.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Delivery {
    pub id: String,
    pub at: Timestamp,
    pub accepted: bool,
    pub status: Option<u16>,
    pub latency_ms: u64,
    pub error: Option<String>,
}

/// A delivery log is empty.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WebhookCleared {
    pub webhook: String,
    pub cleared: u64,
}
