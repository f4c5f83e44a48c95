//! Users and groups of this machine by name, as passwd(5) and group(5) have them.
//!
//! Only these two files are read: what other sources of names (LDAP, systemd)
//! know has to be given by number.

use super::source::read_file;
use std::path::Path;

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    User,
    Group,
}

impl Account {
    /// The number of a name; a number stands for itself.
    pub fn id(self, name: &str) -> Option<u32> {
        name.parse().ok().or_else(|| id_in(&self.file(), name))
    }

    /// All names there are.
    pub fn names(self) -> Vec<String> {
        let file = self.file();
        let names = file.lines().filter_map(|line| line.split(':').next());
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Account::User => "user",
            Account::Group => "group",
        }
    }

    /// Where names are looked up.
    pub fn path(self) -> &'static str {
        match self {
            Account::User => "/etc/passwd",
            Account::Group => "/etc/group",
        }
    }

    /// Empty when it cannot be read: then only numbers are known.
    fn file(self) -> String {
        let bytes = read_file(Path::new(self.path())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// In both files the name is the first field and the number the third.
fn id_in(file: &str, name: &str) -> Option<u32> {
    let mut lines = file.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let file = "root:x:0:\nroster:x:990:ada,bob\n";
        assert_eq!(id_in(file, "roster"), Some(990));
        assert_eq!(id_in(file, "ros"), None);
        assert_eq!(id_in(file, "x"), None);
        assert_eq!(Account::Group.id("4711"), Some(4711));
        assert_eq!(Account::User.id("root"), Some(0));
        assert_eq!(Account::User.id("no such user"), None);
        assert!(Account::User.names().contains(&"root".to_owned()));
    }
}
