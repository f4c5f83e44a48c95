//! Reads directories: one folder per provider, one trait for all.
//!
//! A provider turns a vendor's API into [`Item`]s and says when it has read
//! everything. It never sees what was committed before; comparing is the work
//! of `sync`.

pub mod bundle;
pub mod entra;
pub mod github;
pub mod google;
pub mod http;
pub mod ldap;
pub mod okta;
pub mod pulse;
pub mod registry;

use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::model::{Group, Reference, User};

/// One connection to one directory.
///
/// A crawl must fail with [`PullError`] rather than seal on doubt: an error is
/// never an empty set.
#[async_trait]
pub trait Directory: Send {
    /// Reads the directory once, handing what it reads to `sink`, and seals.
    ///
    /// With [`Start::Incremental`] the provider may still read everything and
    /// seal with [`Extent::Whole`] (the cursor is too old, say).
    ///
    /// # Errors
    /// Any doubt that the reading is complete. Nothing handed over before an
    /// error is ever seen by anyone.
    async fn crawl(&mut self, start: Start, sink: &mut dyn Sink) -> Result<Seal, PullError>;

    /// Before the first [`Start::Full`]: what an earlier process sealed last.
    /// A full crawl does not start there, and yet a provider may know from it
    /// what was visible, so that a permission lost since is no removal.
    fn recall(&mut self, cursor: &Cursor) {
        let _ = cursor;
    }

    /// Tries everything a crawl needs, one step at a time, for `rosterd doctor`.
    async fn examine(&mut self) -> Vec<Finding>;
}

/// Where a crawl starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Read everything.
    Full,
    /// Read what changed since this cursor, which an earlier [`Seal`] carried.
    Incremental(Cursor),
    /// Go on with a crawl that failed, at the newest token that it handed to
    /// [`Sink::checkpoint`]. What it handed over before that is remembered;
    /// repeating some of it is harmless. A token that is of no use any more is
    /// [`PullError::CursorExpired`].
    Resume(Vec<u8>),
}

/// The provider's own bookmark, opaque to everyone else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

/// Takes what a crawl reads. Cheap and synchronous: it compares and remembers.
pub trait Sink: Send {
    /// Hands over one page. Being called at all is also the sign of progress,
    /// so call it (if need be with nothing) after every answer of the provider.
    fn page(&mut self, items: Vec<Item>);

    /// What an incremental crawl hands over from here on (`true`), until it says
    /// otherwise, is read again only to see whether the feed told everything: a
    /// difference is *drift*, and counted. Comes after what the feed told.
    fn verifying(&mut self, is_on: bool) {
        let _ = is_on;
    }

    /// Should the crawl fail from here on, it may go on with [`Start::Resume`]
    /// and this token. For providers whose paging outlives a connection; one
    /// that never calls it is never asked to resume. The token may be used by
    /// another process, which remembers nothing else.
    fn checkpoint(&mut self, token: Vec<u8>) {
        let _ = token;
    }
}

/// One thing read.
///
/// A full crawl hands over every user and every group, and for every group
/// its complete direct members, and it hands over users before the groups that
/// refer to them (which keeps memory small; nothing depends on it).
///
/// Aliases are remembered with the committed object, so an incremental crawl
/// may use them for objects that it does not hand over itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    User(UserItem),
    Group(GroupItem),
    /// The complete direct members of one group (users and groups).
    /// A second list for the same group in one crawl replaces the first.
    /// Every group that a full crawl hands over, and every new group of an
    /// incremental one, needs its list, if need be an empty one.
    Members {
        group: Reference,
        members: Vec<Reference>,
    },
    /// Incremental: these direct members joined.
    MembersAdded {
        group: Reference,
        members: Vec<Reference>,
    },
    /// Incremental: these direct members left.
    MembersRemoved {
        group: Reference,
        members: Vec<Reference>,
    },
    /// Incremental: the user is gone, with all memberships. Unknown ids are ignored.
    UserDeleted(Reference),
    /// Incremental: the group is gone, with all memberships. Unknown ids are ignored.
    GroupDeleted(Reference),
    /// The user or group exists and its last good record (for a group also its
    /// members) still stands: it was reported as present and unchanged, or could
    /// not be decoded. Unknown references are ignored.
    Kept(Reference),
}

/// A user as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserItem {
    pub user: User,
    /// Other names by which references may mean this user.
    pub aliases: Vec<String>,
    /// Groups that the user's own record states (AD primary group, POSIX
    /// `gidNumber`), beyond the lists that the groups carry.
    pub groups: Vec<Reference>,
}

/// A group as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupItem {
    pub group: Group,
    /// Other names by which references may mean this group.
    pub aliases: Vec<String>,
}

/// Positive proof that a crawl has read everything it set out to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub extent: Extent,
    /// Where the next incremental crawl may start; `None` when the provider
    /// has no such thing.
    pub cursor: Option<Cursor>,
    /// Why the crawl is known to be complete.
    pub proof: Proof,
    /// What was read again although no feed named it.
    pub verified: Verified,
    /// Requests or operations sent, by endpoint or operation.
    pub requests: std::collections::BTreeMap<String, u64>,
    /// Objects that could not be decoded, whose last good record was kept.
    pub malformed: u64,
}

/// Why a crawl is known to be complete, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Which lists came to the end marks of the provider, as a sentence.
    pub ends: String,
    /// Counts that the provider offers, beside what was read.
    pub compared: Vec<Compared>,
    /// How it is known that everything was visible, as a sentence.
    pub visibility: Option<String>,
}

/// A count that the provider offers, and what came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// `users`, `members of groups`, …
    pub what: String,
    pub announced: u64,
    pub read: u64,
}

/// What an incremental crawl read again only to see whether the feed lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub users: u64,
    pub groups: u64,
    /// What that cost, of the requests of the crawl.
    pub requests: u64,
}

impl From<String> for Proof {
    fn from(ends: String) -> Proof {
        Proof { ends, ..Proof::default() }
    }
}

impl Proof {
    /// Adds a count that was compared, if the provider offers it.
    #[must_use]
    pub fn counted(mut self, what: &str, announced: Option<u64>, read: u64) -> Proof {
        let what = what.to_owned();
        self.compared.extend(announced.map(|announced| Compared { what, announced, read }));
        self
    }

    /// Adds how it is known that everything was visible.
    #[must_use]
    pub fn visible(mut self, how: impl Into<String>) -> Proof {
        self.visibility = Some(how.into());
        self
    }
}

/// What a sealed crawl covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything: what was not handed over is gone.
    Whole,
    /// Only what changed: what was not handed over stands.
    Changes,
}

/// Why a crawl did not seal: one variant per reaction of the poller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// Network, TLS, timeouts, server trouble. Tried again with growing delays.
    #[error("cannot reach {what}: {reason}")]
    Unreachable { what: String, reason: String },
    /// The provider named a time before which it will not answer.
    #[error("throttled by {what}; it will answer again at {until}")]
    Throttled { what: String, until: Timestamp },
    /// The credential is refused, or lacks a permission.
    #[error("{what} refuses access: {reason}{}", permission.as_ref().map(|p| format!(" (missing permission: {p})")).unwrap_or_default())]
    Unauthorized { what: String, reason: String, permission: Option<String> },
    /// The cursor is of no use any more: the next crawl is full, at once.
    #[error("the incremental cursor is no longer valid: {reason}")]
    CursorExpired { reason: String },
    /// An answer came, but not all of it, or it contradicts itself.
    #[error("incomplete answer from {what}: {reason}")]
    Incomplete { what: String, reason: String },
    /// Trying again will not help until a person changes something.
    #[error("{what}: {reason}\nhint: {hint}")]
    Misconfigured { what: String, reason: String, hint: String },
}

/// The typed settings of one `provider.KIND` block, ready to connect.
pub trait Settings: Send + Sync + std::fmt::Debug {
    /// The provider's kind: `ldap`, `bundle`, …
    fn kind(&self) -> &'static str;

    /// Where it connects to, without secrets, for people.
    fn origin(&self) -> String;

    /// A digest of everything that alters what can be seen (URL, base, filters,
    /// credential, …). A cursor made under another fingerprint is not used.
    fn fingerprint(&self) -> String;

    /// Whether crawls use [`Sink::checkpoint`], so that what they hand over is
    /// written down for a restart.
    fn is_resumable(&self) -> bool {
        false
    }

    /// Makes the connection's state; connects when first asked to crawl.
    fn open(&self, patience: Patience) -> Box<dyn Directory>;
}

/// One line of `rosterd doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was tried: `network`, `TLS`, `credential`, `permission`, `visibility`, …
    pub step: String,
    pub outcome: Outcome,
    /// One sentence: what was found, and what to do when it is not well.
    pub detail: String,
}

/// Whether a step of `doctor` went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Good,
    Warning,
    Bad,
}

/// Limits of patience that every provider shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For one request or operation.
    pub request_timeout: Duration,
    /// For a crawl that makes no progress at all.
    pub stall_timeout: Duration,
}
