//! One group's complete direct members, compared with `directMembersCount`.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::api::{Api, Found, Listed};
use super::map::{self, Member, Who};
use super::vendor;
use crate::model::Reference;
use crate::provider::PullError;
use crate::provider::http::Cursors;

/// More groups than this (and than a tenth) that cannot be read are no single ones.
const KEPT_MAX: u64 = 10;

/// Groups by address, as they were last read.
#[derive(Clone, Debug, Default)]
pub struct Known(HashMap<String, KnownGroup>);

/// What saves requests about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownGroup {
    pub id: String,
    /// How many members it had.
    pub count: Option<u64>,
}

/// What reading a group's members came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    Whole(Members),
    /// Read to the end, twice, and Google counts more.
    Short {
        members: Members,
        count: u64,
    },
    /// It may not be read, or not be understood: what was known of it stands.
    Kept {
        reason: String,
        is_forbidden: bool,
    },
    /// There is no such group any more.
    Gone,
}

/// The direct members of a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    /// Each once.
    pub list: Vec<Member>,
}

enum List {
    Whole { members: Members, says_what_it_is: bool },
    Malformed(String),
    Missing,
}

impl Known {
    pub fn get(&self, email: &str) -> Option<&KnownGroup> {
        self.0.get(email)
    }

    pub fn learn(&mut self, email: &str, id: &str, count: Option<u64>) {
        self.0.insert(email.to_owned(), KnownGroup { id: id.to_owned(), count });
    }

    pub fn count(&mut self, email: &str, count: u64) {
        if let Some(known) = self.0.get_mut(email) {
            known.count = Some(count);
        }
    }

    pub fn forget(&mut self, email: &str) {
        self.0.remove(email);
    }
}

impl Members {
    pub fn len(&self) -> u64 {
        self.list.len() as u64
    }

    /// Whether the list names the whole organisation `customer`.
    pub fn holds_everybody(&self, customer: Option<&str>) -> bool {
        self.list.iter().any(|member| is_everybody(member, customer))
    }

    /// How the group's list names them, without everybody.
    pub fn references(&self, external_members: bool, customer: Option<&str>) -> Vec<Reference> {
        let kept =
            self.list.iter().filter(|member| external_members || member.who != Who::External);
        kept.filter_map(|member| match member.who {
            // Another customer's people are not ours to know.
            Who::Customer if !is_everybody(member, customer) => {
                member.id.as_ref().map(|id| Reference::Id(format!("customer:{id}")))
            }
            _ => member.reference(),
        })
        .collect()
    }

    /// Whether the group has this address among its members.
    pub fn has(&self, email: &str) -> bool {
        self.list.iter().any(|member| member.email.as_deref() == Some(email))
    }

    /// How many members the count speaks of and the list lacks. Whether groups
    /// and everybody count is not documented, so only fewer than both is short.
    fn missing(&self, count: Option<u64>) -> u64 {
        if self.list.iter().any(|member| member.who == Who::Customer) {
            return 0;
        }
        count.unwrap_or(0).saturating_sub(self.len())
    }
}

/// So often a group is read whose answers make no sense.
const ATTEMPTS_MAX: u32 = 3;

/// Reads all direct members of `group`, which should be no fewer than `count`.
///
/// # Errors
/// Any doubt that concerns more than this group.
pub async fn read(api: &Api, group: &str, count: Option<u64>) -> Result<Reading, PullError> {
    let mut attempts = 1;
    loop {
        // Known failures R13 and R15: one group must neither lose its members
        // nor stop all others.
        let error = match attempt(api, group, count).await {
            Ok(reading) => return Ok(reading),
            Err(error) => error,
        };
        let is_forbidden = vendor::is_closed_object(&error);
        match &error {
            _ if is_forbidden => {}
            PullError::Incomplete { .. } if attempts < ATTEMPTS_MAX => {
                attempts += 1;
                continue;
            }
            PullError::Incomplete { .. } => {}
            // Whether Google is there at all, the group itself tells.
            PullError::Unreachable { .. } if api.group(group).await.is_ok() => {}
            _ => return Err(error),
        }
        return Ok(Reading::Kept { reason: error.to_string(), is_forbidden });
    }
}

/// Whether so many of `groups` are `kept` as they were that it is hardly about
/// single ones.
pub fn too_many(kept: u64, groups: u64) -> bool {
    (kept > KEPT_MAX && kept > groups / 10) || (groups > 1 && kept == groups)
}

async fn attempt(api: &Api, group: &str, count: Option<u64>) -> Result<Reading, PullError> {
    let first = match list(api, group).await? {
        List::Malformed(reason) => return Ok(Reading::Kept { reason, is_forbidden: false }),
        List::Missing => None,
        List::Whole { members, says_what_it_is } => {
            if members.missing(count) == 0 && (says_what_it_is || count == Some(0)) {
                return Ok(Reading::Whole(members));
            }
            Some(members)
        }
    };
    // The group itself says whether it still exists, and how many it counts now.
    let object = match api.group(group).await? {
        Found::Object(object) => object,
        Found::Missing => return Ok(Reading::Gone),
        Found::Closed => {
            let reason = "Google does not show it".to_owned();
            return Ok(Reading::Kept { reason, is_forbidden: true });
        }
    };
    let count = map::count_of(&object);
    if let Some(members) = first
        && members.len() > 0
        && members.missing(count) == 0
    {
        return Ok(Reading::Whole(members));
    }
    match list(api, group).await? {
        List::Malformed(reason) => Ok(Reading::Kept { reason, is_forbidden: false }),
        List::Missing => Ok(odd("it exists, and its members do not")),
        List::Whole { members, says_what_it_is } => match (members.missing(count), count) {
            (0, Some(0)) => Ok(Reading::Whole(members)),
            (0, _) if says_what_it_is => Ok(Reading::Whole(members)),
            (0, _) => Ok(odd("`members` is missing in an answer that does not say what it is")),
            (_, count) => Ok(Reading::Short { members, count: count.unwrap_or(0) }),
        },
    }
}

/// All pages of the list, from the start again when its token expires.
async fn list(api: &Api, group: &str) -> Result<List, PullError> {
    let mut restarts = 0;
    let mut cursors = Cursors::new("the members of a group");
    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    let (mut page, mut says_what_it_is) = (None::<String>, true);
    loop {
        let listed = match api.members(group, page.as_deref()).await? {
            Listed::Page(page) => page,
            Listed::Missing => return Ok(List::Missing),
            Listed::Expired(reason) if restarts > 1 => {
                return Err(PullError::CursorExpired { reason });
            }
            Listed::Expired(_) => {
                restarts += 1;
                (page, cursors) = (None, Cursors::new("the members of a group"));
                members.clear();
                continue;
            }
        };
        says_what_it_is &= listed.is_whole;
        if let Err(reason) = take(&listed.objects, &mut members) {
            return Ok(List::Malformed(reason));
        }
        let Some(next) = listed.next else {
            let members = Members { list: members.into_values().collect() };
            return Ok(List::Whole { members, says_what_it_is });
        };
        cursors.pass(&next)?;
        page = Some(next);
    }
}

fn take(objects: &[Value], members: &mut BTreeMap<String, Member>) -> Result<(), String> {
    for object in objects {
        let member = map::member(object)?;
        members.insert(member.key(), member);
    }
    Ok(())
}

fn is_everybody(member: &Member, customer: Option<&str>) -> bool {
    member.who == Who::Customer
        && match (&member.id, customer) {
            (Some(id), Some(customer)) => id == customer,
            _ => true,
        }
}

/// [`too_many`] groups make no sense.
pub fn outage(odd: u64, groups: u64) -> PullError {
    PullError::Incomplete {
        what: "the members of groups".to_owned(),
        reason: format!("those of {odd} of {groups} groups cannot be read"),
    }
}

fn odd(reason: &str) -> Reading {
    Reading::Kept { reason: reason.to_owned(), is_forbidden: false }
}
