//! Denials in the log: each for whoever debugs, and now and then those that
//! somebody has to look into.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Denied;
use crate::clock::{self, Duration, Instant};

/// How often the same is told.
const EVERY: Duration = Duration::from_mins(1);

/// What a person at the other end is denied for; the rest is ours to mend.
const ORDINARY: [&str; 6] =
    ["not-member", "inactive", "unknown-user", "no-user", "several-users", "not-text"];

/// What was told, by policy and reason.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<BTreeMap<Kind, Told>>);

/// A policy and a reason.
type Kind = (String, &'static str);

/// When it was last told, and how often it happened since.
type Told = (Instant, u64);

impl Complaints {
    /// Logs a denial. There are as many kinds as there are policies and reasons.
    pub fn tell(&self, policy: &str, denied: &Denied) {
        let Denied { reason, detail, .. } = denied;
        tracing::debug!(policy, reason, detail, "ext_authz denied a request");
        if ORDINARY.contains(reason) {
            return;
        }
        let now = clock::instant();
        let again = {
            let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = told.entry((policy.to_owned(), reason)).or_insert((now, 0));
            if entry.1 > 0 && now < entry.0 + EVERY {
                entry.1 += 1;
                return;
            }
            std::mem::replace(entry, (now, 1)).1
        };
        tracing::warn!(
            policy,
            reason,
            again = untold(again),
            "ext_authz denies requests: {detail}"
        );
    }
}

/// How often it happened beside the one time that it was told; nothing where
/// that was all.
fn untold(times: u64) -> Option<u64> {
    times.checked_sub(1).filter(|untold| *untold > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_not_counted_again() {
        assert_eq!([0, 1, 2, 5].map(untold), [None, None, Some(1), Some(4)]);
    }
}
