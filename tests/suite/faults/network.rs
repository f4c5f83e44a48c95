//! A bad network: between the real process and an OpenLDAP, and the APIs of
//! two vendors, with TLS and without.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{PATIENCE, assert_last_good, assert_nothing_lost, held, wait_healthy};
use crate::cloud::{Vendor, entra, okta};
use crate::harness::daemon::Daemon;
use crate::harness::fault_proxy::{Damage, FaultProxy, Toxic};
use crate::harness::fold::Fold;
use crate::harness::slapd::{Options, Slapd};
use crate::harness::tls::Tls;
use crate::harness::tls_front::TlsFront;
use crate::harness::vendor::VendorServer;
use crate::harness::wait_until;

type Pairs = BTreeSet<(String, String)>;

/// What a poll must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
    /// It fails, or it is exact.
    Either,
}

/// One directory behind a proxy.
struct Line<'a> {
    daemon: &'a Daemon,
    proxy: &'a FaultProxy,
    /// Puts one more member into a group, by a number never used before.
    change: &'a dyn Fn(usize),
    /// What the provider has.
    truth: &'a dyn Fn() -> Pairs,
    /// What readers are told.
    told: &'a dyn Fn() -> Pairs,
}

impl Line<'_> {
    /// Lives through each toxic in turn.
    fn endure(&self, toxics: &[(Toxic, Fate)]) {
        for (number, (toxic, fate)) in toxics.iter().enumerate() {
            wait_healthy(self.daemon);
            let known = (self.told)();
            self.proxy.set(toxic.clone());
            (self.change)(number);
            let status = self.poll_begun_now();
            self.judge(toxic, *fate, &status, &known);
            self.proxy.clear();
            self.recover(toxic);
        }
        assert_nothing_lost(self.daemon);
    }

    /// The status right after a poll that began after the change.
    fn poll_begun_now(&self) -> Value {
        self.daemon.sync("corp")
    }

    fn judge(&self, toxic: &Toxic, fate: Fate, status: &Value, known: &Pairs) {
        let log = || self.daemon.log();
        let told = (self.told)();
        let has_failed = status["consecutive_failures"] != 0;
        match fate {
            Fate::Succeeds => assert!(!has_failed, "{toxic:?}: {status}\n{}", log()),
            Fate::Fails => assert!(has_failed, "{toxic:?}: {status}\n{}", log()),
            Fate::Either => {}
        }
        if !has_failed {
            assert_eq!(told, (self.truth)(), "{toxic:?}: a wrong picture\n{}", log());
            return;
        }
        assert_eq!(told, *known, "{toxic:?}: not the last good picture\n{}", log());
        assert_last_good(self.daemon, &status["as_of"]);
        let error = status["last_error"].as_str().expect("a failure has a reason");
        let place = self.proxy.address().port().to_string();
        assert!(error.contains(&place), "{toxic:?}: it does not say where: {error}");
        println!("{toxic:?}: {error}");
    }

    /// No one asks for a poll here.
    fn recover(&self, toxic: &Toxic) {
        wait_until(&format!("recovery from {toxic:?}"), PATIENCE, || {
            let (told, truth) = ((self.told)(), (self.truth)());
            if told == truth { Ok(()) } else { Err(self.daemon.log()) }
        });
        let status = wait_healthy(self.daemon);
        assert!(status["last_error"].is_null(), "{status}");
    }
}

/// Every way in which a connection fails: at its begin, and after `amid` bytes,
/// which is less than the server says in answer to anything.
fn toxics(amid: u64) -> Vec<(Toxic, Fate)> {
    vec![
        (Toxic::Latency(Duration::from_millis(20)), Fate::Succeeds),
        (Toxic::Slicer { size: 7 }, Fate::Succeeds),
        (Toxic::Refuse, Fate::Fails),
        (Toxic::ResetPeer { after: 0 }, Fate::Fails),
        (Toxic::ResetPeer { after: amid }, Fate::Fails),
        (Toxic::LimitData { after: amid }, Fate::Fails),
        (Toxic::Stall { after: amid }, Fate::Fails),
    ]
}

/// A flipped bit anywhere in what TLS carries.
fn flips() -> Vec<(Toxic, Fate)> {
    let places = [(3, Fate::Fails), (40, Fate::Fails), (700, Fate::Fails), (1_600, Fate::Either)];
    places.map(|(at, fate)| (Toxic::Corrupt(Damage::Flip { at }), fate)).into()
}

const POLL: &str = "poll = { min_delay = \"200ms\", max_delay = \"400ms\", \
                    request_timeout = \"700ms\", stall_timeout = \"2s\" }\n";

fn ldap_block(slapd: &Slapd, url: &str, more: &str) -> String {
    let (dn, password) = slapd.poller();
    let file = slapd.password_file((dn.clone(), password));
    format!(
        "[directory.corp]\n{POLL}provider.ldap = {{ url = \"{url}\", base = \"{}\", \
         bind_dn = \"{dn}\", bind_password = {{ file = \"{}\" }}, ca = \"{}\", \
         schema = \"rfc2307bis\"{more} }}\n",
        slapd.base(),
        file.display(),
        slapd.ca().display()
    )
}

fn port(url: &str) -> u16 {
    url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a url with a port")
}

fn ldap_truth(slapd: &Slapd) -> Pairs {
    slapd.people_and_groups().memberships
}

/// By names, since ids are the server's own.
fn ldap_told(daemon: &Daemon) -> Pairs {
    let snapshot = daemon.request("GET", "/v1/snapshot", None).text();
    let fold = Fold::of_snapshot(&snapshot).unwrap_or_else(|complaint| panic!("{complaint}"));
    let Some(corp) = fold.directories.get("corp") else { return Pairs::new() };
    let name = |object: &Value, field: &str| object[field].as_str().unwrap_or("").to_owned();
    let pair = |(group, kind, member): &(String, &str, String)| {
        let member = match *kind {
            "user" => format!("uid={},ou=people", name(&corp.users[member], "username")),
            _ => format!("cn={},ou=groups", name(&corp.groups[member], "name")),
        };
        (name(&corp.groups[group], "name"), member)
    };
    corp.memberships.iter().map(pair).collect()
}

fn endure_ldap(
    url: impl Fn(u16) -> String,
    upstream: impl Fn(&Slapd) -> u16,
    more: &str,
    toxics: &[(Toxic, Fate)],
) {
    let slapd = Slapd::start(Options { memberof: false, ..Options::default() });
    let proxy = FaultProxy::before(upstream(&slapd));
    let daemon = Daemon::start(&ldap_block(&slapd, &url(proxy.address().port()), more));
    daemon.wait_ready();
    let change = |number: usize| {
        let uid = format!("late{number}");
        let base = slapd.base();
        slapd.modify(&format!(
            "dn: uid={uid},ou=people,{base}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: N\nsn: N\n"
        ));
        slapd.member(&slapd.group_dn(0), &format!("uid={uid},ou=people,{base}"), true);
    };
    Line {
        daemon: &daemon,
        proxy: &proxy,
        change: &change,
        truth: &|| ldap_truth(&slapd),
        told: &|| ldap_told(&daemon),
    }
    .endure(toxics);
}

#[test]
fn openldap_over_tls_behind_a_bad_network() {
    let toxics = [toxics(600), flips()].concat();
    endure_ldap(
        |port| format!("ldaps://127.0.0.1:{port}"),
        |slapd| port(&slapd.ldaps_url()),
        "",
        &toxics,
    );
}

/// Without TLS nobody can tell that a letter of a name has changed; but what
/// holds the answer together cannot change unnoticed.
#[test]
fn openldap_in_plain_with_damaged_answers() {
    // The server answers the bind (14 bytes) and then the search for the root
    // entry: tag and length of the message, number, tag and length of the
    // entry, and its name, which is empty.
    let structure = (0..28).step_by(3).chain([14, 15]);
    let mut toxics: Vec<_> =
        structure.map(|at| (Toxic::Corrupt(Damage::Flip { at }), Fate::Either)).collect();
    for at in [0, 14, 200] {
        toxics.push((Toxic::Corrupt(Damage::Lose { at }), Fate::Either));
    }
    toxics.push((Toxic::ResetPeer { after: 14 }, Fate::Fails));
    endure_ldap(
        |port| format!("ldap://127.0.0.1:{port}"),
        |slapd| port(&slapd.url()),
        ", starttls = false",
        &toxics,
    );
}

/// An org of 30 people, half of whom are in `00gcrew`.
fn org() -> VendorServer<okta::Acme> {
    let server = VendorServer::start(okta::Acme::default());
    server.with(|acme| {
        acme.page(7);
        acme.org.put_group("00gcrew", "OKTA_GROUP", "crew");
        for number in 0..30 {
            let id = format!("00u{number}");
            acme.org.put_user(&id, "ACTIVE", json!({"title": "Engineer"}));
            if number % 2 == 0 {
                acme.org.add("00gcrew", &id, true);
            }
        }
    });
    server
}

fn endure_okta(
    scheme: &str,
    server: &VendorServer<okta::Acme>,
    proxy: &FaultProxy,
    more: &str,
    toxics: &[(Toxic, Fate)],
) {
    let url = format!("{scheme}://{}", proxy.address());
    server.known_as(url.clone());
    let block = okta::block(&url, &format!("quota_share = 1\n{more}"));
    let daemon =
        Daemon::start(&format!("[directory.corp]\n{POLL}[directory.corp.provider.okta]\n{block}"));
    daemon.wait_ready();
    let change = |number: usize| {
        server.with(|acme| {
            let id = format!("00ulate{number}");
            acme.org.put_user(&id, "ACTIVE", json!({"title": "Engineer"}));
            acme.org.add("00gcrew", &id, true);
        });
    };
    Line {
        daemon: &daemon,
        proxy,
        change: &change,
        truth: &|| server.with(|acme| okta::roster(&acme.org).members),
        told: &|| held(&daemon),
    }
    .endure(toxics);
}

#[test]
fn okta_over_tls_behind_a_bad_network() {
    let server = org();
    let dir = crate::harness::scratch("tls");
    let tls = Tls::make(dir.path(), &[]);
    let front = TlsFront::before(server.port(), &tls);
    let proxy = FaultProxy::before(front.port());
    let more = format!("ca = \"{}\"\n", tls.ca.display());
    endure_okta("https", &server, &proxy, &more, &[toxics(600), flips()].concat());
}

#[test]
fn okta_in_plain_with_damaged_answers() {
    let server = org();
    let proxy = FaultProxy::before(server.port());
    endure_okta("http", &server, &proxy, "", &damaged_json(&[9, 900]));
}

/// Heads and bodies that do not hold together any more.
fn damaged_json(places: &[u64]) -> Vec<(Toxic, Fate)> {
    let mut toxics = Vec::new();
    for &at in places {
        toxics.push((Toxic::Corrupt(Damage::Lose { at }), Fate::Either));
        for (from, to) in [(b'{', b'('), (b'}', b' '), (b']', b','), (b':', b';'), (b'\n', b' ')] {
            toxics.push((Toxic::Corrupt(Damage::Replace { at, from, to }), Fate::Either));
        }
    }
    toxics
}

#[test]
fn entra_in_plain_behind_a_bad_network() {
    let server = VendorServer::start(entra::Contoso::default());
    server.with(|contoso| contoso.fill_small());
    let proxy = FaultProxy::before(server.port());
    let url = format!("http://{}", proxy.address());
    server.known_as(url.clone());
    let block = entra::block(&url, "quota_share = 1\n");
    let daemon =
        Daemon::start(&format!("[directory.corp]\n{POLL}[directory.corp.provider.entra]\n{block}"));
    daemon.wait_ready();
    let change = |number: usize| server.with(|contoso| contoso.join(&format!("late{number}")));
    Line {
        daemon: &daemon,
        proxy: &proxy,
        change: &change,
        truth: &|| server.with(|contoso| entra::roster(&contoso.stub.tenant).members),
        told: &|| held(&daemon),
    }
    .endure(&[toxics(60), damaged_json(&[300])].concat());
}
