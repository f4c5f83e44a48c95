//! An org and the daemon's parts that follow it.

use std::time::Duration;

use rosterd::provider::{Patience, Settings};
use serde_json::json;

use super::stub::Org;
use super::{Acme, block, roster};
use crate::cloud::{Vendor, settings};
use crate::harness::parts::{Manner, Parts};
use crate::harness::roster::Lens;
use crate::harness::vendor::VendorServer;

pub const DAY: Duration = Duration::from_hours(24);

/// An org, and the daemon's parts that follow it.
pub struct Scene {
    pub server: VendorServer<Acme>,
    pub parts: Parts,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// With `change` made before the first poll, long ago.
    pub fn open(more: &str, change: impl FnOnce(&mut Org)) -> Scene {
        let server = server(change);
        let settings = settings("okta", &block(&server.url(), more));
        Scene::follow(server, settings)
    }

    pub fn follow(server: VendorServer<Acme>, settings: std::sync::Arc<dyn Settings>) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let lens = Lens { user: Acme::user_words, group: Acme::group_words };
        let patience = Patience {
            request_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(60),
        };
        let manner = Manner { patience, ..Manner::unguarded(lens) };
        Scene { parts: Parts::open(folder.path(), settings, manner), server, _folder: folder }
    }

    pub fn change<R>(&self, change: impl FnOnce(&mut Org) -> R) -> R {
        self.server.with(|acme| change(&mut acme.org))
    }

    /// Polls once, which must do; how many requests it took.
    pub async fn sync(&self) -> usize {
        self.server.forget();
        self.parts.sync().await.unwrap();
        self.server.log().len()
    }

    /// Polls once; the copy is then exact.
    pub async fn sync_exactly(&self) -> usize {
        let requests = self.sync().await;
        assert_eq!(self.parts.roster(), self.server.with(|acme| roster(&acme.org)));
        requests
    }

    pub fn has(&self, group: &str, user: &str) -> bool {
        self.parts.roster().members.contains(&(group.to_owned(), user.to_owned()))
    }

    pub fn lines(&self) -> Vec<String> {
        self.server.log().iter().map(crate::harness::vendor::Seen::line).collect()
    }
}

pub fn server(change: impl FnOnce(&mut Org)) -> VendorServer<Acme> {
    let server = VendorServer::start(Acme::default());
    server.with(|acme| {
        acme.org.users.clear();
        change(&mut acme.org);
        acme.org.long_ago();
    });
    server
}

/// Ada and Bob in Engineers and, Bob alone, in Sales.
pub fn small(org: &mut Org) {
    for user in ["00uada", "00ubob", "00ucyd"] {
        org.put_user(user, "ACTIVE", json!({}));
    }
    org.put_group("00gengineers", "OKTA_GROUP", "Engineers");
    org.put_group("00gsales", "APP_GROUP", "Sales");
    org.add("00gengineers", "00uada", false);
    org.add("00gengineers", "00ubob", false);
    org.add("00gsales", "00ubob", false);
}
