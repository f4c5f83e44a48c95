//! Which users and groups the audit feed speaks of. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::feed::Event;
use crate::clock::Timestamp;

/// What to read again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Touched {
    /// By address.
    pub users: BTreeMap<String, Touch>,
    /// By address, or by id where the feed names one.
    pub groups: BTreeMap<String, Touch>,
}

/// What the feed says happened to one user or group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Touch {
    /// Places of the events in the list that was given.
    pub events: Vec<usize>,
    /// More than members changed.
    pub object: bool,
    /// It was deleted, once.
    pub deleted: bool,
    /// The last thing that happened to it was a creation, or a deletion.
    pub last: Option<Last>,
    /// Whether it should be suspended, and archived.
    pub suspended: Option<bool>,
    pub archived: Option<bool>,
    /// Who should be a member now (`true`), and who should not.
    pub expected: BTreeMap<String, bool>,
    pub newest: Timestamp,
}

/// A creation or a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    Created,
    Deleted,
}

const GROUP_PARAMETERS: &[&str] = &["GROUP_EMAIL", "group_email", "group_id", "target_group"];
const USER_PARAMETERS: &[&str] = &["USER_EMAIL", "user_email", "member_id", "member_email"];
const JOINED: &[&str] = &[
    "ADD_GROUP_MEMBER",
    "add_member",
    "add_user",
    "join",
    "accept_invitation",
    "approve_join_request",
];
const LEFT: &[&str] = &["REMOVE_GROUP_MEMBER", "remove_member", "remove_user"];
const OTHERWISE_MEMBERS: &[&str] = &[
    "UPDATE_GROUP_MEMBER",
    "add_member_role",
    "remove_member_role",
    "ban_member_with_moderation",
    "ban_user_with_moderation",
    "unsubscribe_via_mail",
];
const RENAMED: &[&str] = &["RENAME_USER", "CHANGE_GROUP_EMAIL"];
const CREATED: &[&str] = &["CREATE_USER", "UNDELETE_USER", "CREATE_GROUP", "create_group"];
const DELETED: &[&str] = &["DELETE_USER", "DELETE_GROUP", "delete_group"];

impl Touched {
    /// What `events` (oldest first) speak of. Events that name nobody are left
    /// to the rolling re-reading.
    pub fn by(events: &[Event]) -> Touched {
        let mut touched = Touched::default();
        let mut renames = Renames::default();
        for (place, event) in events.iter().enumerate() {
            let groups = event.named(GROUP_PARAMETERS);
            let users = event.named(USER_PARAMETERS);
            let is = |names: &[&str]| names.contains(&event.name.as_str());
            let of_members = is(JOINED) || is(LEFT) || is(OTHERWISE_MEMBERS);
            for group in &groups {
                let touch = touched.groups.entry(group.clone()).or_default();
                touch.note(place, event, !of_members);
                if is(JOINED) || is(LEFT) {
                    touch.expected.extend(users.iter().map(|user| (user.clone(), is(JOINED))));
                }
            }
            if groups.is_empty() || !of_members {
                for user in &users {
                    touched.users.entry(user.clone()).or_default().note(place, event, true);
                }
            }
            let is_group = !groups.is_empty();
            let named = if is_group { groups } else { users };
            let map = if is_group { &mut touched.groups } else { &mut touched.users };
            if is(RENAMED) {
                let new = event.named(&["NEW_VALUE"]).into_iter();
                for new in new.filter(|name| name.contains('@')) {
                    for old in &named {
                        renames.note(old, &new);
                        map.entry(old.clone()).or_default().last = None;
                    }
                    map.entry(new).or_default().note(place, event, true);
                }
            }
            if is(DELETED) {
                // We may know it by a name that it had before.
                for old in named.iter().flat_map(|name| renames.earlier(name)) {
                    map.entry(old).or_default().note_deleted_since(place, event);
                }
            }
        }
        touched
    }
}

impl Touch {
    /// Without an event.
    pub fn again() -> Touch {
        Touch { object: true, ..Touch::default() }
    }

    fn note(&mut self, place: usize, event: &Event, object: bool) {
        self.events.push(place);
        self.object |= object;
        self.newest = self.newest.max(event.time);
        let is = |names: &[&str]| names.contains(&event.name.as_str());
        if is(CREATED) {
            self.last = Some(Last::Created);
            (self.suspended, self.archived) = (None, None);
        }
        if is(DELETED) {
            self.deleted = true;
            self.last = Some(Last::Deleted);
        }
        match event.name.as_str() {
            "SUSPEND_USER" => self.suspended = Some(true),
            "UNSUSPEND_USER" => self.suspended = Some(false),
            "ARCHIVE_USER" => self.archived = Some(true),
            "UNARCHIVE_USER" => self.archived = Some(false),
            _ => {}
        }
    }

    /// It was renamed, and deleted by its new name. The name may be another's.
    fn note_deleted_since(&mut self, place: usize, event: &Event) {
        self.events.push(place);
        self.object = true;
        self.deleted = true;
        self.newest = self.newest.max(event.time);
    }

    /// Whether `user`, as it is shown, is what the feed says it should be.
    pub fn shows_user(&self, user: Option<&Value>) -> bool {
        let Some(user) = user else { return self.last != Some(Last::Created) };
        let is = |field: &str| user.get(field).and_then(Value::as_bool).unwrap_or_default();
        self.last != Some(Last::Deleted)
            && self.suspended.is_none_or(|suspended| is("suspended") == suspended)
            && self.archived.is_none_or(|archived| is("archived") == archived)
    }

    /// Members that left, by the feed.
    pub fn left(&self) -> impl Iterator<Item = &String> {
        self.expected.iter().filter(|(_, joined)| !**joined).map(|(email, _)| email)
    }
}

/// Names that were given up, oldest first, each with the one that came after.
#[derive(Default)]
struct Renames(Vec<(String, String)>);

impl Renames {
    fn note(&mut self, old: &str, new: &str) {
        self.0.push((old.to_owned(), new.to_owned()));
    }

    /// The names that whoever has `name` now had before.
    fn earlier(&mut self, name: &str) -> Vec<String> {
        let mut earlier: Vec<String> = Vec::new();
        let mut name = name.to_owned();
        while let Some(place) = self.0.iter().rposition(|(_, new)| *new == name) {
            (name, _) = self.0.remove(place);
            earlier.push(name.clone());
        }
        earlier
    }
}

impl Event {
    fn named(&self, parameters: &[&str]) -> Vec<String> {
        let named = self.parameters.iter().filter(|(name, value)| {
            parameters.contains(&name.as_str()) && !value.trim().is_empty()
        });
        named.map(|(_, value)| plain(value)).collect()
    }
}

/// Addresses in lower case; ids of groups without what stands before them.
fn plain(value: &str) -> String {
    let value = value.trim();
    match value.contains('@') {
        true => value.to_lowercase(),
        false => value.rsplit('/').next().unwrap_or(value).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, parameters: &[(&str, &str)]) -> Event {
        let parameters = parameters.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        Event { name: name.into(), parameters, ..Event::default() }
    }

    #[test]
    fn a_change_of_members_touches_the_group_only() {
        let touched = Touched::by(&[
            event("ADD_GROUP_MEMBER", &[("GROUP_EMAIL", "Eng@x.org"), ("USER_EMAIL", "a@x.org")]),
            event(
                "REMOVE_GROUP_MEMBER",
                &[("GROUP_EMAIL", "eng@x.org"), ("USER_EMAIL", "b@x.org")],
            ),
            event("add_member", &[("group_id", "groups/01abc"), ("member_id", "c@x.org")]),
        ]);
        assert!(touched.users.is_empty());
        let group = &touched.groups["eng@x.org"];
        assert!(!group.object && group.events == [0, 1] && group.left().eq(["b@x.org"]));
        assert!(group.expected["a@x.org"]);
        assert!(touched.groups.contains_key("01abc"));
    }

    #[test]
    fn the_last_word_on_a_user_counts() {
        let user = |name: &str| event(name, &[("USER_EMAIL", "a@x.org")]);
        let touched =
            Touched::by(&[user("DELETE_USER"), user("CREATE_USER"), user("SUSPEND_USER")]);
        let touch = &touched.users["a@x.org"];
        assert!(touch.deleted && touch.object);
        assert_eq!(touch.last, Some(Last::Created));
    }

    #[test]
    fn both_names_of_a_renamed_user_are_read() {
        let renamed = event("RENAME_USER", &[("USER_EMAIL", "a@x.org"), ("NEW_VALUE", "b@x.org")]);
        let touched = Touched::by(&[renamed]);
        assert_eq!(touched.users.keys().collect::<Vec<_>>(), ["a@x.org", "b@x.org"]);
    }

    #[test]
    fn a_user_who_is_renamed_and_then_deleted_is_gone_by_every_name() {
        let renamed =
            |old: &str, new: &str| event("RENAME_USER", &[("USER_EMAIL", old), ("NEW_VALUE", new)]);
        let touched = Touched::by(&[
            renamed("a@x.org", "b@x.org"),
            renamed("b@x.org", "c@x.org"),
            event("CREATE_USER", &[("USER_EMAIL", "a@x.org")]),
            event("DELETE_USER", &[("USER_EMAIL", "c@x.org")]),
        ]);
        for (name, last) in
            [("a@x.org", Some(Last::Created)), ("b@x.org", None), ("c@x.org", Some(Last::Deleted))]
        {
            let touch = &touched.users[name];
            assert!(touch.deleted && touch.events.contains(&3), "{name}");
            assert_eq!(touch.last, last, "{name}");
        }
    }

    #[test]
    fn a_suspension_that_does_not_show_is_not_done_with() {
        let user = |name: &str| event(name, &[("USER_EMAIL", "a@x.org")]);
        for (name, shows) in [("SUSPEND_USER", false), ("UNSUSPEND_USER", true)] {
            let touched = Touched::by(&[user("CHANGE_PASSWORD"), user(name)]);
            let touch = &touched.users["a@x.org"];
            let active = serde_json::json!({ "suspended": false, "archived": false });
            assert_eq!(touch.shows_user(Some(&active)), shows, "{name}");
        }
        let archived = Touched::by(&[user("ARCHIVE_USER")]);
        let suspended = serde_json::json!({ "suspended": true, "archived": false });
        assert!(!archived.users["a@x.org"].shows_user(Some(&suspended)));
    }
}
