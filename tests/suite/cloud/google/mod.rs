//! Google Workspace: the provider against an Admin SDK of our own.

mod hazards;
mod second_client;
mod server;
mod tests;
mod token;
mod world;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use rosterd::provider::Settings;
use tempfile::TempDir;

use self::server::Google;
use self::token::ADMIN;
use super::{Effect, Op, Population, Vendor, settings};
use crate::harness::roster::Roster;
use crate::harness::vendor::VendorServer;

/// The key file, and a file with a platform's token.
static FILES: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for the test");
    std::fs::write(folder.path().join("key.json"), token::key_file()).expect("it is ours");
    std::fs::write(folder.path().join("subject"), "token of the platform\n").expect("it is ours");
    let workload = serde_json::json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/pool",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "credential_source": { "file": folder.path().join("subject") },
    });
    std::fs::write(folder.path().join("workload.json"), workload.to_string()).expect("it is ours");
    folder
});

fn file(name: &str) -> PathBuf {
    FILES.path().join(name)
}

/// A block with the key, and more lines.
fn block(url: &str, more: &str) -> String {
    format!(
        "impersonate = \"{ADMIN}\"\nkey = {{ file = {:?} }}\napi = \"{url}\"\n\
         token_url = \"{url}/token\"\nquota_share = 1.0\n{more}",
        file("key.json")
    )
}

impl Vendor for Google {
    const HAZARDS: &'static [(&'static str, Effect)] = &[
        ("empty first page", Effect::Exact),
        ("empty page", Effect::Exact),
        ("short pages", Effect::Exact),
        ("repeated cursor", Effect::Kept),
        ("error in a 200", Effect::Exact),
        ("nothing in a 200", Effect::Exact),
        ("expired page token", Effect::Exact),
        ("gone page token", Effect::Exact),
        ("forbidden group", Effect::Kept),
        ("malformed user", Effect::Kept),
        ("members missing", Effect::Kept),
        ("lagging lists", Effect::Kept),
        ("late feed", Effect::Kept),
    ];

    fn settings(&self, url: &str) -> Arc<dyn Settings> {
        settings("google", &block(url, ""))
    }

    fn apply(&mut self, op: &Op) {
        self.world.apply(op);
    }

    fn page(&mut self, objects_max: usize) {
        self.page = objects_max;
    }

    fn hazard(&mut self, name: &str) {
        let known = Self::HAZARDS.iter().find(|(known, _)| *known == name);
        Google::hazard(self, known.expect("a hazard of Google's").0);
    }

    fn calm(&mut self) {
        Google::calm(self);
    }

    fn roster(&self) -> Roster {
        self.world.roster()
    }

    fn fill(&mut self, population: Population) {
        self.world.fill(population);
    }
}

#[test]
fn it_lives_through_anything() {
    super::lives_through_anything::<Google>();
}

#[tokio::test]
async fn a_first_crawl_interrupted_ten_times_at_random_pages_resumes_each_time() {
    let population = Population { users: 200, groups: 200, memberships: 300 };
    // Each time all users and all groups are listed once more, and what is
    // asked for at once is lost.
    let again = 200 / 20 + 200 / 20 + 12;
    for seed in 0..3 {
        super::a_first_crawl_goes_on_ten_times::<Google>(population, 20, seed, again).await;
    }
}

#[tokio::test]
async fn two_directories_with_different_credentials_never_mix() {
    let servers = [(); 2].map(|()| VendorServer::start(Google::default()));
    let other = "other@example.org";
    servers[1].with(|google| google.tokens.admin = other.to_owned());
    let first = block(&servers[0].url(), "");
    let second = block(&servers[1].url(), "").replace(ADMIN, other);
    let blocks = [first, second].map(|block| settings("google", &block));
    super::two_directories_never_mix(blocks, [&servers[0], &servers[1]]).await;
}

const RESTART: super::restart::Setting = super::restart::Setting {
    kind: "google",
    block: |url| block(url, ""),
    page: |request| {
        request.path.ends_with("/directory/v1/users").then(|| request.raw_query.clone())
    },
};

#[test]
fn r16_google_goes_on_after_a_kill_at_every_request() {
    super::restart::killed_everywhere::<Google>(&RESTART);
}
