//! What is to be changed in a document, as OPA takes it in a bundle and as it
//! takes it over HTTP.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// One change to the document.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// The keys that lead to it, below `rosterd`. What is above it is there.
    pub path: Vec<String>,
    /// What stands there from now on; `None` when nothing does.
    pub value: Option<Value>,
}

/// How OPA wants operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `patch.json` of a delta bundle: `upsert`, below the bundle's root.
    Bundle,
    /// `PATCH` of a document (RFC 6902): `add`, which replaces too.
    Rest,
}

impl Op {
    pub fn put(path: &[&str], value: impl Into<Value>) -> Op {
        Op { path: owned(path), value: Some(value.into()) }
    }

    pub fn remove(path: &[&str]) -> Op {
        Op { path: owned(path), value: None }
    }

    /// Whether a path can say it: OPA trims slashes off its ends, so a last key
    /// that is empty would be lost.
    pub fn can_be_said(&self) -> bool {
        self.path.last().is_some_and(|key| !key.is_empty())
    }

    /// The operation as JSON.
    pub fn body(&self, dialect: Dialect) -> OpBody<'_> {
        OpBody { op: self, dialect }
    }

    fn pointer(&self, dialect: Dialect) -> String {
        let root = if dialect == Dialect::Bundle { "/rosterd" } else { "" };
        self.path.iter().fold(root.to_owned(), |path, key| path + "/" + &escaped(key))
    }
}

/// See [`Op::body`].
pub struct OpBody<'a> {
    op: &'a Op,
    dialect: Dialect,
}

impl Serialize for OpBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let OpBody { op, dialect } = *self;
        let word = match (&op.value, dialect) {
            (None, _) => "remove",
            (Some(_), Dialect::Bundle) => "upsert",
            (Some(_), Dialect::Rest) => "add",
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("op", word)?;
        map.serialize_entry("path", &op.pointer(dialect))?;
        if let Some(value) = &op.value {
            map.serialize_entry("value", value)?;
        }
        map.end()
    }
}

/// A key in a JSON pointer (RFC 6901). OPA undoes percent-encoding first
/// (`storage/internal/patch`: `ParsePatchPathEscaped`), so a `%` is encoded too.
fn escaped(key: &str) -> String {
    key.replace('%', "%25").replace('~', "~0").replace('/', "~1")
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|key| (*key).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_escaped_as_opa_reads_them() {
        let op = Op::put(&["users", "a/b~1%2F\0ü", "active"], true);
        let text = serde_json::to_string(&op.body(Dialect::Bundle)).unwrap();
        let path = r"/rosterd/users/a~1b~01%252F\u0000ü/active";
        assert_eq!(text, format!(r#"{{"op":"upsert","path":"{path}","value":true}}"#));
        let text = serde_json::to_string(&Op::remove(&["users", "x"]).body(Dialect::Rest)).unwrap();
        assert_eq!(text, r#"{"op":"remove","path":"/users/x"}"#);
    }

    #[test]
    fn an_empty_last_key_cannot_be_said() {
        assert!(!Op::remove(&["users", ""]).can_be_said());
        assert!(Op::remove(&["users", "", "active"]).can_be_said());
    }
}
