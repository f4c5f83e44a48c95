//! Feeds what reads Graph's pages.

use std::sync::OnceLock;

use super::config::EntraConfig;
use super::graph;
use super::map::{self, Mapper};
use super::objects::Kind;
use crate::fuzzing::{json, settings};

/// A page of any list.
pub fn feed(bytes: &[u8]) {
    let _ = (graph::code(bytes), graph::is_expired(410, bytes));
    let Some(page) = json(bytes) else { return };
    let Ok(page) = graph::page_of(page) else { return };
    static CONFIG: OnceLock<Option<EntraConfig>> = OnceLock::new();
    let read = || settings(CONFIGURATION, EntraConfig::read);
    let Some(config) = CONFIG.get_or_init(read) else { return };
    let mut mapper = Mapper::new(&config.wanted);
    for value in page.value {
        for kind in [Kind::Users, Kind::ServicePrincipals, Kind::Devices] {
            let _ = mapper.user(kind, value.clone());
        }
        let _ = map::member(&config.wanted, &value);
        let _ = mapper.group(value);
    }
    let _ = mapper.take_kept();
}

const CONFIGURATION: &str = "tenant_id = \"contoso.example\"\nclient_id = \"c\"\n\
    managed_identity = true\nkeep_raw = true";
