//! The ids of all users, for members that mean everybody.

use std::collections::{BTreeSet, HashSet};
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::api::{Api, Listed};
use super::map;
use crate::model::Reference;
use crate::provider::http::Cursors;
use crate::provider::{PullError, Sink};

/// All users that were listed, packed: there may be a million of them.
#[derive(Default)]
pub struct Everybody {
    /// Ids, each with a line end.
    ids: String,
    hashes: HashSet<u64>,
    domains: BTreeSet<String>,
    hasher: RandomState,
}

impl Everybody {
    /// Adds a user; `false` when it was there before.
    pub fn add(&mut self, id: &str, email: &str) -> bool {
        if !self.hashes.insert(self.hasher.hash_one(id)) {
            return false;
        }
        self.ids.push_str(id);
        self.ids.push('\n');
        if let Some(domain) = map::domain(email)
            && !self.domains.contains(&domain)
        {
            self.domains.insert(domain);
        }
        true
    }

    pub fn contains(&self, id: &str) -> bool {
        self.hashes.contains(&self.hasher.hash_one(id))
    }

    /// Whether addresses like this one are those of our own users.
    pub fn is_ours(&self, email: &str) -> bool {
        map::domain(email).is_some_and(|domain| self.domains.contains(&domain))
    }

    pub fn references(&self) -> impl Iterator<Item = Reference> {
        self.ids.lines().map(|id| Reference::User(id.to_owned()))
    }

    /// Lists the ids of all users.
    ///
    /// # Errors
    /// When the listing is not whole.
    pub async fn list(api: &Api, sink: &mut dyn Sink) -> Result<Everybody, PullError> {
        let mut all = Everybody::default();
        for part in 0..api.parts() {
            let mut cursors = Cursors::new("the ids of users");
            let mut page: Option<String> = None;
            loop {
                let listed = api.user_ids(part, page.as_deref()).await?;
                sink.page(Vec::new());
                let listed = match listed {
                    Listed::Page(page) => page,
                    Listed::Expired(reason) => return Err(PullError::CursorExpired { reason }),
                    Listed::Missing => return Err(nobody()),
                };
                for user in &listed.objects {
                    let email = user.get("primaryEmail").and_then(|email| email.as_str());
                    let is_deleted = user.get("deletionTime").is_some_and(|time| !time.is_null());
                    match map::id_of(user) {
                        Some(id) if !is_deleted => all.add(&id, email.unwrap_or_default()),
                        Some(_) => false,
                        None => return Err(nobody()),
                    };
                }
                let Some(next) = listed.next else { break };
                cursors.pass(&next)?;
                page = Some(next);
            }
        }
        if all.hashes.is_empty() { Err(nobody()) } else { Ok(all) }
    }
}

/// Known failure R3: there is always the administrator who is impersonated.
pub fn nobody() -> PullError {
    PullError::Incomplete {
        what: "the list of users".to_owned(),
        reason: "it is empty or lacks ids, although at least the impersonated administrator exists"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_remembered_once() {
        let mut all = Everybody::default();
        assert!(all.add("1", "a@Example.org") && !all.add("1", "a@example.org"));
        assert!(all.add("2", "b@example.org"));
        assert!(all.contains("2") && !all.contains("3"));
        assert!(all.is_ours("x@EXAMPLE.ORG") && !all.is_ours("x@gmail.com"));
        let ids: Vec<Reference> = all.references().collect();
        assert_eq!(ids, [Reference::User("1".into()), Reference::User("2".into())]);
    }
}
