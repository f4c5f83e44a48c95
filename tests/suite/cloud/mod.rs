//! What all cloud providers are held to: whatever the network and the vendor
//! do, readers see a state that the directory had, or nothing new.
//!
//! A vendor's test file has a world that is an [`Api`](crate::harness::vendor::Api)
//! and a [`Vendor`], and calls [`lives_through_anything`].

mod driver;
pub mod entra;
mod github;
mod google;
pub mod okta;
mod population;
mod restart;
mod script;

use std::collections::BTreeSet;
use std::sync::Arc;

use rosterd::config::section;
use rosterd::model::{Group, User};
use rosterd::provider::{PullError, Seal, Settings, Sink, Start, registry};
use serde_json::Value;

pub use self::driver::{
    a_first_crawl_goes_on_ten_times, lives_through_anything, two_directories_never_mix,
};
pub use self::population::Population;
use crate::harness::copy::{Collector, PATIENCE};
use crate::harness::roster::Roster;
use crate::harness::vendor::Api;

/// A vendor's world, as the common tests change it and look at it.
pub trait Vendor: Api + Default {
    /// The vendor's own hazards: names for [`Vendor::hazard`], and what they may do.
    const HAZARDS: &'static [(&'static str, Effect)];
    /// Polls after a change that the copy needs to be exact when all goes well.
    /// Choose settings (`verify_within = "1s"`, say) with which one is enough.
    const SETTLES_AFTER: usize = 1;
    /// How many random stories are tried.
    const CASES: u32 = 16;

    /// The settings of a `provider.KIND` block that leads to `url`, small
    /// enough in their delays that a test is quick. See [`settings`].
    fn settings(&self, url: &str) -> Arc<dyn Settings>;

    /// Carries out what the vendor has a notion of; ignores the rest, and what
    /// is impossible (a member that does not exist).
    fn apply(&mut self, op: &Op);

    /// Serves at most so many objects a page from now on.
    fn page(&mut self, objects_max: usize);

    /// Arms one of [`Vendor::HAZARDS`].
    fn hazard(&mut self, name: &str);

    /// No hazard of the vendor's own is armed any more.
    fn calm(&mut self);

    /// What readers should see once all is read.
    fn roster(&self) -> Roster;

    /// A world of that size; see [`Population::BIG`].
    fn fill(&mut self, population: Population);

    /// What is compared of a user: by default the title and whether it is active.
    fn user_words(user: &User) -> String {
        user_words(user.title.as_deref(), user.active)
    }

    /// What is compared of a group: by default name and description.
    fn group_words(group: &Group) -> String {
        group_words(&group.name, group.description.as_deref())
    }
}

/// For [`Vendor::roster`]: what [`Vendor::user_words`] makes of such a user.
pub fn user_words(title: Option<&str>, is_active: bool) -> String {
    format!("{} {}", title.unwrap_or("-"), if is_active { "active" } else { "inactive" })
}

/// For [`Vendor::roster`]: what [`Vendor::group_words`] makes of such a group.
pub fn group_words(name: &str, description: Option<&str>) -> String {
    format!("{name}: {}", description.unwrap_or("-"))
}

/// What a poll may come to under a hazard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It fails, or it succeeds and the copy is exact.
    Exact,
    /// It fails, or it succeeds and some objects may still be as they were
    /// before (malformed users, groups that were not shown).
    Kept,
}

/// One thing that happens at the vendor. Numbers stand for objects; a deleted
/// one that comes again is another, with another id.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Creates the user, or changes its title.
    PutUser(u8, u8),
    Disable(u8),
    Enable(u8),
    DeleteUser(u8),
    /// Creates the group, or changes its description.
    PutGroup(u8, u8),
    RenameGroup(u8, u8),
    DeleteGroup(u8),
    AddMember(u8, Member),
    RemoveMember(u8, Member),
}

#[derive(Clone, Copy, Debug)]
pub enum Member {
    User(u8),
    Group(u8),
}

/// Reads the text of a `provider.KIND` block.
pub fn settings(kind: &str, block: &str) -> Arc<dyn Settings> {
    let (_, read) = registry::KINDS
        .iter()
        .find(|(name, _)| *name == kind)
        .unwrap_or_else(|| panic!("{kind} is in `provider::registry::KINDS`"));
    section::read_text(block, read).unwrap_or_else(|report| panic!("{report}")).into()
}

/// The vendor's own client listed users, groups and each group's members: their
/// ids are those that readers of ours see.
pub fn assert_same(read: &Value, roster: &Roster) {
    assert_eq!(ids(&read["users"]), roster.users.keys().cloned().collect());
    let groups = read["groups"].as_object().unwrap();
    assert_eq!(groups.keys().collect::<BTreeSet<_>>(), roster.groups.keys().collect());
    let members: BTreeSet<(String, String)> = groups
        .iter()
        .flat_map(|(group, list)| ids(list).into_iter().map(move |id| (group.clone(), id)))
        .collect();
    assert_eq!(members, roster.members);
}

fn ids(value: &Value) -> BTreeSet<String> {
    let list = value.as_array().unwrap().iter();
    list.map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// What one crawl handed over.
#[derive(Debug, Default)]
pub struct Crawl {
    pub collected: Collector,
    /// In order.
    pub checkpoints: Vec<Vec<u8>>,
}

impl Sink for Crawl {
    fn page(&mut self, items: Vec<rosterd::provider::Item>) {
        self.collected.page(items);
    }

    fn checkpoint(&mut self, token: Vec<u8>) {
        self.checkpoints.push(token);
    }
}

/// Opens the directory and crawls once.
pub async fn crawl_once(settings: &dyn Settings, start: Start) -> (Crawl, Result<Seal, PullError>) {
    let mut crawl = Crawl::default();
    let outcome = settings.open(PATIENCE).crawl(start, &mut crawl).await;
    (crawl, outcome)
}
