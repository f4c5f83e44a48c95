//! Notes in the audit trail who was refused at the TCP listener, at a bounded
//! rate: whoever tries tokens all day long must neither fill the disk nor push
//! the decisions of people out of the trail.
//!
//! An address gets an entry at most once a second, with a count. While it goes
//! on, the time to its next entry doubles, up to an hour; when it was quiet for
//! as long as that, it starts anew.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::model::{Act, Action, Actor, Attributes, Caller};

/// Addresses that are told apart at a time; all others together are one.
const ADDRESSES_MAX: usize = 16;
/// Entries of one address are never further apart, in seconds.
const APART_MAX: u32 = 3_600;

/// Refusals that are not yet in the trail.
#[derive(Debug, Default)]
pub struct Denials {
    by_address: Mutex<BTreeMap<Option<IpAddr>, Tally>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Wrong or missing token.
    unauthorized: u64,
    /// Led here by a foreign name.
    misdirected: u64,
    /// Seconds until the next entry may come.
    left: u32,
    /// Seconds that the entry after it has to wait.
    apart: u32,
}

impl Denials {
    /// Counts one.
    pub fn note(&self, address: IpAddr, status: http::StatusCode) {
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.len() < ADDRESSES_MAX || all.contains_key(&Some(address));
        let tally = all.entry(known.then_some(address)).or_default();
        match status {
            http::StatusCode::UNAUTHORIZED => tally.unauthorized += 1,
            _ => tally.misdirected += 1,
        }
    }

    /// A second has passed: what is to be recorded.
    pub fn tick(&self) -> Vec<Act> {
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let mut acts = Vec::new();
        all.retain(|address, tally| {
            tally.left = tally.left.saturating_sub(1);
            if tally.left > 0 {
                return true;
            }
            if tally.is_empty() {
                return false;
            }
            acts.push(tally.act(*address));
            let left = (tally.apart * 2).clamp(1, APART_MAX);
            *tally = Tally { left, apart: left, ..Tally::default() };
            true
        });
        acts
    }

    /// All that is left, at the end.
    pub fn take(&self) -> Vec<Act> {
        let all =
            std::mem::take(&mut *self.by_address.lock().unwrap_or_else(PoisonError::into_inner));
        let left = all.into_iter().filter(|(_, tally)| !tally.is_empty());
        left.map(|(address, tally)| tally.act(address)).collect()
    }
}

impl Tally {
    fn is_empty(&self) -> bool {
        self.unauthorized + self.misdirected == 0
    }

    fn act(&self, address: Option<IpAddr>) -> Act {
        let context = Attributes::from([("via".to_owned(), "tcp".into())]);
        let by = Caller { actor: Actor::Stranger(address), context };
        let act = Act::of(Action::ACCESS_DENIED, by).on("listener", "query.listen");
        let act =
            act.with("outcome", "refused").with("count", self.unauthorized + self.misdirected);
        let reasons = [
            (self.unauthorized, "the token is missing or wrong"),
            (self.misdirected, "the Host header is a foreign name"),
        ];
        let reasons = reasons.into_iter().filter(|(count, _)| *count > 0);
        let reasons: Vec<&str> = reasons.map(|(_, reason)| reason).collect();
        act.with("reason", reasons.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::model::Value;

    const ADA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn count(act: &Act) -> &Value {
        &act.metadata["count"]
    }

    #[test]
    fn an_address_has_one_entry_a_second_and_fewer_while_it_goes_on() {
        let denials = Denials::default();
        let mut entries = 0;
        let mut refused = 0;
        for _second in 0..100_000_u32 {
            for _ in 0..3 {
                denials.note(ADA, StatusCode::UNAUTHORIZED);
            }
            let acts = denials.tick();
            assert!(acts.len() <= 1);
            entries += acts.len();
            refused += acts
                .iter()
                .map(|act| if let Value::Integer(n) = count(act) { *n } else { 0 })
                .sum::<i64>();
        }
        refused += denials
            .take()
            .iter()
            .map(|act| if let Value::Integer(n) = count(act) { *n } else { 0 })
            .sum::<i64>();
        assert_eq!(refused, 300_000, "all are counted");
        assert!((12..60).contains(&entries), "{entries} entries in a day");
    }

    #[test]
    fn a_quiet_address_is_forgotten_and_starts_anew() {
        let denials = Denials::default();
        for _ in 0..2 {
            denials.note(ADA, StatusCode::UNAUTHORIZED);
            assert_eq!(denials.tick().len(), 1, "at once");
            assert!((0..4).all(|_| denials.tick().is_empty()));
        }
    }

    #[test]
    fn many_addresses_are_told_as_one() {
        let denials = Denials::default();
        for last in 0..200 {
            denials.note(IpAddr::from([127, 0, 0, last]), StatusCode::MISDIRECTED_REQUEST);
        }
        let acts = denials.tick();
        assert_eq!(acts.len(), ADDRESSES_MAX + 1);
        let others = acts.iter().find(|act| act.actor == Actor::Stranger(None)).unwrap();
        assert_eq!(*count(others), Value::Integer(200 - ADDRESSES_MAX as i64));
        assert!(denials.take().is_empty());
    }
}
