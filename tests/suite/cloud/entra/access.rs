//! Every way to prove who asks, and what is said when it fails.

use std::collections::BTreeMap;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use ring::digest;
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use rosterd::provider::{Outcome, PullError, Start};
use serde_json::json;

use super::stub::{CLIENT, Proof, Stub};
use super::{Contoso, settings};
use crate::cloud::crawl_once;
use crate::harness::copy::PATIENCE;
use crate::harness::vendor::VendorServer;
use crate::harness::{scratch, secrets, write_private};

/// Guards nothing.
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDDY2LKSvITpfiP
3seuylBEopX5FSZ5GsUhmyuljh82iJorIFUWSo8T8tNOB6B3kkNS6QbMkCYimF+a
cFyAg0z1ijN/VkKSjOmU1wiHATzkUO19SUxJ9A5IU0cjGvypXogJxdR55/Wr8z/C
0NtD6jOl0geftVVQmfrEFepU/kS+DwigpXu6ElBQROlaEvJ/PM7ljfupeUOcgKuT
dT2NO3PkeBxBXZNeNdqIefpUXLCwQUxAbzs5oCw6yP0CSVRj/bZfvyve9UFGsEN8
OyRXAlQdiRVuUF/mcdQoa+uglaj9PfLBblCzZ7Z3tcKeZuGyCiku+1lOroIzCNLo
eVHXjXf1AgMBAAECggEAEZRZGJtaoXLu5L7mF29jfnFkbfc9sWq7rtTfvfMGEumC
eXvcu/c0XVadNWmRQgDaZtTJhFE55SXxgBs472Ug4PywunW/4qCkCXy5azAs0twH
Kh0UrJi1SkOX5GwyrGhxc/OlNNyuaWym4XfaKoehYvt9LRzrEqfv/IF+RmxkMfdO
0ajM7xWTerTyZBkSpU1dvIpGuzW5VyT9sCFyBJs8MUCZeF7tiqSRFS49XXN507De
FIBKZzsPBuA3vLYt9mkitKjwhX1bRwgK9bEeTsVpyKpWHcQnYR5oLb0c0V0mDHYj
4NbemCD9skEibT4b9BPeVoJSZNumTT1O/8EJSVGedwKBgQD5rXcafxFgxuWJG5RJ
XwdZCO60jrVTN2A2djZmH4a0iQmQwWiNMvqA5ZxYqoMok7q3Xf7KlY2AdyjLVahY
BAvpEbH1XMchMeu7NWad3WyRB/p0JKYpIt9XqL8l+wmgQVxas2ZPJqNt/guvkqbo
hDxWvfNWFcb453Xzxs1JSJKsOwKBgQDIVf1nKWXwdTABW395l1c23q8RucbjnWaU
tyttpOtwKuyG/GP/hfGqAmjR49ECmexWALSbS7lPfLetTaOgaqn3QNNEVuZvQRpS
aNI5asVMuttVSMjsk5t13xyFdS76AuEUdoslTXwcvr7zDc+B85z2ImuiRHkJZdBL
V5e2kxCZjwKBgQCgb1aZMA16olPcRlyCyQ1vqM26N/lL/8lTNaK+/IMSfvwmiCEm
mhtduC0+zFJ7QHI6YavXgUHryqXsAp6p7++3VCeGApfyPKG9KhNGXYHlr7q/5sze
ognhyg0J2sXUtCskHSMguTNK+nOH3jRiNJaRJn22U0gHqLOicZx3+qpFAQKBgHAU
+/MNjETdq3/26vjiHR9LsvLd11JdK5kkaZ2sWTSmLzLOXjwFelE9i9tx8+vapgjv
2BvSX9kC09iXyWXkhzcYA5sGa2HvMITOtF7/R2dIW5H5aMBDTQTDULex+hhSKA9E
y1CRa1DBvx9IqMHxw+1JEKL2YClL1x9v4Cd7XBwtAoGAQI1atsp9tLxA/WLH3mws
j83uRPeJOG2xOWeuUDpytPnURriDrrO//4lhYVYlYepUnCLlYCjr66sE+2zkUcEN
K+zDqmAw/SA00buOjnS1h8eZF3HQvjHI2RSfglgE0wBIUfmvBS0vpiyyZAH/V3Fk
K2M0XvD/72yWFvY+9s4ffXE=
-----END PRIVATE KEY-----
";

fn serve(proof: Proof) -> VendorServer<Contoso> {
    let mut stub = Stub::new(proof);
    stub.tenant.put_user("u1", json!({ "jobTitle": "CTO" }));
    stub.tenant.put_group("g1", json!({}));
    stub.tenant.add("g1", "u1", super::USER);
    VendorServer::start(Contoso { stub, ..Contoso::default() })
}

fn block(url: &str, proof: &str) -> String {
    format!(
        "tenant_id = \"contoso.com\"\nclient_id = \"{CLIENT}\"\nauthority = \"{url}\"\n\
         graph = \"{url}\"\n{proof}\n"
    )
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

async fn crawl(server: &VendorServer<Contoso>, proof: &str) -> Result<usize, PullError> {
    let settings = settings("entra", &block(&server.url(), proof));
    let (crawl, outcome) = crawl_once(&*settings, Start::Full).await;
    outcome.map(|_| crawl.collected.items.len())
}

#[tokio::test]
async fn a_certificate_signs_for_the_application() {
    let key = KeyPair::from_pem(KEY).unwrap();
    let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let thumbprint = digest::digest(&digest::SHA256, certificate.der()).as_ref().to_vec();
    let public = key.der_bytes().to_vec();
    let is_signed = move |signed: &str, signature: &[u8]| {
        let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &public);
        key.verify(signed.as_bytes(), signature).is_ok()
    };
    let server = serve(Proof::Certificate(thumbprint, Box::new(is_signed)));
    let folder = scratch("entra-certificate");
    let both = write_private(folder.path().join("both.pem"), certificate.pem() + KEY);
    let proof = format!("certificate = {{ file = {} }}", quoted(&both));
    crawl(&server, &proof).await.unwrap();
    let apart = write_private(folder.path().join("certificate.pem"), certificate.pem());
    let own = write_private(folder.path().join("key.pem"), KEY);
    let proof = format!(
        "certificate = {{ file = {} }}\nprivate_key = {{ file = {} }}",
        quoted(&apart),
        quoted(&own)
    );
    crawl(&server, &proof).await.unwrap();
}

#[tokio::test]
async fn a_federated_token_is_read_whenever_a_token_is_fetched() {
    let folder = scratch("entra-federated");
    let (first, second) = (secrets::password(), secrets::password());
    let file = write_private(folder.path().join("token"), &first);
    let server = serve(Proof::Federated(first));
    let proof = format!("federated_token_file = {}", quoted(&file));
    let settings = settings("entra", &block(&server.url(), &proof));
    let mut directory = settings.open(PATIENCE);
    let mut collected = crate::harness::copy::Collector::default();
    directory.crawl(Start::Full, &mut collected).await.unwrap();
    write_private(&file, &second);
    server.with(|contoso| {
        contoso.stub.proof = Proof::Federated(second);
        contoso.stub.granted += 100;
    });
    directory.crawl(Start::Full, &mut collected).await.unwrap();
}

#[tokio::test]
async fn machines_and_app_services_vouch_in_their_own_dialects() {
    let server = serve(Proof::Platform("metadata", "true".to_owned()));
    let endpoint = format!(
        "managed_identity = true\nmanaged_identity_endpoint = \"{}/metadata/identity/oauth2/token\"\n",
        server.url()
    );
    crawl(&server, &endpoint).await.unwrap();
    let seen = server.log();
    let asked = &seen.iter().find(|seen| seen.request.segments[0] == "metadata").unwrap().request;
    assert_eq!(asked.query("resource"), Some(server.url().as_str()));
    assert_eq!(asked.query("client_id"), Some(CLIENT));
    let header = secrets::password();
    let folder = scratch("entra-managed");
    let file = write_private(folder.path().join("header"), &header);
    server.with(|contoso| contoso.stub.proof = Proof::Platform("x-identity-header", header));
    let more = format!("managed_identity_header = {{ file = {} }}", quoted(&file));
    crawl(&server, &format!("{endpoint}{more}")).await.unwrap();
}

#[tokio::test]
async fn a_wrong_secret_is_refused_with_what_to_do_and_never_shown() {
    let server = serve(Proof::Secret(secrets::password()));
    let wrong = secrets::password();
    let folder = scratch("entra-wrong");
    let file = write_private(folder.path().join("secret"), &wrong);
    let proof = format!("client_secret = {{ file = {} }}", quoted(&file));
    let error = crawl(&server, &proof).await.unwrap_err();
    assert!(matches!(error, PullError::Unauthorized { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("AADSTS7000215") && text.contains("not its Secret ID"), "{text}");
    assert!(!format!("{error:?}").contains(&wrong));
}

async fn examine(server: &VendorServer<Contoso>) -> BTreeMap<String, Vec<(Outcome, String)>> {
    let settings = settings("entra", &super::block(&server.url(), ""));
    let mut steps = BTreeMap::<String, Vec<(Outcome, String)>>::new();
    for finding in settings.open(PATIENCE).examine().await {
        steps.entry(finding.step).or_default().push((finding.outcome, finding.detail));
    }
    steps
}

fn contoso() -> VendorServer<Contoso> {
    serve(Proof::Secret(super::SECRET.clone()))
}

#[tokio::test]
async fn the_doctor_finds_nothing_to_do_when_all_is_well() {
    let steps = examine(&contoso()).await;
    let all: Vec<_> = steps.values().flatten().collect();
    assert!(all.iter().all(|(outcome, _)| *outcome == Outcome::Good), "{steps:?}");
    assert!(steps["visibility"].iter().any(|(_, text)| text.contains("1 members of 1 groups")));
}

#[tokio::test]
async fn the_doctor_names_the_permission_that_is_missing_and_what_to_click() {
    let server = contoso();
    server.with(|contoso| {
        contoso.stub.roles = vec!["User.Read.All"];
        contoso.stub.arm("a forbidden group");
    });
    let steps = examine(&server).await;
    let said = |step: &str, outcome: Outcome, parts: &[&str]| {
        let found = steps[step]
            .iter()
            .any(|(had, text)| *had == outcome && parts.iter().all(|part| text.contains(part)));
        assert!(found, "{step} {parts:?}: {steps:?}");
    };
    let click = ["GroupMember.Read.All", "API permissions", "Grant admin consent"];
    said("permission", Outcome::Bad, &click);
    said("permission", Outcome::Good, &["User.Read.All"]);
    let blind = ["can see 0 members of 1 groups: the token lacks GroupMember.Read.All"];
    said("visibility", Outcome::Bad, &blind);
}

#[tokio::test]
async fn the_doctor_says_where_changes_are_not_offered() {
    let server = contoso();
    server.with(|contoso| contoso.stub.arm("changes are not offered"));
    let steps = examine(&server).await;
    assert_eq!(steps["incremental"][0].0, Outcome::Warning);
}

/// Known failure R21: what belongs to one host never goes to another.
#[tokio::test]
async fn r21_a_national_cloud_gets_secrets_at_one_host_and_tokens_at_the_other() {
    let secret = secrets::password();
    let servers = [(); 2].map(|()| serve(Proof::Secret(secret.clone())));
    let [authority, graph] = &servers;
    authority.with(|contoso| contoso.stub.graph_at = Some(graph.url()));
    authority.with(|granting| graph.with(|contoso| contoso.stub.trust(&granting.stub)));
    let folder = scratch("entra-national");
    let file = write_private(folder.path().join("secret"), &secret);
    let proof = format!("client_secret = {{ file = {} }}", quoted(&file));
    let [here, there] = [authority, graph].map(|server| format!("graph = \"{}\"", server.url()));
    let block = block(&authority.url(), &proof).replace(&here, &there);
    let (crawl, outcome) = crawl_once(&*settings("entra", &block), Start::Full).await;
    outcome.unwrap();
    assert!(!crawl.collected.items.is_empty());

    let granted = authority.log();
    assert_eq!(granted.len(), 1, "one token for all");
    assert_eq!(granted[0].line(), "POST /contoso.com/oauth2/v2.0/token");
    assert_eq!(granted[0].request.bearer(), None);
    let asked = graph.log();
    assert!(asked.len() > 3);
    for seen in asked {
        assert!(seen.request.path.starts_with("/v1.0/"), "{}", seen.line());
        assert!(seen.request.bearer().is_some(), "{}", seen.line());
        let all = format!("{:?} {}", seen.request, String::from_utf8_lossy(&seen.request.body));
        assert!(!all.contains(&secret), "the secret went to Graph");
    }
}
