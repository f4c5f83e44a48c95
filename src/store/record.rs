//! How one user or group is written as bytes: compact, canonical, versioned.
//!
//! Equal objects give equal bytes, so comparing bytes is comparing objects.
//! The fields that look-ups need come first, so [`UserKeys`] and [`GroupKeys`]
//! read them without decoding the rest. Decoding borrows from the bytes.

use postcard::ser_flavors::Flavor;
use serde::de::{DeserializeSeed, EnumAccess, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{Attributes, Group, Reference, User, Value};
use crate::provider::{GroupItem, UserItem};

/// The first byte of every record.
const VERSION: u8 = 1;
/// What nearly all records take at most: room that is made at once.
const USUAL_BYTES: usize = 512;

/// Bytes that are no record of a known version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a {what} record of version {VERSION}")]
pub struct RecordError {
    what: &'static str,
}

/// Encodes a user with its aliases and declared groups, both sorted here.
pub fn encode_user(item: &UserItem) -> Vec<u8> {
    encode(&user_row(item))
}

/// Whether these bytes are what [`encode_user`] writes for this user.
pub fn holds_user(bytes: &[u8], item: &UserItem) -> bool {
    is_encoded(bytes, &user_row(item))
}

fn user_row(item: &UserItem) -> UserRow<'_> {
    let user = &item.user;
    UserRow {
        id: &user.id,
        username: &user.username,
        emails: borrowed(&user.emails),
        aliases: sorted(&item.aliases),
        groups: sorted_references(&item.groups),
        display_name: user.display_name.as_deref(),
        given_name: user.given_name.as_deref(),
        family_name: user.family_name.as_deref(),
        active: user.active,
        status: user.status.as_deref(),
        title: user.title.as_deref(),
        department: user.department.as_deref(),
        manager: user.manager.as_deref(),
        attributes: attributes(&user.attributes),
        raw: user.raw.as_deref(),
    }
}

/// Decodes what [`encode_user`] wrote.
///
/// # Errors
/// When the bytes are not such a record.
pub fn decode_user(bytes: &[u8]) -> Result<UserItem, RecordError> {
    let row: UserRow<'_> = decode(bytes, "user")?;
    Ok(UserItem {
        user: User {
            id: row.id.to_owned(),
            username: row.username.to_owned(),
            emails: owned(&row.emails),
            display_name: row.display_name.map(str::to_owned),
            given_name: row.given_name.map(str::to_owned),
            family_name: row.family_name.map(str::to_owned),
            active: row.active,
            status: row.status.map(str::to_owned),
            title: row.title.map(str::to_owned),
            department: row.department.map(str::to_owned),
            manager: row.manager.map(str::to_owned),
            attributes: from_rows(row.attributes),
            raw: row.raw.map(str::to_owned),
        },
        aliases: owned(&row.aliases),
        groups: row.groups.into_iter().map(Reference::from).collect(),
    })
}

/// Encodes a group with its aliases, sorted here.
pub fn encode_group(item: &GroupItem) -> Vec<u8> {
    encode(&group_row(item))
}

/// Whether these bytes are what [`encode_group`] writes for this group.
pub fn holds_group(bytes: &[u8], item: &GroupItem) -> bool {
    is_encoded(bytes, &group_row(item))
}

fn group_row(item: &GroupItem) -> GroupRow<'_> {
    let group = &item.group;
    GroupRow {
        id: &group.id,
        name: &group.name,
        email: group.email.as_deref(),
        aliases: sorted(&item.aliases),
        description: group.description.as_deref(),
        attributes: attributes(&group.attributes),
        raw: group.raw.as_deref(),
    }
}

/// Decodes what [`encode_group`] wrote.
///
/// # Errors
/// When the bytes are not such a record.
pub fn decode_group(bytes: &[u8]) -> Result<GroupItem, RecordError> {
    let row: GroupRow<'_> = decode(bytes, "group")?;
    Ok(GroupItem {
        group: Group {
            id: row.id.to_owned(),
            name: row.name.to_owned(),
            email: row.email.map(str::to_owned),
            description: row.description.map(str::to_owned),
            attributes: from_rows(row.attributes),
            raw: row.raw.map(str::to_owned),
        },
        aliases: owned(&row.aliases),
    })
}

/// What look-ups need of a user, borrowed from its record.
#[derive(Debug, Deserialize)]
pub struct UserKeys<'a> {
    #[serde(borrow)]
    pub id: &'a str,
    pub username: &'a str,
    pub emails: Vec<&'a str>,
    pub aliases: Vec<&'a str>,
    groups: Vec<ReferenceRow<'a>>,
}

impl<'a> UserKeys<'a> {
    /// Reads the leading fields only.
    ///
    /// # Errors
    /// When the bytes are not a user record.
    pub fn read(bytes: &'a [u8]) -> Result<UserKeys<'a>, RecordError> {
        decode(bytes, "user")
    }

    /// The groups that the user's own record states.
    pub fn groups(&self) -> impl Iterator<Item = Reference> + '_ {
        self.groups.iter().map(|row| Reference::from(*row))
    }
}

/// What look-ups need of a group, borrowed from its record.
#[derive(Debug, Deserialize)]
pub struct GroupKeys<'a> {
    #[serde(borrow)]
    pub id: &'a str,
    pub name: &'a str,
    pub email: Option<&'a str>,
    pub aliases: Vec<&'a str>,
}

impl<'a> GroupKeys<'a> {
    /// Reads the leading fields only.
    ///
    /// # Errors
    /// When the bytes are not a group record.
    pub fn read(bytes: &'a [u8]) -> Result<GroupKeys<'a>, RecordError> {
        decode(bytes, "group")
    }
}

/// The id alone, the cheapest read of a user's or a group's record.
pub fn id_of(bytes: &[u8]) -> Result<&str, RecordError> {
    decode(bytes, "user or group")
}

/// A user's id and username alone.
pub fn id_and_username_of(bytes: &[u8]) -> Result<(&str, &str), RecordError> {
    decode(bytes, "user")
}

/// A user's addresses, read one by one.
pub fn emails_of(bytes: &[u8]) -> Result<Texts<'_>, RecordError> {
    // What is passed over need not be read as text.
    let ((_id, _username, left), rest) = decode_head::<(&[u8], &[u8], usize)>(bytes, "user")?;
    Ok(Texts { left, rest })
}

/// A user's aliases, read one by one.
pub fn user_aliases_of(bytes: &[u8]) -> Result<Texts<'_>, RecordError> {
    emails_of(bytes)?.skip_to_next().ok_or(RecordError { what: "user" })
}

/// A group's aliases, read one by one.
pub fn group_aliases_of(bytes: &[u8]) -> Result<Texts<'_>, RecordError> {
    type Head<'a> = (&'a [u8], &'a [u8], Option<&'a [u8]>, usize);
    let ((_id, _name, _email, left), rest) = decode_head::<Head<'_>>(bytes, "group")?;
    Ok(Texts { left, rest })
}

/// Whether a user has this very alias; bytes that are no record have none.
pub fn user_has_alias(bytes: &[u8], alias: &str) -> bool {
    user_aliases_of(bytes).is_ok_and(|aliases| aliases.has(alias))
}

/// Whether a group has this very alias; bytes that are no record have none.
pub fn group_has_alias(bytes: &[u8], alias: &str) -> bool {
    group_aliases_of(bytes).is_ok_and(|aliases| aliases.has(alias))
}

/// Whether a user's own record states groups; `true` when it cannot be read.
pub fn states_groups(bytes: &[u8]) -> bool {
    let groups = user_aliases_of(bytes).ok().and_then(Texts::skip_to_next);
    groups.is_none_or(|groups| groups.left > 0)
}

/// A list of texts inside a record, borrowed without gathering it.
#[derive(Clone, Debug)]
pub struct Texts<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Texts<'a> {
    /// Whether this very text is among them.
    pub fn has(mut self, text: &str) -> bool {
        std::iter::from_fn(|| self.next_bytes()).any(|have| have == text.as_bytes())
    }

    /// The list that follows this one.
    fn skip_to_next(mut self) -> Option<Texts<'a>> {
        while self.left > 0 {
            self.next_bytes()?;
        }
        let (left, rest) = postcard::take_from_bytes(self.rest).ok()?;
        Some(Texts { left, rest })
    }

    fn next_bytes(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (text, rest) = postcard::take_from_bytes(self.rest).ok()?;
        self.rest = rest;
        Some(text)
    }
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a str;

    /// Bytes that are no text end the list.
    fn next(&mut self) -> Option<&'a str> {
        let text = str::from_utf8(self.next_bytes()?).ok();
        self.left = text.map_or(0, |_| self.left);
        text
    }
}

/// What a short answer shows of a user, borrowed from its record; read without
/// allocating.
#[derive(Debug)]
pub struct UserSummary<'a> {
    pub id: &'a str,
    pub username: &'a str,
    pub active: bool,
}

impl<'a> UserSummary<'a> {
    /// Reads these fields and passes over the others.
    ///
    /// # Errors
    /// When the bytes are not a user record.
    pub fn read(bytes: &'a [u8]) -> Result<UserSummary<'a>, RecordError> {
        let row: UserSummaryRow<'a> = decode(bytes, "user")?;
        Ok(UserSummary { id: row.id, username: row.username, active: row.active })
    }
}

/// A group's id and name alone.
pub fn id_and_name_of(bytes: &[u8]) -> Result<(&str, &str), RecordError> {
    decode(bytes, "group")
}

/// The fields of [`UserRow`] up to `active`.
#[derive(Deserialize)]
struct UserSummaryRow<'a> {
    id: &'a str,
    username: &'a str,
    #[serde(rename = "emails", borrow)]
    _emails: Passed<&'a str>,
    #[serde(rename = "aliases")]
    _aliases: Passed<&'a str>,
    #[serde(rename = "groups")]
    _groups: Passed<ReferenceRow<'a>>,
    #[serde(rename = "display_name")]
    _display_name: Option<&'a str>,
    #[serde(rename = "given_name")]
    _given_name: Option<&'a str>,
    #[serde(rename = "family_name")]
    _family_name: Option<&'a str>,
    active: bool,
}

/// A list that is read over.
struct Passed<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Passed<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Passed<T>, D::Error> {
        from.deserialize_seq(Passed(std::marker::PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Passed<T> {
    type Value = Passed<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Passed<T>, A::Error> {
        while list.next_element::<T>()?.is_some() {}
        Ok(self)
    }
}

#[derive(Serialize, Deserialize)]
struct UserRow<'a> {
    id: &'a str,
    username: &'a str,
    #[serde(borrow)]
    emails: Vec<&'a str>,
    aliases: Vec<&'a str>,
    groups: Vec<ReferenceRow<'a>>,
    display_name: Option<&'a str>,
    given_name: Option<&'a str>,
    family_name: Option<&'a str>,
    active: bool,
    status: Option<&'a str>,
    title: Option<&'a str>,
    department: Option<&'a str>,
    manager: Option<&'a str>,
    attributes: Vec<(&'a str, ValueRow<'a>)>,
    raw: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
struct GroupRow<'a> {
    id: &'a str,
    name: &'a str,
    email: Option<&'a str>,
    #[serde(borrow)]
    aliases: Vec<&'a str>,
    description: Option<&'a str>,
    attributes: Vec<(&'a str, ValueRow<'a>)>,
    raw: Option<&'a str>,
}

/// A [`Reference`] as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReferenceRow<'a> {
    User(&'a str),
    Group(&'a str),
    Id(&'a str),
    Alias(&'a str),
}

impl<'a> From<&'a Reference> for ReferenceRow<'a> {
    fn from(reference: &'a Reference) -> ReferenceRow<'a> {
        match reference {
            Reference::User(id) => ReferenceRow::User(id),
            Reference::Group(id) => ReferenceRow::Group(id),
            Reference::Id(id) => ReferenceRow::Id(id),
            Reference::Alias(alias) => ReferenceRow::Alias(alias),
        }
    }
}

impl From<ReferenceRow<'_>> for Reference {
    fn from(row: ReferenceRow<'_>) -> Reference {
        match row {
            ReferenceRow::User(id) => Reference::User(id.to_owned()),
            ReferenceRow::Group(id) => Reference::Group(id.to_owned()),
            ReferenceRow::Id(id) => Reference::Id(id.to_owned()),
            ReferenceRow::Alias(alias) => Reference::Alias(alias.to_owned()),
        }
    }
}

#[derive(Serialize)]
enum ValueRow<'a> {
    Bool(bool),
    Integer(i64),
    Text(&'a str),
    List(Vec<ValueRow<'a>>),
}

/// Lists in lists are read up to here, so that no bytes exhaust the stack; what
/// JSON readers accept is nested less deeply.
const NESTING_MAX: usize = 256;

impl<'de: 'a, 'a> Deserialize<'de> for ValueRow<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<ValueRow<'a>, D::Error> {
        Nested(NESTING_MAX).deserialize(from)
    }
}

/// Reads a value in which lists may be nested so deep.
#[derive(Clone, Copy)]
struct Nested(usize);

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = ValueRow<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<ValueRow<'de>, D::Error> {
        from.deserialize_enum("ValueRow", &["Bool", "Integer", "Text", "List"], self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = ValueRow<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<ValueRow<'de>, A::Error> {
        let (number, value) = from.variant::<u32>()?;
        match number {
            0 => value.newtype_variant().map(ValueRow::Bool),
            1 => value.newtype_variant().map(ValueRow::Integer),
            2 => value.newtype_variant().map(ValueRow::Text),
            3 => match self.0.checked_sub(1) {
                Some(left) => value.newtype_variant_seed(NestedList(left)).map(ValueRow::List),
                None => Err(serde::de::Error::custom("too many lists in lists")),
            },
            _ => Err(serde::de::Error::custom("no kind of value")),
        }
    }
}

/// Reads a list of [`Nested`].
struct NestedList(usize);

impl<'de> DeserializeSeed<'de> for NestedList {
    type Value = Vec<ValueRow<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for NestedList {
    type Value = Vec<ValueRow<'de>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = from.next_element_seed(Nested(self.0))? {
            list.push(value);
        }
        Ok(list)
    }
}

impl<'a> From<&'a Value> for ValueRow<'a> {
    fn from(value: &'a Value) -> ValueRow<'a> {
        match value {
            Value::Bool(b) => ValueRow::Bool(*b),
            Value::Integer(i) => ValueRow::Integer(*i),
            Value::Text(t) => ValueRow::Text(t),
            Value::List(l) => ValueRow::List(l.iter().map(ValueRow::from).collect()),
        }
    }
}

impl From<ValueRow<'_>> for Value {
    fn from(row: ValueRow<'_>) -> Value {
        match row {
            ValueRow::Bool(b) => Value::Bool(b),
            ValueRow::Integer(i) => Value::Integer(i),
            ValueRow::Text(t) => Value::Text(t.to_owned()),
            ValueRow::List(l) => Value::List(l.into_iter().map(Value::from).collect()),
        }
    }
}

fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(VERSION);
    // Serializing plain structs into a Vec has no way to fail.
    let mut bytes = postcard::to_extend(row, bytes).unwrap_or_default();
    bytes.shrink_to_fit();
    bytes
}

/// Whether [`encode`] would write these bytes; writes none.
fn is_encoded<T: Serialize>(bytes: &[u8], row: &T) -> bool {
    match bytes.split_first() {
        Some((&VERSION, rest)) => {
            postcard::serialize_with_flavor(row, Compared(rest)).unwrap_or(false)
        }
        _ => false,
    }
}

/// Takes what is encoded and holds it against what is left of some bytes.
struct Compared<'a>(&'a [u8]);

impl Flavor for Compared<'_> {
    /// Whether it was all of them.
    type Output = bool;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    /// Ends with an error, whichever, at the first difference.
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0 = self.0.strip_prefix(bytes).ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<bool> {
        Ok(self.0.is_empty())
    }
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &'static str) -> Result<T, RecordError> {
    decode_head(bytes, what).map(|(row, _)| row)
}

/// The leading fields, and the bytes behind them.
fn decode_head<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    what: &'static str,
) -> Result<(T, &'a [u8]), RecordError> {
    let (version, rest) = bytes.split_first().ok_or(RecordError { what })?;
    if *version != VERSION {
        return Err(RecordError { what });
    }
    postcard::take_from_bytes(rest).map_err(|_| RecordError { what })
}

fn attributes(map: &Attributes) -> Vec<(&str, ValueRow<'_>)> {
    map.iter().map(|(name, value)| (name.as_str(), ValueRow::from(value))).collect()
}

fn from_rows(rows: Vec<(&str, ValueRow<'_>)>) -> Attributes {
    rows.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn sorted(texts: &[String]) -> Vec<&str> {
    let mut list = borrowed(texts);
    list.sort_unstable();
    list.dedup();
    list
}

fn sorted_references(references: &[Reference]) -> Vec<ReferenceRow<'_>> {
    let mut rows: Vec<_> = references.iter().map(ReferenceRow::from).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserItem {
        UserItem {
            user: User {
                id: "u1".into(),
                username: "ada".into(),
                emails: vec!["ada@example.org".into()],
                display_name: Some("Ada".into()),
                active: true,
                attributes: [(
                    "tags".to_owned(),
                    Value::List(vec!["a".into(), Value::Integer(-1)]),
                )]
                .into(),
                ..User::default()
            },
            aliases: vec!["uid=ada".into(), "uid:ada".into()],
            groups: vec![Reference::Alias("gid:7".into())],
        }
    }

    #[test]
    fn a_user_comes_back_as_it_went() {
        let bytes = encode_user(&user());
        let back = decode_user(&bytes).unwrap();
        assert_eq!(back.user, user().user);
        assert_eq!(back.aliases, ["uid:ada", "uid=ada"]);
        assert_eq!(back.groups, user().groups);
        assert_eq!(id_of(&bytes).unwrap(), "u1");
        assert_eq!(id_and_username_of(&bytes).unwrap(), ("u1", "ada"));
        let keys = UserKeys::read(&bytes).unwrap();
        assert_eq!(keys.emails, ["ada@example.org"]);
        assert_eq!(keys.groups().collect::<Vec<_>>(), user().groups);
        let summary = UserSummary::read(&bytes).unwrap();
        assert_eq!((summary.id, summary.username, summary.active), ("u1", "ada", true));
    }

    #[test]
    fn lists_of_texts_are_read_in_place() {
        let bytes = encode_user(&user());
        assert!(emails_of(&bytes).unwrap().eq(["ada@example.org"]));
        assert!(user_aliases_of(&bytes).unwrap().eq(["uid:ada", "uid=ada"]));
        let item = GroupItem { aliases: vec!["b".into(), "a".into()], ..GroupItem::default() };
        assert!(group_aliases_of(&encode_group(&item)).unwrap().eq(["a", "b"]));
        let cut = &bytes[..12];
        assert!(emails_of(cut).is_ok_and(|texts| texts.count() == 0));
        assert!(user_aliases_of(cut).is_err());
    }

    #[test]
    fn bytes_are_held_against_an_object_as_if_it_were_encoded() {
        let bytes = encode_user(&user());
        assert!(holds_user(&bytes, &user()));
        for end in 0..bytes.len() {
            assert!(!holds_user(&bytes[..end], &user()), "cut off at {end}");
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(!holds_user(&other, &user()), "another byte at {at}");
        }
        assert!(!holds_user(&[bytes.as_slice(), b"\0"].concat(), &user()));
        let group = GroupItem { aliases: vec!["b".into(), "a".into()], ..GroupItem::default() };
        let bytes = encode_group(&group);
        assert!(holds_group(&bytes, &group));
        let renamed = Group { name: "Ops".into(), ..Group::default() };
        assert!(!holds_group(&bytes, &GroupItem { group: renamed, ..group }));
    }

    #[test]
    fn the_order_of_aliases_does_not_matter() {
        let mut other = user();
        other.aliases.reverse();
        assert_eq!(encode_user(&user()), encode_user(&other));
    }

    #[test]
    fn a_group_comes_back_as_it_went() {
        let item = GroupItem {
            group: Group { id: "g1".into(), name: "Ops".into(), ..Group::default() },
            aliases: vec!["cn=ops".into()],
        };
        assert_eq!(decode_group(&encode_group(&item)).unwrap(), item);
    }

    #[test]
    fn lists_in_lists_are_read_up_to_a_depth() {
        let nested = |depth| {
            let value = (0..depth).fold(Value::Bool(true), |value, _| Value::List(vec![value]));
            let mut item = user();
            item.user.attributes = [("deep".to_owned(), value)].into();
            (encode_user(&item), item.user)
        };
        let (bytes, user) = nested(NESTING_MAX);
        assert_eq!(decode_user(&bytes).unwrap().user, user);
        assert!(decode_user(&nested(NESTING_MAX + 1).0).is_err());
    }

    #[test]
    fn foreign_bytes_are_refused() {
        assert!(decode_user(&[]).is_err());
        assert!(decode_user(&[9, 1, 2]).is_err());
        assert!(decode_group(&[1, 200]).is_err());
    }
}
