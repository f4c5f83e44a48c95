//! Folds events into the directories they describe, and complains about every
//! event that does not follow from the ones before it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What a receiver knows after some events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fold {
    pub directories: BTreeMap<String, Roster>,
    pub seq: u64,
}

/// One directory as folded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roster {
    pub users: BTreeMap<String, Value>,
    pub groups: BTreeMap<String, Value>,
    /// Group id, `user` or `group`, member id.
    pub memberships: BTreeSet<(String, &'static str, String)>,
}

impl Fold {
    /// Folds all of them.
    ///
    /// # Errors
    /// The first event that does not follow, and why.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Value>) -> Result<Fold, String> {
        let mut fold = Fold::default();
        for event in events {
            fold.apply(event)?;
        }
        Ok(fold)
    }

    /// What a snapshot says, to compare: directories that hold nothing left out.
    ///
    /// # Errors
    /// When the snapshot has no end or a line that makes no sense.
    pub fn of_snapshot(lines: &str) -> Result<Fold, String> {
        let mut fold = Fold::default();
        let mut ended = false;
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
            match line["type"].as_str() {
                Some("start") => fold.seq = line["seq"].as_u64().ok_or("a snapshot without seq")?,
                Some("end") => ended = true,
                _ => {
                    let name = line["directory"].as_str().ok_or("a line without directory")?;
                    let roster = fold.directories.entry(name.to_owned()).or_default();
                    roster.take(&line)?;
                }
            }
        }
        if ended { Ok(fold) } else { Err("a snapshot without its end".to_owned()) }
    }

    /// Without the directories that hold nothing.
    pub fn trimmed(mut self) -> Fold {
        self.directories.retain(|_, roster| *roster != Roster::default());
        self
    }

    /// Folds one more event, which must carry the next seq.
    ///
    /// # Errors
    /// Why it does not follow from what came before.
    pub fn apply(&mut self, event: &Value) -> Result<(), String> {
        let seq = event["seq"].as_u64().ok_or("an event without seq")?;
        if seq != self.seq + 1 {
            return Err(format!("seq {seq} follows {}", self.seq));
        }
        self.take(event)
    }

    /// Folds one more event, whatever its seq: for receivers whose events keep
    /// their order per user and group only.
    ///
    /// # Errors
    /// Why it does not follow from what came before.
    pub fn take(&mut self, event: &Value) -> Result<(), String> {
        self.seq = self.seq.max(event["seq"].as_u64().ok_or("an event without seq")?);
        let directory = event["directory"].as_str().ok_or("an event without directory")?;
        if directory.is_empty() {
            // It speaks of the daemon, not of a directory.
            return Ok(());
        }
        let roster = self.directories.entry(directory.to_owned()).or_default();
        roster.apply(event).map_err(|reason| format!("{reason}: {event}"))
    }
}

impl Roster {
    /// One line of a snapshot.
    fn take(&mut self, line: &Value) -> Result<(), String> {
        match line["type"].as_str() {
            Some("user") => create(&mut self.users, &line["user"]),
            Some("group") => create(&mut self.groups, &line["group"]),
            Some("membership") => {
                let kind = if line["member"]["kind"] == "group" { "group" } else { "user" };
                let group = line["group"].as_str().ok_or("a membership without group")?.to_owned();
                if self.memberships.insert((group, kind, id(&line["member"])?)) {
                    Ok(())
                } else {
                    Err(format!("twice: {line}"))
                }
            }
            _ => Err(format!("what is {line}")),
        }
    }

    /// Folds one more event of this directory.
    ///
    /// # Errors
    /// Why it does not follow from what came before.
    pub fn apply(&mut self, event: &Value) -> Result<(), String> {
        let data = &event["data"];
        match event["type"].as_str().unwrap_or_default() {
            "user.created" => create(&mut self.users, &data["user"]),
            "user.updated" => update(&mut self.users, &data["user"], &data["previous"]),
            "user.deleted" => self.delete("user", &data["user"]),
            "group.created" => create(&mut self.groups, &data["group"]),
            "group.updated" => update(&mut self.groups, &data["group"], &data["previous"]),
            "group.deleted" => self.delete("group", &data["group"]),
            "group.user_added" => self.join("user", &data["group"], &data["user"]),
            "group.user_removed" => self.leave("user", &data["group"], &data["user"]),
            "group.group_added" => self.join("group", &data["group"], &data["member"]),
            "group.group_removed" => self.leave("group", &data["group"], &data["member"]),
            "directory.removed" => {
                *self = Roster::default();
                Ok(())
            }
            "directory.synced"
            | "directory.failing"
            | "directory.recovered"
            | "directory.held"
            | "webhook.disabled" => Ok(()),
            other => Err(format!("no such type: {other}")),
        }
    }

    fn delete(&mut self, kind: &'static str, object: &Value) -> Result<(), String> {
        let id = id(object)?;
        if let Some(edge) = self.memberships.iter().find(|(group, k, member)| {
            (*k == kind && *member == id) || kind == "group" && *group == id
        }) {
            return Err(format!("deleted while {edge:?} stands"));
        }
        let objects = if kind == "user" { &mut self.users } else { &mut self.groups };
        objects.remove(&id).map(drop).ok_or_else(|| "deleted but never there".to_owned())
    }

    fn join(&mut self, kind: &'static str, group: &Value, member: &Value) -> Result<(), String> {
        let members = if kind == "user" { &self.users } else { &self.groups };
        if self.groups.get(&id(group)?) != Some(group) {
            return Err("the group is not as it was told before".to_owned());
        }
        let mut object = member.clone();
        object.as_object_mut().and_then(|fields| fields.remove("kind"));
        if members.get(&id(member)?) != Some(&object) {
            return Err("the member is not as it was told before".to_owned());
        }
        if self.memberships.insert((id(group)?, kind, id(member)?)) {
            Ok(())
        } else {
            Err("joined twice".to_owned())
        }
    }

    fn leave(&mut self, kind: &'static str, group: &Value, member: &Value) -> Result<(), String> {
        if self.memberships.remove(&(id(group)?, kind, id(member)?)) {
            Ok(())
        } else {
            Err("left without having joined".to_owned())
        }
    }
}

fn create(objects: &mut BTreeMap<String, Value>, object: &Value) -> Result<(), String> {
    match objects.insert(id(object)?, object.clone()) {
        None => Ok(()),
        Some(_) => Err("created twice".to_owned()),
    }
}

fn update(
    objects: &mut BTreeMap<String, Value>,
    object: &Value,
    previous: &Value,
) -> Result<(), String> {
    let known = objects.get_mut(&id(object)?).ok_or("updated but never created")?;
    let changed = difference(known, object);
    if changed.is_empty() {
        return Err("updated and nothing differs".to_owned());
    }
    if Value::Object(changed.clone()) != *previous {
        return Err(format!("previous should be {}", Value::Object(changed)));
    }
    *known = object.clone();
    Ok(())
}

/// The fields of `old` that `new` has otherwise; `null` where there was
/// nothing. `attributes` is one field, and told whole.
fn difference(old: &Value, new: &Value) -> serde_json::Map<String, Value> {
    let nothing = serde_json::Map::new();
    let fields = |value: &Value| value.as_object().unwrap_or(&nothing).clone();
    let (old, new) = (fields(old), fields(new));
    let mut changed = serde_json::Map::new();
    for name in old.keys().chain(new.keys()) {
        let (before, after) = (&old.get(name), &new.get(name));
        if before == after {
            continue;
        }
        changed.insert(name.clone(), before.cloned().unwrap_or_default());
    }
    changed
}

fn id(object: &Value) -> Result<String, String> {
    object["id"].as_str().map(str::to_owned).ok_or_else(|| format!("no id in {object}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(seq: u64, kind: &str, data: Value) -> Value {
        json!({"seq": seq, "type": kind, "directory": "corp", "data": data})
    }

    #[test]
    fn a_fold_follows_a_life_and_refuses_what_does_not_follow() {
        let (ada, crew) = (json!({"id": "a", "name": "Ada"}), json!({"id": "c"}));
        let renamed = json!({"id": "a", "name": "Lady Ada"});
        let life = [
            event(1, "user.created", json!({"user": ada})),
            event(2, "group.created", json!({"group": crew})),
            event(3, "group.user_added", json!({"group": crew, "user": ada})),
            event(4, "user.updated", json!({"user": renamed, "previous": {"name": "Ada"}})),
            event(5, "group.user_removed", json!({"group": crew, "user": renamed})),
            event(6, "user.deleted", json!({"user": renamed})),
        ];
        let fold = Fold::of(&life).unwrap();
        assert!(fold.directories["corp"].users.is_empty());
        assert_eq!(fold.directories["corp"].groups.len(), 1);
        assert!(Fold::of(&life[1..]).unwrap_err().contains("seq 2 follows 0"));
        let mut early = life.to_vec();
        early[4] = event(5, "user.deleted", json!({"user": renamed}));
        assert!(Fold::of(&early).unwrap_err().contains("stands"));
        early[4] = event(5, "user.created", json!({"user": renamed}));
        assert!(Fold::of(&early).unwrap_err().contains("created twice"));
    }
}
