//! Tells apart what of a crawl may be applied and what is held.
//!
//! The crawl is compared a second time, as if the provider had not removed
//! what is held: held users and groups live on with their memberships, and a
//! user who was disabled stays as committed. What differs then may be applied.
//! That is believed only on proof: the second comparison removes exactly what
//! the first one did, less what is held; it adds the same memberships; and the
//! held rest, compared with the directory as it will be, is exactly the held
//! set. Where any of that fails, or where somebody new has a name of somebody
//! held, nothing of the crawl is applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::guard::{self, Gate, OnHold, Totals, Verdict};
use super::identity;
use super::plan::{Edges, Plan, Sealed};
use super::reconcile::{List, Reconciler};
use crate::index::{DirectoryView, Owner};
use crate::model::{Category, HeldRemovals, Layer, Member, Pending, Removal};
use crate::provider::{Extent, PullError};
use crate::store::record::{self, GroupKeys, UserKeys};

/// What becomes of a sealed crawl.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What may be applied.
    pub applies: Plan,
    pub held: Option<HeldPart>,
    /// Differences that only reading again found, though the provider's feed
    /// should have named them.
    pub drift: u64,
}

impl Outcome {
    /// Whether nothing of the crawl may be applied.
    pub fn is_held_whole(&self) -> bool {
        self.held.as_ref().is_some_and(|part| part.whole.is_some())
    }
}

/// What a person has to decide about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPart {
    /// Names exactly this set.
    pub id: String,
    pub reasons: BTreeMap<Category, String>,
    pub removals: HeldRemovals,
    /// What letting it through would change, after what is applied.
    pub plan: Plan,
    /// Why nothing of the crawl is applied, when that is so.
    pub whole: Option<String>,
    /// What has to be remembered with the crawl's cursor.
    pub pending: Pending,
}

/// What stays although the crawl removes it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) users: BTreeSet<u32>,
    pub(super) groups: BTreeSet<u32>,
    members: BTreeSet<(u32, Member)>,
    /// Memberships of kept users and groups that no list names any more.
    unlisted: BTreeSet<(u32, Member)>,
}

/// Compares a crawl, and lets of it through what `gate` does.
///
/// # Errors
/// [`PullError::Incomplete`] when a group came without its members.
pub(super) fn seal(crawl: Reconciler, extent: Extent, gate: &Gate) -> Result<Outcome, PullError> {
    let none = Pending::default();
    let pending = gate.hold.as_ref().map_or(&none, |hold| &hold.pending);
    let base = crawl.base.clone();
    let mut sealed = Sealed::new(crawl, extent, pending)?;
    let edges = sealed.edges();
    let found = sealed.removals(&edges);
    let totals = Totals::of(&base, &found);
    let verdict = guard::judge(&found, gate.hold.as_deref(), &totals, &gate.limits);
    if verdict.held.is_empty() {
        return Ok(Outcome { applies: sealed.finish(edges), ..Outcome::default() });
    }
    let added = edges.added.clone();
    let everything = sealed.copy().finish(edges);
    let apart = match gate.on_hold {
        OnHold::HoldAll => Err("`on_hold` is \"hold_all\"".to_owned()),
        OnHold::ApplySafe => split(sealed, &found, &verdict.held, &added),
    };
    let (applies, plan, pending, whole) = match apart {
        Ok(Apart { applies, rest, pending }) => (applies, rest, pending, None),
        Err(why) => (Plan::default(), everything, pending.clone(), Some(why)),
    };
    let Verdict { held, reasons } = verdict;
    let id = match whole {
        None => identity::of_removals(&held, &base),
        Some(_) => plan.id(&base),
    };
    let removals = HeldRemovals::of(&held);
    let held = Some(HeldPart { id, reasons, removals, plan, whole, pending });
    Ok(Outcome { applies, held, drift: 0 })
}

/// What letting through all that is pending would change.
///
/// # Errors
/// [`PullError::Incomplete`] when a group came without its members.
pub fn rest(base: Arc<DirectoryView>, pending: &Pending) -> Result<Plan, PullError> {
    let mut sealed = Sealed::new(Reconciler::new(base), Extent::Changes, pending)?;
    let edges = sealed.edges();
    Ok(sealed.finish(edges))
}

/// A crawl in two parts.
struct Apart {
    applies: Plan,
    rest: Plan,
    pending: Pending,
}

/// The two parts, or why there are none.
fn split(
    mut sealed: Sealed,
    found: &BTreeSet<Removal>,
    held: &BTreeSet<Removal>,
    added: &[crate::model::Change],
) -> Result<Apart, String> {
    let base = sealed.crawl.base.clone();
    sealed.tell_apart(held)?;
    let records = sealed.keep(held)?;
    let edges: Edges = sealed.edges();
    let removed = sealed.removals(&edges);
    let mixed = || "what is held and what is not depend on each other".to_owned();
    if !removed.iter().eq(found.difference(held)) || edges.added != added {
        return Err(mixed());
    }
    let unlisted = std::mem::take(&mut sealed.kept.unlisted);
    let pending = Pending { removals: held.clone(), records, unlisted };
    let applies = sealed.finish(edges);
    let after = base.apply(&applies.changes, base.last_seq() + 1).map_err(|_| mixed())?;
    let mut after = Sealed::new(Reconciler::new(Arc::new(after)), Extent::Changes, &pending)
        .map_err(|_| mixed())?;
    let edges = after.edges();
    if after.removals(&edges) != *held {
        return Err(mixed());
    }
    Ok(Apart { applies, rest: after.finish(edges), pending })
}

impl Kept {
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty() && self.members.is_empty()
    }

    /// Puts back into a list what it no longer names and what stays.
    pub(super) fn complete(&mut self, group: u32, base: &DirectoryView, list: &mut List) {
        if self.is_empty() {
            return;
        }
        for user in base.edges(group, Layer::Listed) {
            let (member, gone) = (Member::User(*user), self.users.contains(user));
            if list.users.binary_search(user).is_err() && self.stays(group, member, gone) {
                list.insert(Owner::User(*user));
            }
        }
        for inner in base.edges(group, Layer::Subgroup) {
            let (member, gone) = (Member::Group(*inner), self.groups.contains(inner));
            if list.groups.binary_search(inner).is_err() && self.stays(group, member, gone) {
                list.insert(Owner::Group(*inner));
            }
        }
    }

    /// Whether the membership stays; `gone`: the provider removed the member.
    fn stays(&mut self, group: u32, member: Member, gone: bool) -> bool {
        if gone {
            self.unlisted.insert((group, member));
        }
        gone || self.members.contains(&(group, member))
    }
}

impl Sealed {
    /// Takes back the removals of `held`. The records that came otherwise than
    /// they will be committed are handed back.
    fn keep(&mut self, held: &BTreeSet<Removal>) -> Result<BTreeMap<u32, Vec<u8>>, String> {
        let base = self.crawl.base.clone();
        let mut stated: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        let mut disabled = BTreeSet::new();
        for removal in held {
            match *removal {
                Removal::User(user) => self.keep_user(user),
                Removal::Group(group) => self.keep_group(group),
                Removal::Disabled(user) => {
                    disabled.insert(user);
                }
                Removal::Member { group, member } => {
                    self.kept.members.insert((group, member));
                    if let Member::User(user) = member
                        && base.edges(group, Layer::Listed).binary_search(&user).is_err()
                    {
                        stated.entry(user).or_default().insert(group);
                    }
                }
            }
        }
        for group in &self.kept.groups {
            for user in base.edges(*group, Layer::Declared) {
                if self.crawl.users.changed.contains(*user) {
                    stated.entry(*user).or_default().insert(*group);
                }
            }
        }
        let users: BTreeSet<u32> = disabled.iter().chain(stated.keys()).copied().collect();
        let mut records = BTreeMap::new();
        for user in users {
            let groups = stated.remove(&user).unwrap_or_default();
            let came = self.keep_record(user, disabled.contains(&user), &groups)?;
            records.insert(user, came);
        }
        Ok(records)
    }

    fn keep_user(&mut self, user: u32) {
        self.dead_users.remove(&user);
        self.crawl.users.deleted.remove(&user);
        self.kept.users.insert(user);
    }

    fn keep_group(&mut self, group: u32) {
        self.dead_groups.remove(&group);
        self.crawl.groups.deleted.remove(&group);
        self.kept.groups.insert(group);
    }

    /// Keeps a user active, or in the groups that only their own record states.
    /// Hands back the record as it came.
    fn keep_record(
        &mut self,
        user: u32,
        active: bool,
        groups: &BTreeSet<u32>,
    ) -> Result<Vec<u8>, String> {
        let lost = || "a membership ends without a list or a user that says so".to_owned();
        let before = self.crawl.base.user_record(user).ok_or_else(lost)?.to_vec();
        let came = self.crawl.users.changed.remove(user).ok_or_else(lost)?;
        let (Ok(old), Ok(mut new)) = (record::decode_user(&before), record::decode_user(&came))
        else {
            return Err(lost());
        };
        let keeps = |reference: &crate::model::Reference| {
            self.resolve_group(reference).is_some_and(|group| groups.contains(&group))
        };
        let stated: Vec<_> = old.groups.iter().filter(|group| keeps(group)).cloned().collect();
        new.groups.extend(stated);
        if active {
            new.user = old.user;
        }
        let record = record::encode_user(&new);
        if record != before {
            self.crawl.users.changed.insert(user, record);
        }
        Ok(came)
    }

    /// Nobody who came, and nobody who got another name, has a name of
    /// somebody held: readers could not tell them apart.
    fn tell_apart(&self, held: &BTreeSet<Removal>) -> Result<(), String> {
        let (crawl, base) = (&self.crawl, &self.crawl.base);
        let mut names: BTreeMap<Name, String> = BTreeMap::new();
        for removal in held {
            let (found, words) = match removal {
                Removal::User(slot) | Removal::Disabled(slot) => {
                    let record = base.user_record(*slot);
                    (user_names(record), words("user", record))
                }
                Removal::Group(slot) => {
                    let record = base.group_record(*slot);
                    (group_names(record), words("group", record))
                }
                Removal::Member { .. } => continue,
            };
            names.extend(found.into_iter().map(|name| (name, words.clone())));
        }
        let users = crawl
            .users
            .changed
            .iter()
            .filter(|(slot, _)| !held.contains(&Removal::Disabled(*slot)));
        let users = users.map(|(slot, record)| {
            (
                user_names(Some(record)),
                user_names(base.user_record(slot)),
                words("user", Some(record)),
            )
        });
        let groups = crawl.groups.changed.iter().map(|(slot, record)| {
            let before = group_names(base.group_record(slot));
            (group_names(Some(record)), before, words("group", Some(record)))
        });
        for (now, before, words) in users.chain(groups) {
            if let Some(other) = now.difference(&before).find_map(|name| names.get(name)) {
                return Err(format!("{words} has a name of {other}, which is held"));
            }
        }
        Ok(())
    }
}

/// A name in the scope in which it must mean one object.
type Name = (&'static str, String);

fn user_names(record: Option<&[u8]>) -> BTreeSet<Name> {
    let Some(Ok(keys)) = record.map(UserKeys::read) else { return BTreeSet::new() };
    let aliases = keys.aliases.iter().map(|alias| ("alias", (*alias).to_owned()));
    let emails = keys.emails.iter().map(|email| ("user", email.to_lowercase()));
    let own = [("id", keys.id.to_owned()), ("user", keys.username.to_lowercase())];
    aliases.chain(emails).chain(own).filter(|(_, name)| !name.is_empty()).collect()
}

fn group_names(record: Option<&[u8]>) -> BTreeSet<Name> {
    let Some(Ok(keys)) = record.map(GroupKeys::read) else { return BTreeSet::new() };
    let aliases = keys.aliases.iter().map(|alias| ("alias", (*alias).to_owned()));
    let email = keys.email.iter().map(|email| ("group", email.to_lowercase()));
    let own = [("id", keys.id.to_owned()), ("group", keys.name.to_lowercase())];
    aliases.chain(email).chain(own).filter(|(_, name)| !name.is_empty()).collect()
}

/// `user ada (u1)`.
fn words(kind: &str, record: Option<&[u8]>) -> String {
    match record.map(record::id_and_name_of) {
        Some(Ok((id, name))) => format!("{kind} {name} ({id})"),
        _ => format!("a {kind}"),
    }
}
