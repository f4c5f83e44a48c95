//! The cursor of LDAP directories: where the next incremental crawl starts.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::provider::{Cursor, PullError};

/// What is stored between crawls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    /// The configured address it was made at; tried first.
    pub url: String,
    /// Where the name led to; tried first.
    pub address: Option<SocketAddr>,
    pub place: Place,
}

/// The server's own marks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// RFC 4533: one cookie a search.
    Syncrepl {
        users: Vec<u8>,
        groups: Vec<u8>,
        containers: Vec<u8>,
    },
    DirSync(DirSync),
    Usn(Usn),
}

/// Active Directory, by the DirSync control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirSync {
    pub cookie: Vec<u8>,
    /// Whether the account may ask only with `LDAP_DIRSYNC_OBJECT_SECURITY`.
    pub object_security: bool,
    pub at: Usn,
}

/// Active Directory, by `uSNChanged`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usn {
    /// The controller, and the incarnation of its database: update numbers of
    /// another one mean something else.
    pub controller: String,
    /// Everything up to this number was read.
    pub number: u64,
    /// Whether the account sees deleted objects.
    pub sees_deleted: bool,
}

/// The first byte, changed with every change of the fields.
const VERSION: u8 = 1;

impl Bookmark {
    pub fn write(&self) -> Cursor {
        // Writing plain structs into a Vec has no way to fail.
        Cursor(postcard::to_extend(self, vec![VERSION]).unwrap_or_default())
    }

    /// # Errors
    /// For a cursor of another version.
    pub fn read(cursor: &Cursor) -> Result<Bookmark, PullError> {
        match cursor.0.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
            _ => None,
        }
        .ok_or_else(|| PullError::CursorExpired { reason: "another version wrote it".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_went() {
        let at = Usn { controller: "dc1#7".into(), number: 9, sees_deleted: true };
        let bookmark = Bookmark {
            url: "ldaps://dc1".into(),
            address: Some("127.0.0.1:636".parse().unwrap()),
            place: Place::DirSync(DirSync { cookie: vec![1, 2], object_security: false, at }),
        };
        assert_eq!(Bookmark::read(&bookmark.write()), Ok(bookmark));
    }

    #[test]
    fn foreign_bytes_are_an_expired_cursor() {
        for bytes in [vec![], vec![9], vec![1, 200, 200]] {
            let read = Bookmark::read(&Cursor(bytes));
            assert!(matches!(read, Err(PullError::CursorExpired { .. })));
        }
    }
}
