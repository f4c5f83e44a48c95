//! Makes the three lists out of whatever form the bundle comes in.

use std::sync::Arc;

use super::list::{Format, List, Place, Trouble, utf8};
use super::source::{Loaded, Role};
use super::{archive, json};
use crate::provider::PullError;

/// The lists of one bundle.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) users: List,
    pub(super) groups: List,
    pub(super) memberships: Memberships,
}

/// Where memberships are written.
#[derive(Debug)]
pub(super) enum Memberships {
    /// In a list of their own.
    List(List),
    /// In the `members` of the groups.
    InGroups,
    /// In the `group_ids` of the users (Pomerium's format).
    InUsers,
}

/// Takes the files apart.
///
/// # Errors
/// When a file is no UTF-8, no well-formed JSON, or lacks a list.
pub(super) fn take_apart(files: Vec<Loaded>, bytes_max: u64) -> Result<Parts, PullError> {
    let (mut users, mut groups, mut memberships) = (None, None, None);
    for file in files {
        let name = file.found.path.display().to_string();
        let slot = match file.found.role {
            Role::Users => &mut users,
            Role::Groups => &mut groups,
            Role::Memberships => &mut memberships,
            Role::Whole if file.bytes.starts_with(b"PK") => {
                return from_zip(&name, &file, bytes_max);
            }
            Role::Whole => return from_object(name, file.bytes),
        };
        *slot = Some(if file.found.is_csv {
            csv_list(name, file.bytes)?
        } else {
            json_list(name, file.bytes)?
        });
    }
    let missing = |what: &str| PullError::Incomplete {
        what: "the bundle".into(),
        reason: format!("there are no {what}"),
    };
    Ok(Parts {
        users: users.ok_or_else(|| missing("users"))?,
        groups: groups.ok_or_else(|| missing("groups"))?,
        memberships: memberships.map_or(Memberships::InGroups, Memberships::List),
    })
}

fn csv_list(file: String, bytes: Vec<u8>) -> Result<List, PullError> {
    let text = utf8(&file, bytes)?;
    Ok(List { file, range: 0..text.len(), text, format: Format::Csv })
}

fn json_list(file: String, bytes: Vec<u8>) -> Result<List, PullError> {
    let text = checked(&file, bytes)?;
    let range = 0..text.len();
    json::check_array(&text, &range).map_err(|trouble| trouble.in_file(&file))?;
    Ok(List { file, text, range, format: Format::Json })
}

fn from_zip(file: &str, loaded: &Loaded, bytes_max: u64) -> Result<Parts, PullError> {
    let entries = archive::read(file, &loaded.bytes, bytes_max)?;
    Ok(Parts {
        users: json_list(format!("{file}/{}", archive::USERS), entries.users)?,
        groups: json_list(format!("{file}/{}", archive::GROUPS), entries.groups)?,
        memberships: Memberships::InUsers,
    })
}

/// `{"users": […], "groups": […], "memberships": […]}`
fn from_object(file: String, bytes: Vec<u8>) -> Result<Parts, PullError> {
    let text = checked(&file, bytes)?;
    let fail = |trouble: Trouble| trouble.in_file(&file);
    let (mut users, mut groups, mut memberships) = (None, None, None);
    for (name, range) in json::members(&text).map_err(fail)? {
        let slot = match name.as_str() {
            "users" => &mut users,
            "groups" => &mut groups,
            "memberships" => &mut memberships,
            _ => continue,
        };
        json::check_array(&text, &range).map_err(fail)?;
        let text = Arc::clone(&text);
        *slot = Some(List { file: file.clone(), text, range, format: Format::Json });
    }
    let missing = |name| Trouble::new(Place::at(1, 1), format!("there is no list `{name}`"));
    Ok(Parts {
        users: users.ok_or_else(|| fail(missing("users")))?,
        groups: groups.ok_or_else(|| fail(missing("groups")))?,
        memberships: memberships.map_or(Memberships::InGroups, Memberships::List),
    })
}

fn checked(file: &str, bytes: Vec<u8>) -> Result<Arc<str>, PullError> {
    let text = utf8(file, bytes)?;
    json::check(&text).map_err(|trouble| trouble.in_file(file))?;
    Ok(text)
}
