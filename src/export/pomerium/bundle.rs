//! The bundle: a zip with the groups and the users, as Pomerium's blob provider
//! and its external data sources read it.

use std::io::{Cursor, Write};

use serde::Serialize;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::people::{Roster, Scope};
use crate::index::View;

const GROUPS: &str = "pomerium.io/DirectoryGroup.json";
const USERS: &str = "pomerium.io/DirectoryUser.json";

/// As in the bundle; what is empty is left out.
#[derive(Serialize)]
struct GroupRow<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    email: &'a str,
}

/// As in the bundle; what is empty is left out.
#[derive(Serialize)]
struct UserRow<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    group_ids: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    display_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    email: &'a str,
}

/// Packs everyone in scope; equal content gives equal bytes. Blocks.
///
/// # Errors
/// In words, when a record is damaged.
pub fn pack(view: &View, scope: &Scope) -> Result<Vec<u8>, String> {
    let roster = Roster::new(view, scope).map_err(words)?;
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    // Without a date of its own: the zip epoch.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default());
    zip.start_file(GROUPS, options).map_err(words)?;
    write_groups(&mut zip, &roster)?;
    zip.start_file(USERS, options).map_err(words)?;
    write_users(&mut zip, &roster)?;
    Ok(zip.finish().map_err(words)?.into_inner())
}

fn write_groups(out: &mut impl Write, roster: &Roster) -> Result<(), String> {
    let mut ids = Vec::new();
    for (at, directory) in roster.directories().enumerate() {
        for slot in directory.group_slots() {
            ids.extend(roster.team(at, slot).map_err(words)?.map(|team| (team.id, at, slot)));
        }
    }
    // Slots tell the order of creation, which is no content.
    ids.sort();
    let mut list = List::new(out);
    for (_, at, slot) in ids {
        let Some(team) = roster.team(at, slot).map_err(words)? else { continue };
        list.item(&GroupRow { id: &team.id, name: &team.name, email: &team.email })?;
    }
    list.end()
}

fn write_users(out: &mut impl Write, roster: &Roster) -> Result<(), String> {
    let mut ids = Vec::new();
    for (at, directory) in roster.directories().enumerate() {
        for slot in directory.user_slots() {
            ids.extend(roster.id_of(at, slot).map_err(words)?.map(|id| (id, at, slot)));
        }
    }
    ids.sort();
    let mut list = List::new(out);
    for (_, at, slot) in ids {
        let Some(person) = roster.person(at, slot).map_err(words)? else { continue };
        list.item(&UserRow {
            id: &person.id,
            group_ids: &person.group_ids,
            display_name: &person.display_name,
            email: &person.email,
        })?;
    }
    list.end()
}

/// A JSON array, written item by item.
struct List<'w, W: Write> {
    out: std::io::BufWriter<&'w mut W>,
    is_empty: bool,
}

impl<'w, W: Write> List<'w, W> {
    fn new(out: &'w mut W) -> List<'w, W> {
        List { out: std::io::BufWriter::new(out), is_empty: true }
    }

    fn item(&mut self, item: &impl Serialize) -> Result<(), String> {
        self.out.write_all(if self.is_empty { b"[" } else { b",\n" }).map_err(words)?;
        self.is_empty = false;
        serde_json::to_writer(&mut self.out, item).map_err(words)
    }

    fn end(mut self) -> Result<(), String> {
        self.out.write_all(if self.is_empty { b"[]\n" } else { b"]\n" }).map_err(words)?;
        self.out.flush().map_err(words)
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
