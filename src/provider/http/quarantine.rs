//! Objects that cannot be decoded: reported, counted, and kept as they were.

use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::warn;

use crate::model::Reference;
use crate::provider::{Item, PullError};

/// So many are named in the log; the others are only counted.
const NAMED_MAX: u64 = 10;

/// The malformed objects of one crawl.
#[derive(Debug)]
pub struct Quarantine {
    what: &'static str,
    kept: Vec<Item>,
    count: u64,
}

impl Quarantine {
    /// `what` reads the objects.
    pub fn new(what: &'static str) -> Quarantine {
        Quarantine { what, kept: Vec::new(), count: 0 }
    }

    /// Decodes one object of a page. `None`: it is malformed, and the record
    /// that was committed for `reference` before is to be kept.
    ///
    /// # Errors
    /// [`PullError::Incomplete`] when it does not even say who it is: skipping
    /// it would look like a removal.
    pub fn decode<T: DeserializeOwned>(
        &mut self,
        value: Value,
        reference: impl Fn(&Value) -> Option<Reference>,
    ) -> Result<Option<T>, PullError> {
        let known = reference(&value);
        match T::deserialize(value) {
            Ok(object) => Ok(Some(object)),
            Err(error) => {
                self.keep(known, &error.to_string())?;
                Ok(None)
            }
        }
    }

    /// Keeps the record of an object that cannot be used for this `reason`.
    ///
    /// # Errors
    /// [`PullError::Incomplete`] when nobody knows whose it is.
    pub fn keep(&mut self, known: Option<Reference>, reason: &str) -> Result<(), PullError> {
        let reason = reason.escape_debug().to_string();
        let Some(reference) = known else {
            return Err(PullError::Incomplete {
                what: self.what.to_owned(),
                reason: format!("an object without an id is malformed: {reason}"),
            });
        };
        self.count += 1;
        if self.count <= NAMED_MAX {
            let object = format!("{reference:?}");
            warn!(
                provider = self.what,
                object, reason, "an object is malformed; its last good record is kept"
            );
        }
        self.kept.push(Item::Kept(reference));
        Ok(())
    }

    /// What to hand to the sink for them.
    pub fn take_kept(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.kept)
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Person {
        #[expect(dead_code, reason = "only decoded")]
        active: bool,
    }

    fn id(value: &Value) -> Option<Reference> {
        value.get("id")?.as_str().map(|id| Reference::User(id.to_owned()))
    }

    #[test]
    fn r12_a_malformed_object_is_kept_as_it_was() {
        let mut quarantine = Quarantine::new("okta");
        let good: Option<Person> =
            quarantine.decode(json!({ "id": "1", "active": true }), id).unwrap();
        let bad: Option<Person> = quarantine.decode(json!({ "id": "2", "active": 7 }), id).unwrap();
        assert!(good.is_some() && bad.is_none());
        assert_eq!(quarantine.take_kept(), [Item::Kept(Reference::User("2".into()))]);
        assert_eq!(quarantine.count(), 1);
    }

    #[test]
    fn a_nameless_object_is_no_removal() {
        let mut quarantine = Quarantine::new("okta");
        let result = quarantine.decode::<Person>(json!({ "active": 7 }), id);
        assert!(matches!(result, Err(PullError::Incomplete { .. })));
    }
}
