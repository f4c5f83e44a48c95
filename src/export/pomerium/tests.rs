//! Who is told of, what goes into one request, and what the journal tells.

use std::collections::BTreeSet;

use prost::Message;

use super::people::{IdMode, Roster, Scope};
use super::records::{self, Difference, Key, Kind, Outcome, Records, Step};
use super::resume::touched;
use crate::clock::Timestamp;
use crate::index::{DirectoryView, View};
use crate::model::{
    Attributes, Cause, Change, Commit, EventKind, Group, Layer, Progress, Put, User, Value,
};
use crate::provider::{GroupItem, UserItem};
use crate::store::record::{encode_group, encode_user};
use crate::store::{Options, Store};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn user(slot: u32, id: &str, change: impl FnOnce(&mut User)) -> Change {
    let mut user =
        User { id: id.into(), username: format!("name-{id}"), active: true, ..User::default() };
    change(&mut user);
    let record = encode_user(&UserItem { user, ..UserItem::default() });
    Change::User { slot, record, put: Put::Created }
}

fn group(slot: u32, id: &str) -> Change {
    let group = Group { id: id.into(), name: id.into(), ..Group::default() };
    let record = encode_group(&GroupItem { group, ..GroupItem::default() });
    Change::Group { slot, record, put: Put::Created }
}

fn edges(group: u32, layer: Layer, members: &[u32]) -> Change {
    Change::Edges { group, layer, added: true, visible: true, members: members.to_vec() }
}

fn view(directories: &[(&str, &[Change])]) -> View {
    let made = directories
        .iter()
        .map(|(name, changes)| DirectoryView::empty(name, "t", "p").apply(changes, 1).unwrap());
    View::new(made, 100)
}

fn scope(modes: &[(&str, IdMode)]) -> Scope {
    modes.iter().map(|(name, mode)| ((*name).to_owned(), mode.clone())).collect()
}

fn ids(view: &View, scope: &Scope) -> (Vec<String>, u64) {
    let roster = Roster::new(view, scope).unwrap();
    let mut ids = Vec::new();
    for (at, directory) in roster.directories().enumerate() {
        for slot in directory.user_slots() {
            let id = roster.id_of(at, slot).unwrap();
            assert_eq!(roster.person(at, slot).unwrap().map(|person| person.id), id);
            ids.extend(id);
        }
    }
    (ids, roster.left_out())
}

#[test]
fn users_are_called_by_what_the_sessions_have() {
    let badge =
        |value: Value| move |user: &mut User| drop(user.attributes.insert("badge".into(), value));
    let text = |text: &str| Value::Text(text.into());
    let corp = [
        user(0, "u0", badge(text("seven"))),
        user(1, "u1", badge(Value::Integer(8))),
        user(2, "u2", badge(Value::List(vec![text("nine")]))),
        user(3, "u3", badge(Value::List(vec![text("a"), text("b")]))),
        user(4, "u4", |user| user.emails = vec!["u4@x".into(), "other@x".into()]),
        user(5, "u5", |user| user.active = false),
    ];
    let view = view(&[("corp", &corp)]);
    let of = |mode: IdMode| ids(&view, &scope(&[("corp", mode)]));
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(of(IdMode::Id), (owned(&["u0", "u1", "u2", "u3", "u4"]), 0));
    assert_eq!(of(IdMode::Username).0[4], "name-u4");
    assert_eq!(of(IdMode::Email), (owned(&["u4@x"]), 4));
    assert_eq!(of(IdMode::Attribute("badge".into())), (owned(&["seven", "8", "nine"]), 2));
    for wrong in ["", "name", "attribute:", "Id"] {
        assert!(IdMode::parse(wrong).is_err(), "{wrong}");
    }
    for mode in ["id", "username", "email", "attribute:x:y"] {
        assert_eq!(IdMode::parse(mode).unwrap().to_string(), mode);
    }
}

#[test]
fn r22_an_id_of_two_active_users_is_left_out_whoever_they_are() {
    let mail = |address: &'static str| move |user: &mut User| user.emails = vec![address.into()];
    let corp = [user(0, "a", mail("x@x")), user(1, "b", mail("y@x")), user(2, "c", mail("x@x"))];
    let other = [user(0, "x@x", |_| {}), user(1, "d", |_| {})];
    let view = view(&[("corp", &corp), ("other", &other)]);
    let modes = scope(&[("corp", IdMode::Email), ("other", IdMode::Id)]);
    assert_eq!(ids(&view, &modes), (vec!["y@x".to_owned(), "d".to_owned()], 1));
}

fn roster_of(users: u32) -> Roster {
    let changes: Vec<Change> =
        (0..users).map(|slot| user(slot, &format!("u{slot}"), |_| {})).collect();
    Roster::new(&view(&[("corp", &changes)]), &scope(&[("corp", IdMode::Id)])).unwrap()
}

#[test]
fn requests_are_as_large_as_they_may_be_and_no_larger() {
    let roster = roster_of(20_000);
    let mut records = Records::default();
    let found = records.compare(&roster, &BTreeSet::new(), "mark").unwrap();
    assert_eq!((found.steps.len(), found.refused.len()), (20_000, 0));
    let mut steps = found.steps.into_iter().peekable();
    let (mut put, mut sizes) = (0, Vec::new());
    loop {
        let batch = records::next_batch(&mut steps, &roster, "mark", NOW).unwrap();
        if batch.outcome.is_empty() {
            break;
        }
        assert_eq!(batch.outcome.len(), batch.request.records.len());
        put += batch.outcome.len();
        sizes.push(batch.request.encoded_len());
        records.accept(batch.outcome);
    }
    assert_eq!(put, 20_000);
    assert!(sizes.iter().all(|size| *size <= 1 << 20), "{sizes:?}");
    let (_, full) = sizes.split_last().unwrap();
    assert!(!full.is_empty() && full.iter().all(|size| *size > (1 << 20) - 500), "{sizes:?}");
    let Difference { steps, .. } = records.compare(&roster, &BTreeSet::new(), "mark").unwrap();
    assert!(steps.is_empty());
    // Fewer people: what is gone is deleted.
    let Difference { steps, .. } =
        records.compare(&roster_of(19_999), &BTreeSet::new(), "mark").unwrap();
    let [Step::Delete(key)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((key.kind, &*key.id), (Kind::User, "u19999"));
    // Not when its directory is not known to say so.
    let frozen = BTreeSet::from(["corp".to_owned()]);
    let empty = roster_of(0);
    assert!(records.compare(&empty, &frozen, "mark").unwrap().steps.is_empty());
}

#[test]
fn what_the_databroker_tells_counts_more_than_what_was_thought() {
    let roster = roster_of(2);
    let mut records = Records::default();
    records.assume(&roster, "mark").unwrap();
    let none = BTreeSet::new();
    assert!(records.compare(&roster, &none, "mark").unwrap().steps.is_empty());
    let mut told = Records::default();
    let steps = told.compare(&roster, &none, "mark").unwrap().steps;
    let mut steps = steps.into_iter().peekable();
    let batch = records::next_batch(&mut steps, &roster, "mark", NOW).unwrap();
    let ours = batch.request.records.first().unwrap().clone();
    assert!(records.take(&ours, "mark"), "as it was thought");
    let mut theirs = ours.clone();
    theirs.data.as_mut().unwrap().value.clear();
    assert!(!records.take(&theirs, "mark"), "another wrote it");
    assert_eq!(records.compare(&roster, &none, "mark").unwrap().steps.len(), 1);
    assert!(!records.take(&ours, "mark"));
    let mut deleted = ours.clone();
    deleted.deleted_at = Some(super::message::Moment::default());
    assert!(!records.take(&deleted, "mark"));
    assert!(records.take(&deleted, "mark"));
    records.accept(vec![Outcome::Deleted(Key { kind: Kind::User, id: "u1".into() })]);
    assert_eq!(records.compare(&roster, &none, "mark").unwrap().steps.len(), 2);
}

/// A store in which `changes` were committed one commit each, and the view.
fn committed(dir: &std::path::Path, commits: Vec<Vec<Change>>) -> (Store, View) {
    let (store, _) = Store::open(dir, Options::default()).unwrap();
    let mut directory = DirectoryView::empty("corp", "t", "p");
    for changes in commits {
        let commit = Commit {
            directory: "corp".into(),
            tenant: "t".into(),
            product: "p".into(),
            occurred_at: NOW,
            changes,
            cause: Cause::First,
            progress: Progress::default(),
        };
        let first = store.commit(&commit).unwrap().first_seq;
        directory = directory.apply(&commit.changes, first).unwrap();
    }
    let seq = store.last_seq();
    (store, View::new([directory], seq))
}

fn keys(touched: Option<super::resume::Touched>) -> Option<Vec<String>> {
    Some(touched?.into_keys().map(|key| key.id.to_string()).collect())
}

#[test]
fn the_journal_tells_whose_records_may_be_others() {
    let dir = tempfile::tempdir().unwrap();
    let renamed = |change: Change| match change {
        Change::User { slot, record, .. } => Change::User { slot, record, put: Put::Updated },
        other => other,
    };
    let notice = |reason: &str| Change::Notice {
        kind: EventKind::DirectorySynced,
        details: Attributes::from([("reason".to_owned(), reason.into())]),
    };
    let first = vec![
        user(0, "u0", |_| {}),
        user(1, "u1", |_| {}),
        user(2, "u2", |_| {}),
        group(0, "g0"),
        group(1, "g1"),
        edges(1, Layer::Listed, &[1]),
        notice("first"),
    ];
    let (store, view) = committed(
        dir.path(),
        vec![
            first,
            vec![edges(0, Layer::Subgroup, &[1])],
            vec![renamed(user(2, "u2", |user| user.username = "new".into()))],
            vec![notice("rebuilt")],
        ],
    );
    let by_name = scope(&[("corp", IdMode::Username)]);
    let at = |seq: u64, end: u64| {
        let mut view = view.clone();
        view.seq = end;
        keys(touched(&store, &view, &by_name, seq))
    };
    let last = view.seq;
    assert_eq!(at(last - 2, last - 1), Some(vec!["name-u2".into(), "new".into()]), "either name");
    let nested = Some(vec!["name-u1".into(), "name-u2".into(), "new".into()]);
    assert_eq!(at(last - 3, last - 1), nested, "whoever is in the inner group");
    assert_eq!(at(last - 1, last), None, "a rebuild tells of nothing");
    assert_eq!(at(last, last), Some(vec![]));
    let elsewhere = scope(&[("other", IdMode::Id)]);
    assert_eq!(keys(touched(&store, &view, &elsewhere, 0)), Some(vec![]));
}
