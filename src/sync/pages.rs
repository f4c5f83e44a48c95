//! How the pages of a crawl are written as bytes, to be compared again after a
//! restart.
//!
//! Users and groups are written as the store's records are; reading them back
//! gives what comparing needs, in the records' own order.

use serde::{Deserialize, Serialize};

use super::reconcile::Reconciler;
use crate::model::Reference;
use crate::provider::Item;
use crate::store::record::{self, RecordError, ReferenceRow};

/// Bytes that are no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    #[error("the bytes are no page: {0}")]
    Foreign(#[from] postcard::Error),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What a provider handed over at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub items: Vec<Item>,
    /// It was read again although no feed named it.
    pub is_verified: bool,
}

impl Page {
    /// Hands it on.
    pub fn compare(self, reconciler: &mut Reconciler) {
        match self.is_verified {
            true => reconciler.verified(self.items),
            false => reconciler.page(self.items),
        }
    }
}

/// Encodes one page.
pub fn encode(page: &Page) -> Vec<u8> {
    let rows: Vec<ItemRow<'_>> = page.items.iter().map(ItemRow::from).collect();
    // Lists of texts and bytes always encode.
    postcard::to_stdvec(&(page.is_verified, rows)).unwrap_or_default()
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// When the bytes are no such page.
pub fn decode(bytes: &[u8]) -> Result<Page, PageError> {
    let (is_verified, rows): (bool, Vec<ItemRow<'_>>) = postcard::from_bytes(bytes)?;
    let items: Result<Vec<Item>, RecordError> = rows.into_iter().map(ItemRow::read).collect();
    Ok(Page { items: items?, is_verified })
}

#[derive(Serialize, Deserialize)]
enum ItemRow<'a> {
    User(Record),
    Group(Record),
    #[serde(borrow)]
    Members(Members<'a>),
    MembersAdded(Members<'a>),
    MembersRemoved(Members<'a>),
    UserDeleted(ReferenceRow<'a>),
    GroupDeleted(ReferenceRow<'a>),
    Kept(ReferenceRow<'a>),
}

#[derive(Serialize, Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    group: ReferenceRow<'a>,
    members: Vec<ReferenceRow<'a>>,
}

/// A record's bytes, written and read in one piece.
struct Record(Vec<u8>);

impl Serialize for Record {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Record, D::Error> {
        <&[u8]>::deserialize(from).map(|bytes| Record(bytes.to_vec()))
    }
}

impl<'a> From<&'a Item> for ItemRow<'a> {
    fn from(item: &'a Item) -> ItemRow<'a> {
        match item {
            Item::User(user) => ItemRow::User(Record(record::encode_user(user))),
            Item::Group(group) => ItemRow::Group(Record(record::encode_group(group))),
            Item::Members { group, members } => ItemRow::Members(Members::new(group, members)),
            Item::MembersAdded { group, members } => {
                ItemRow::MembersAdded(Members::new(group, members))
            }
            Item::MembersRemoved { group, members } => {
                ItemRow::MembersRemoved(Members::new(group, members))
            }
            Item::UserDeleted(reference) => ItemRow::UserDeleted(reference.into()),
            Item::GroupDeleted(reference) => ItemRow::GroupDeleted(reference.into()),
            Item::Kept(reference) => ItemRow::Kept(reference.into()),
        }
    }
}

impl ItemRow<'_> {
    fn read(self) -> Result<Item, RecordError> {
        Ok(match self {
            ItemRow::User(Record(bytes)) => Item::User(record::decode_user(&bytes)?),
            ItemRow::Group(Record(bytes)) => Item::Group(record::decode_group(&bytes)?),
            ItemRow::Members(row) => {
                let (group, members) = row.read();
                Item::Members { group, members }
            }
            ItemRow::MembersAdded(row) => {
                let (group, members) = row.read();
                Item::MembersAdded { group, members }
            }
            ItemRow::MembersRemoved(row) => {
                let (group, members) = row.read();
                Item::MembersRemoved { group, members }
            }
            ItemRow::UserDeleted(row) => Item::UserDeleted(row.into()),
            ItemRow::GroupDeleted(row) => Item::GroupDeleted(row.into()),
            ItemRow::Kept(row) => Item::Kept(row.into()),
        })
    }
}

impl<'a> Members<'a> {
    fn new(group: &'a Reference, members: &'a [Reference]) -> Members<'a> {
        Members { group: group.into(), members: members.iter().map(ReferenceRow::from).collect() }
    }

    fn read(self) -> (Reference, Vec<Reference>) {
        (self.group.into(), self.members.into_iter().map(Reference::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Group, User};
    use crate::provider::{GroupItem, UserItem};

    fn every_kind() -> Vec<Item> {
        let (id, alias) = (|id: &str| Reference::Id(id.into()), Reference::Alias("uid=a".into()));
        let (user, group) = (Reference::User("u".into()), Reference::Group("g".into()));
        let named = User { id: "u".into(), username: "ada".into(), ..User::default() };
        let aliases = vec!["uid=ada".to_owned()];
        vec![
            Item::User(UserItem { user: named, aliases: aliases.clone(), groups: vec![id("g")] }),
            Item::Group(GroupItem {
                group: Group { id: "g".into(), name: "crew".into(), ..Group::default() },
                aliases,
            }),
            Item::Members { group: group.clone(), members: vec![alias.clone(), id("u")] },
            Item::MembersAdded { group: id("g"), members: vec![user.clone()] },
            Item::MembersRemoved { group: alias, members: Vec::new() },
            Item::UserDeleted(user),
            Item::GroupDeleted(group.clone()),
            Item::Kept(group),
        ]
    }

    #[test]
    fn a_page_comes_back_as_it_went() {
        for items in [every_kind(), Vec::new()] {
            for is_verified in [false, true] {
                let page = Page { items: items.clone(), is_verified };
                assert_eq!(decode(&encode(&page)).unwrap(), page);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_page_are_refused() {
        let page = encode(&Page { items: every_kind(), is_verified: false });
        for length in 0..page.len() {
            assert!(decode(&page[..length]).is_err(), "cut to {length}");
        }
        for at in 0..page.len() {
            let mut other = page.clone();
            other[at] = 255;
            // It may be a page all the same; it must not be the end of us.
            let _another_page = decode(&other);
        }
    }
}
