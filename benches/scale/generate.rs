//! Writes a generated directory as a bundle (docs/bundle.md), object by object.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use rosterd::model::Value;
use serde_json::{Map, Value as Json, json};

use super::population::{Moment, Population};

/// Writes `path` as it is after so many ticks of 1 %.
pub fn run(population: &Population, path: &Path, ticks: u32) {
    let at = Moment { ticks: [0, ticks, 0], newcomers: 0 };
    let file = std::fs::File::create(path).expect("the file can be made");
    let mut out = BufWriter::with_capacity(1 << 20, file);
    write(population, at, &mut out).and_then(|()| out.flush()).expect("the file can be written");
}

fn write(population: &Population, at: Moment, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{\"users\":[")?;
    for seat in 0..population.users {
        comma(out, seat)?;
        serde_json::to_writer(&mut *out, &user(population, seat, at))?;
    }
    out.write_all(b"],\n\"groups\":[")?;
    for group in 0..population.groups {
        comma(out, group)?;
        serde_json::to_writer(&mut *out, &group_of(population, group, at))?;
    }
    out.write_all(b"]}\n")
}

fn comma(out: &mut impl Write, number: u32) -> io::Result<()> {
    out.write_all(if number == 0 { b"\n" } else { b",\n" })
}

fn user(population: &Population, seat: u32, at: Moment) -> Json {
    let user = population.user(seat, at).user;
    let mut json = json!({
        "id": user.id, "username": user.username, "emails": user.emails,
        "display_name": user.display_name, "given_name": user.given_name,
        "family_name": user.family_name, "active": user.active, "title": user.title,
        "department": user.department, "manager": user.manager,
    });
    if let Json::Object(fields) = &mut json {
        attributes(user.attributes, fields);
    }
    json
}

fn group_of(population: &Population, group: u32, at: Moment) -> Json {
    let record = population.group(group, at).group;
    let users = population.members(group, at).map(|seat| population.id_on(seat, at));
    let users = users.map(|id| json!({ "kind": "user", "id": id }));
    let inner = population.children(group).map(|child| population.group_id(child, at));
    let inner = inner.map(|id| json!({ "kind": "group", "id": id }));
    let members: Vec<Json> = users.chain(inner).collect();
    let mut json = json!({
        "id": record.id, "name": record.name, "description": record.description,
        "members": members,
    });
    if let Json::Object(fields) = &mut json {
        attributes(record.attributes, fields);
    }
    json
}

fn attributes(attributes: rosterd::model::Attributes, fields: &mut Map<String, Json>) {
    for (name, value) in attributes {
        if let Value::Text(text) = value {
            fields.insert(name, Json::String(text));
        }
    }
}
