//! A small tenant, and the daemon's parts that follow it.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Contoso, GROUP, Tenant, USER, block, roster, settings};
use crate::cloud::Vendor;
use crate::harness::parts::{Manner, Parts};
use crate::harness::roster::{Lens, Roster};
use crate::harness::vendor::{Request, VendorServer};

pub struct Scene {
    pub server: VendorServer<Contoso>,
    pub parts: Parts,
    _folder: tempfile::TempDir,
}

impl Scene {
    pub fn new(more: &str) -> Scene {
        let server = VendorServer::start(Contoso::default());
        server.with(|contoso| {
            let tenant = &mut contoso.stub.tenant;
            for user in 1..=5 {
                tenant.put_user(&format!("u{user}"), json!({ "jobTitle": "Engineer" }));
            }
            for group in 1..=2 {
                tenant.put_group(&format!("g{group}"), json!({}));
                tenant.add(&format!("g{group}"), &format!("u{group}"), USER);
            }
            tenant.add("g1", "g2", GROUP);
        });
        let folder = tempfile::tempdir().unwrap();
        let lens = Lens { user: Contoso::user_words, group: Contoso::group_words };
        let settings = settings("entra", &block(&server.url(), more));
        let parts = Parts::open(folder.path(), settings, Manner::unguarded(lens));
        Scene { server, parts, _folder: folder }
    }

    pub fn change(&self, change: impl FnOnce(&mut Tenant)) {
        self.server.with(|contoso| change(&mut contoso.stub.tenant));
    }

    pub fn truth(&self) -> Roster {
        self.server.with(|contoso| roster(&contoso.stub.tenant))
    }

    pub async fn sync(&self) -> Result<(), String> {
        self.parts.sync().await.map_err(|error| error.to_string())
    }

    pub async fn sync_to_truth(&self) {
        self.sync().await.unwrap();
        assert_eq!(self.parts.roster(), self.truth());
    }

    pub fn members(&self, group: &str) -> BTreeSet<String> {
        let all = self.parts.roster().members;
        all.into_iter().filter(|(of, _)| of == group).map(|(_, member)| member).collect()
    }

    pub fn arm(&self, name: &str) {
        self.server.with(|contoso| contoso.stub.arm(name));
    }

    /// The next polls are full ones, until one went well.
    pub async fn anew(&self) {
        self.server.with(|contoso| contoso.stub.arm("changes are forgotten"));
        self.sync().await.unwrap();
        self.server.with(|contoso| contoso.stub.calm());
    }
}

pub fn is_batch(request: &Request) -> bool {
    request.path.ends_with("$batch")
}
