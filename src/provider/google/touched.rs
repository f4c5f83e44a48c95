//! Which users and groups the audit feed speaks of. Pure.

use std::collections::BTreeMap;

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
            if is(RENAMED) {
                let map = if groups.is_empty() { &mut touched.users } else { &mut touched.groups };
                for name in
                    event.named(&["NEW_VALUE"]).into_iter().filter(|name| name.contains('@'))
                {
                    map.entry(name).or_default().note(place, event, true);
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
        if CREATED.contains(&event.name.as_str()) {
            self.last = Some(Last::Created);
        }
        if DELETED.contains(&event.name.as_str()) {
            self.deleted = true;
            self.last = Some(Last::Deleted);
        }
    }

    /// How many members left, by the feed.
    pub fn left(&self) -> u64 {
        self.expected.values().filter(|joined| !**joined).count() as u64
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
        assert!(!group.object && group.events == [0, 1] && group.left() == 1);
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
}
