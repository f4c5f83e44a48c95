//! The GitHub provider against a stub of GitHub: REST, GraphQL, and what goes
//! wrong with both.

mod again;
mod app;
mod crawl;
mod graphql;
mod others;
mod recorded;
mod refused;
mod rest;
mod size;
mod story;
mod trouble;
mod ways;
mod world;

use std::io::Write;
use std::sync::Arc;

use rosterd::provider::{Directory, Settings};

use self::world::World;
use super::settings;
use crate::harness::copy::PATIENCE;
use crate::harness::vendor::VendorServer;

/// The settings that lead to a stub, with more keys.
pub fn block(url: &str, more: &str) -> Arc<dyn Settings> {
    block_with(url, "t0k3n", more)
}

/// The same under another token.
pub fn block_with(url: &str, token: &str, more: &str) -> Arc<dyn Settings> {
    let file = secret_file(token);
    let organizations =
        if more.contains("organizations") { "" } else { "organizations = [\"acme\"]" };
    let token = match more.contains("app_id") {
        true => String::new(),
        false => format!("token = {{ file = {:?} }}", file.path()),
    };
    settings("github", &format!("url = \"{url}\"\n{organizations}\n{token}\n{more}\n"))
}

/// A stub whose world `make` fills, and a directory that reads it.
pub fn open(
    more: &str,
    make: impl FnOnce(&mut World),
) -> (VendorServer<World>, Box<dyn Directory>) {
    let mut world = World::default();
    make(&mut world);
    let root = world.root;
    let server = VendorServer::start(world);
    let directory = block(&format!("{}{root}", server.url()), more).open(PATIENCE);
    (server, directory)
}

/// A file that holds a secret until the settings are read.
pub fn secret_file(secret: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(secret.as_bytes()).unwrap();
    file
}
