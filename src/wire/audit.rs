//! Entries of the audit trail.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::AttributesBody;
use crate::model::{Actor, AuditEntry, Target};

/// One entry, as the query socket and `rosterd audit --json` show it.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditBody<'a> {
    /// Its number in the trail.
    seq: u64,
    #[schema(value_type = crate::clock::Timestamp)]
    at: String,
    /// What was done, such as `directory_sync.hold.approve`.
    action: &'a str,
    actor: ActorBody<'a>,
    targets: Vec<TargetBody<'a>>,
    context: AttributesBody<'a>,
    metadata: AttributesBody<'a>,
}

/// What something was done to.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditTarget)]
struct TargetBody<'a> {
    kind: &'a str,
    name: &'a str,
}

/// `{"kind": "process", "uid": 0, …}`.
pub(super) struct ActorBody<'a>(pub &'a Actor);

impl<'a> From<&'a AuditEntry> for AuditBody<'a> {
    fn from(entry: &'a AuditEntry) -> AuditBody<'a> {
        let act = &entry.act;
        let target = |target: &'a Target| TargetBody { kind: &target.kind, name: &target.name };
        AuditBody {
            seq: entry.seq,
            at: entry.at.to_string(),
            action: act.action.as_str(),
            actor: ActorBody(&act.actor),
            targets: act.targets.iter().map(target).collect(),
            context: AttributesBody(&act.context),
            metadata: AttributesBody(&act.metadata),
        }
    }
}

impl Serialize for ActorBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            Actor::Daemon => map.serialize_entry("kind", "daemon")?,
            Actor::Process { uid, gid, pid } => {
                map.serialize_entry("kind", "process")?;
                let numbers = [("uid", Some(*uid)), ("gid", *gid), ("pid", *pid)];
                for (name, number) in numbers {
                    if let Some(number) = number {
                        map.serialize_entry(name, &number)?;
                    }
                }
            }
            Actor::Token(name) => {
                map.serialize_entry("kind", "token")?;
                map.serialize_entry("name", name)?;
            }
            Actor::Stranger(address) => {
                map.serialize_entry("kind", "stranger")?;
                if let Some(address) = address {
                    map.serialize_entry("address", &address.to_string())?;
                }
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::model::{Act, Action, Caller};

    #[test]
    fn an_entry_has_all_its_parts_whatever_they_hold() {
        let act = Act::of(Action::DIRECTORY_SYNC, Caller::peer(7, 8, Some(9)))
            .on("directory", "corp")
            .with("outcome", "applied");
        let body = |act| {
            let entry = AuditEntry { seq: 3, at: Timestamp(1_000), act };
            serde_json::to_value(AuditBody::from(&entry)).unwrap()
        };
        assert_eq!(
            body(act),
            json!({
                "seq": 3,
                "at": "1970-01-01T00:00:01Z",
                "action": "directory_sync.sync",
                "actor": {"kind": "process", "uid": 7, "gid": 8, "pid": 9},
                "targets": [{"kind": "directory", "name": "corp"}],
                "context": {"via": "socket"},
                "metadata": {"outcome": "applied"},
            })
        );
        let own = body(Act::of_daemon(Action::DAEMON_START));
        assert_eq!(own["actor"], json!({"kind": "daemon"}));
        assert_eq!((&own["targets"], &own["context"]), (&json!([]), &json!({})));
    }
}
