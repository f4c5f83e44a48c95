//! Why something changed, as JSON.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::audit::ActorBody;
use crate::model::Cause;

/// `{"kind": "crawl", "extent": "full"}`, `{"kind": "approval", "hold": "h_…",
/// "by": {…}}`, or only a kind; `null` for what is older than the keeping of
/// causes.
#[derive(Clone, Copy, Debug)]
pub struct CauseBody<'a>(pub &'a Cause);

impl Serialize for CauseBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(kind) = self.0.as_str() else { return serializer.serialize_none() };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", kind)?;
        match self.0 {
            Cause::Crawl { full } => {
                map.serialize_entry("extent", if *full { "full" } else { "incremental" })?;
            }
            Cause::Approval { hold, by } => {
                map.serialize_entry("hold", hold)?;
                map.serialize_entry("by", &ActorBody(by))?;
            }
            _ => {}
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Actor;

    #[test]
    fn a_cause_says_what_belongs_to_it() {
        let body = |cause: Cause| serde_json::to_value(CauseBody(&cause)).unwrap();
        assert_eq!(body(Cause::Unknown), json!(null));
        assert_eq!(body(Cause::First), json!({"kind": "first"}));
        assert_eq!(
            body(Cause::Crawl { full: false }),
            json!({"kind": "crawl", "extent": "incremental"})
        );
        let by = Actor::Process { uid: 0, gid: None, pid: Some(4) };
        assert_eq!(
            body(Cause::Approval { hold: "h_1".into(), by }),
            json!({"kind": "approval", "hold": "h_1", "by": {"kind": "process", "uid": 0, "pid": 4}})
        );
    }
}
