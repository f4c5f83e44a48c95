//! What to make of a reading of one group's members, and what to hand over.

use tracing::warn;

use super::Google;
use super::members::{Members, Reading};
use crate::clock;
use crate::model::Reference;
use crate::provider::Item;

/// A reading, once it is known whether a short list is to be believed.
pub enum Judged {
    List(Members),
    Short(Members),
    Kept { is_forbidden: bool },
    Gone,
}

impl Google {
    pub(super) fn judge(&mut self, group: &str, reading: Reading) -> Judged {
        match reading {
            Reading::Whole(members) => {
                self.shortages.clear(group);
                Judged::List(members)
            }
            Reading::Short { members, count } => {
                let missing = count - members.len().min(count);
                let enough = self.config.http.verify_within;
                if self.shortages.note(group, missing, clock::now(), enough) {
                    return Judged::List(members);
                }
                let listed = members.len();
                warn!(group, listed, count, "a group lists fewer members than it counts");
                Judged::Short(members)
            }
            Reading::Kept { reason, is_forbidden } => {
                warn!(group, reason, "a group cannot be read; its last good members are kept");
                Judged::Kept { is_forbidden }
            }
            Reading::Gone => {
                self.shortages.clear(group);
                Judged::Gone
            }
        }
    }

    /// What to hand over for a group's members. A list that is not believed
    /// adds members and removes none.
    pub(super) fn items(&self, group: &str, judged: &Judged, customer: Option<&str>) -> Vec<Item> {
        let id = Reference::Group(group.to_owned());
        let named = |members: &Members| members.references(self.config.external_members, customer);
        let kept = |members| {
            vec![Item::Kept(id.clone()), Item::MembersAdded { group: id.clone(), members }]
        };
        match judged {
            Judged::List(members) => {
                vec![Item::Members { group: id.clone(), members: named(members) }]
            }
            Judged::Short(members) => kept(named(members)),
            Judged::Kept { .. } => kept(Vec::new()),
            Judged::Gone => vec![Item::GroupDeleted(id.clone())],
        }
    }
}
