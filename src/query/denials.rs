//! Notes in the audit trail who was refused, at a bounded rate: whoever tries
//! tokens or forbidden requests all day long must neither fill the disk nor push
//! the decisions of people out of the trail.
//!
//! An address, a token or a user of this machine gets an entry at most once a
//! second, with a count. While it goes on, the time to its next entry doubles, up
//! to an hour; when it was quiet for as long as that, it starts anew.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use super::access::{Asker, Peer, Permission, Permissions};
use crate::model::{Act, Action, Actor, Attributes, Caller};

/// So many are told apart at a time; all others of the same way in are one.
const KNOWN_MAX: usize = 16;
/// Entries of one of them are never further apart, in seconds.
const APART_MAX: u32 = 3_600;

/// Refusals that are not yet in the trail.
#[derive(Debug, Default)]
pub struct Denials {
    by_whom: Mutex<BTreeMap<Who, Tally>>,
}

/// Why somebody was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Wrong or missing token.
    Token,
    /// Led here by a foreign name.
    Host,
    /// It is not permitted. `None`: any permission would have done.
    Permission(Option<Permission>),
}

/// Those who are told apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Address(IpAddr),
    Token(Arc<str>),
    /// By user and group.
    Process(u32, u32),
    OthersOverTcp,
    OthersOverSocket,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    tokens: u64,
    hosts: u64,
    permissions: u64,
    /// Those that were missing.
    missing: Permissions,
    /// Seconds until the next entry may come.
    left: u32,
    /// Seconds that the entry after it has to wait.
    apart: u32,
}

impl Refusal {
    /// Why a request over TCP was not let in.
    pub fn of_status(status: StatusCode) -> Refusal {
        match status {
            StatusCode::UNAUTHORIZED => Refusal::Token,
            _ => Refusal::Host,
        }
    }

    /// In words: what was wrong, and the permission that was missing.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Refusal::Token => ("token", ""),
            Refusal::Host => ("host", ""),
            Refusal::Permission(None) => ("permission", "any"),
            Refusal::Permission(Some(one)) => ("permission", one.word()),
        }
    }
}

impl Denials {
    /// Counts one.
    pub fn note(&self, asker: &Asker, refusal: Refusal) {
        let mut all = self.by_whom.lock().unwrap_or_else(PoisonError::into_inner);
        let who = Who::is(asker);
        let is_known = all.len() < KNOWN_MAX || all.contains_key(&who);
        let who = if is_known { who } else { who.among_others() };
        all.entry(who).or_default().add(refusal);
    }

    /// A second has passed: what is to be recorded.
    pub fn tick(&self) -> Vec<Act> {
        let mut all = self.by_whom.lock().unwrap_or_else(PoisonError::into_inner);
        let mut acts = Vec::new();
        all.retain(|who, tally| {
            tally.left = tally.left.saturating_sub(1);
            if tally.left > 0 {
                return true;
            }
            if tally.is_empty() {
                return false;
            }
            acts.push(tally.act(who));
            let left = (tally.apart * 2).clamp(1, APART_MAX);
            *tally = Tally { left, apart: left, ..Tally::default() };
            true
        });
        acts
    }

    /// All that is left, at the end.
    pub fn take(&self) -> Vec<Act> {
        let all = std::mem::take(&mut *self.by_whom.lock().unwrap_or_else(PoisonError::into_inner));
        let left = all.into_iter().filter(|(_, tally)| !tally.is_empty());
        left.map(|(who, tally)| tally.act(&who)).collect()
    }
}

impl Who {
    fn is(asker: &Asker) -> Who {
        match (asker.peer, &asker.token) {
            (Peer::Unix { uid, gid, .. }, _) => Who::Process(uid, gid),
            (Peer::Tcp(_), Some(token)) => Who::Token(Arc::clone(token)),
            (Peer::Tcp(address), None) => Who::Address(address.ip()),
        }
    }

    fn among_others(self) -> Who {
        match self {
            Who::Process(..) | Who::OthersOverSocket => Who::OthersOverSocket,
            Who::Address(_) | Who::Token(_) | Who::OthersOverTcp => Who::OthersOverTcp,
        }
    }

    fn caller(&self) -> Caller {
        let (via, actor) = match self {
            Who::Address(address) => ("tcp", Actor::Stranger(Some(*address))),
            Who::Token(name) => ("tcp", Actor::Token(name.to_string())),
            Who::OthersOverTcp => ("tcp", Actor::Stranger(None)),
            Who::Process(uid, gid) => {
                ("socket", Actor::Process { uid: *uid, gid: Some(*gid), pid: None })
            }
            Who::OthersOverSocket => ("socket", Actor::Stranger(None)),
        };
        Caller { actor, context: Attributes::from([("via".to_owned(), via.into())]) }
    }

    /// What it was refused at.
    fn listener(&self) -> &'static str {
        match self {
            Who::Process(..) | Who::OthersOverSocket => "query.socket",
            Who::Address(_) | Who::Token(_) | Who::OthersOverTcp => "query.listen",
        }
    }
}

impl Tally {
    fn add(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Token => self.tokens += 1,
            Refusal::Host => self.hosts += 1,
            Refusal::Permission(missing) => {
                self.permissions += 1;
                self.missing = self.missing.and(missing.into_iter().collect());
            }
        }
    }

    fn count(&self) -> u64 {
        self.tokens + self.hosts + self.permissions
    }

    fn is_empty(&self) -> bool {
        self.count() == 0
    }

    fn act(&self, who: &Who) -> Act {
        let act = Act::of(Action::ACCESS_DENIED, who.caller()).on("listener", who.listener());
        let act = act.with("outcome", "refused").with("count", self.count());
        let missing = match self.missing.words().join(", ") {
            none if none.is_empty() => "it has no permission at all".to_owned(),
            words => format!("it is not permitted to {words}"),
        };
        let reasons = [
            (self.tokens, "the token is missing or wrong"),
            (self.hosts, "the Host header is a foreign name"),
            (self.permissions, &missing),
        ];
        let reasons = reasons.into_iter().filter(|(count, _)| *count > 0);
        let reasons: Vec<&str> = reasons.map(|(_, reason)| reason).collect();
        act.with("reason", reasons.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;

    fn at(last: u8) -> Asker {
        let peer = Peer::Tcp(([127, 0, 0, last], 9).into());
        Asker { permissions: Permissions::NONE, peer, token: None, seat: None }
    }

    fn of(uid: u32) -> Asker {
        let peer = Peer::Unix { uid, gid: 7, pid: Some(uid) };
        Asker { permissions: Permissions::NONE, peer, token: None, seat: None }
    }

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
                denials.note(&at(1), Refusal::Token);
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
            denials.note(&at(1), Refusal::Token);
            assert_eq!(denials.tick().len(), 1, "at once");
            assert!((0..4).all(|_| denials.tick().is_empty()));
        }
    }

    #[test]
    fn many_addresses_are_told_as_one() {
        let denials = Denials::default();
        for last in 0..200 {
            denials.note(&at(last), Refusal::Host);
        }
        let acts = denials.tick();
        assert_eq!(acts.len(), KNOWN_MAX + 1);
        let others = acts.iter().find(|act| act.actor == Actor::Stranger(None)).unwrap();
        assert_eq!(*count(others), Value::Integer(200 - KNOWN_MAX as i64));
        assert!(denials.take().is_empty());
    }

    #[test]
    fn a_user_and_a_token_are_named_with_what_they_may_not() {
        let denials = Denials::default();
        let token = Asker { token: Some("query.tokens.opa".into()), ..at(1) };
        let refuse = |asker: &Asker, one| denials.note(asker, Refusal::Permission(one));
        refuse(&of(1000), Some(Permission::List));
        refuse(&of(1000), Some(Permission::Operate));
        refuse(&token, Some(Permission::Watch));
        refuse(&of(1001), None);
        let acts = denials.tick();
        let told = |actor: &Actor| {
            let act = acts.iter().find(|act| act.actor == *actor).unwrap();
            (count(act), act.metadata["reason"].clone(), act.targets[0].name.as_str())
        };
        let process = |uid| Actor::Process { uid, gid: Some(7), pid: None };
        let told_of = |uid| told(&process(uid));
        let reason = |text: &str| Value::from(text);
        let two =
            (&Value::Integer(2), reason("it is not permitted to list, operate"), "query.socket");
        assert_eq!(told_of(1000), two);
        let one = &Value::Integer(1);
        assert_eq!(told_of(1001), (one, reason("it has no permission at all"), "query.socket"));
        let actor = Actor::Token("query.tokens.opa".into());
        assert_eq!(told(&actor), (one, reason("it is not permitted to watch"), "query.listen"));
    }

    #[test]
    fn those_over_tcp_do_not_hide_among_those_of_the_socket() {
        let denials = Denials::default();
        for one in 0..50 {
            denials.note(&at(one), Refusal::Token);
            denials.note(&of(u32::from(one)), Refusal::Permission(None));
        }
        let acts = denials.tick();
        let others = acts.iter().filter(|act| act.actor == Actor::Stranger(None));
        let others: Vec<&str> = others.map(|act| act.targets[0].name.as_str()).collect();
        assert_eq!(others, ["query.listen", "query.socket"]);
    }
}
