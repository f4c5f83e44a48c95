//! An independent reader of bundles and applier of patches, as strict as OPA.

use std::io::Read;

use serde_json::{Map, Value};

/// The files of a bundle.
pub fn files(bundle: &[u8]) -> std::collections::BTreeMap<String, Value> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bundle));
    let entries = archive.entries().unwrap();
    let file = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        (path, serde_json::from_str(&text).unwrap())
    };
    entries.map(file).collect()
}

/// All of a patch, or nothing of it.
pub fn patched(document: &Value, ops: &[Value]) -> Result<Value, String> {
    let mut document = document.clone();
    ops.iter().try_for_each(|op| attempt(&mut document, op))?;
    Ok(document)
}

/// Applies one operation as OPA does: parents of an `upsert` are made, parents
/// of an `add` must be there, and only what is there can be removed.
fn attempt(document: &mut Value, op: &Value) -> Result<(), String> {
    let path = op["path"].as_str().unwrap().trim_matches('/');
    let keys: Vec<String> = path.split('/').map(key).collect();
    let (last, parents) = keys.split_last().unwrap();
    let makes = op["op"] == "upsert";
    let mut place = document.as_object_mut().unwrap();
    for parent in parents {
        if makes && !place.contains_key(parent) {
            place.insert(parent.clone(), Value::Object(Map::new()));
        }
        let found = place.get_mut(parent).ok_or_else(|| format!("no parent: {op}"))?;
        place = found.as_object_mut().unwrap();
    }
    match op["op"].as_str().unwrap() {
        "upsert" | "add" => drop(place.insert(last.clone(), op["value"].clone())),
        "remove" if place.remove(last).is_none() => return Err(format!("nothing to remove: {op}")),
        "remove" => {}
        other => panic!("OPA does not know `{other}`"),
    }
    Ok(())
}

/// Percent-encoding is undone before the escapes of RFC 6901.
fn key(segment: &str) -> String {
    let plain = percent_encoding::percent_decode_str(segment).decode_utf8().unwrap();
    plain.replace("~1", "/").replace("~0", "~")
}
