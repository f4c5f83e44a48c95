//! Whatever happens, the whole and then any deltas give the same document as a
//! fresh whole, and that is the one which the directory should give.

pub mod patcher;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use self::world::World;
use super::feed::{Change, Feed, Places, State};
use super::patch::{Dialect, Op};
use super::revision::Revision;
use super::scope::{Place, Scope};
use super::{delta_bundle, write_bundle};
use crate::clock::{Duration, Timestamp};
use crate::model::{Caller, EventKind};
use crate::store::{Kept, Options, Retention, Store};
use crate::sync::ledger::Ledger;

const NAMES: [&str; 2] = ["corp", "part/ner~"];

/// Two directories with the same ids in them, and how old they are.
#[derive(Default)]
pub struct Ages(Mutex<BTreeMap<String, Option<Timestamp>>>);

impl Places for Ages {
    fn all(&self) -> Vec<Place> {
        let ages = self.0.lock().unwrap();
        let place = |(name, as_of): (&String, &Option<Timestamp>)| {
            Place::new(name, &format!("t-{name}"), "vpn", *as_of)
        };
        ages.iter().map(place).collect()
    }
}

/// One who holds a document.
struct Client {
    scope: Arc<Scope>,
    dialect: Dialect,
    held: Option<(Revision, Value)>,
}

/// How often clients got what.
#[derive(Debug, Default)]
struct Tally {
    nothing: u32,
    patches: u32,
    wholes: u32,
}

fn clients() -> Vec<Client> {
    let only = |name: &str| Some([name.to_owned()].into());
    let scopes = [
        Scope::default(),
        Scope { directories: only("corp"), ..Scope::default() },
        Scope { tenants: only("t-part/ner~"), ..Scope::default() },
        Scope::default().with_group_prefix(Some("aPP")),
        Scope { directories: only("corp"), ..Scope::default() }.with_group_prefix(Some("οδοσ")),
        Scope::default().with_group_prefix(Some("nobody has it")),
    ];
    let client = |(number, scope)| {
        let dialect = if number % 2 == 0 { Dialect::Bundle } else { Dialect::Rest };
        Client { scope: Arc::new(scope), dialect, held: None }
    };
    scopes.into_iter().chain([Scope::default()]).enumerate().map(client).collect()
}

/// The whole, as a bundle carries it.
pub fn whole(state: &State) -> Value {
    let mut bytes = Vec::new();
    write_bundle(state, &mut bytes).unwrap();
    let mut files = patcher::files(&bytes);
    let manifest = &files[".manifest"];
    assert_eq!(manifest["roots"], json!(["rosterd"]));
    assert_eq!(manifest["revision"], state.revision.to_string());
    assert_eq!(files.len(), 2);
    files.remove("data.json").unwrap()["rosterd"].take()
}

impl Client {
    /// Gets what it lacks, and compares with what there should be.
    fn sync(&mut self, feed: &Feed, expected: impl Fn(&State) -> Value) -> Fetched {
        let state = feed.state(&self.scope).unwrap();
        let fresh = whole(&state);
        assert_eq!(fresh, expected(&state), "the whole itself");
        let change = match &self.held {
            Some((held, _)) => feed.change(*held, &state).unwrap(),
            None => Change::Whole("it has none"),
        };
        let fetched = match (&change, &mut self.held) {
            (Change::Nothing, Some((_, document))) => {
                let mut named = document.clone();
                for of_each_state in ["seq", "revision", "held"] {
                    named[of_each_state] = fresh[of_each_state].clone();
                }
                assert_eq!(named, fresh, "nothing was told, but something changed");
                return Fetched::Nothing;
            }
            (Change::Patch(ops), Some((held, document))) => {
                let patched = applied(ops, &state, self.dialect, document);
                // An OPA that a late patch moved on meanwhile.
                let mut elsewhere = document.clone();
                elsewhere["held"] = fresh["held"].clone();
                let refused = applied(ops, &state, self.dialect, &elsewhere);
                assert!(refused.is_err(), "it is for {held:?} alone: {ops:?}");
                *document = patched.unwrap();
                assert_eq!(*document, fresh, "after {} operations", ops.len());
                Fetched::Patch
            }
            (Change::Whole(why), _) => Fetched::Whole(why),
            (other, None) => panic!("{other:?} for who has nothing"),
        };
        self.held = Some((state.revision, fresh));
        fetched
    }
}

/// A document after a patch, as OPA takes it.
fn applied(ops: &[Op], to: &State, dialect: Dialect, document: &Value) -> Result<Value, String> {
    if dialect == Dialect::Rest {
        let body = |op: &Op| serde_json::to_value(op.body(Dialect::Rest)).unwrap();
        return patcher::patched(document, &ops.iter().map(body).collect::<Vec<_>>());
    }
    let mut files = patcher::files(&delta_bundle(ops, to.revision).unwrap());
    let patch = files.remove("patch.json").unwrap();
    let data = json!({ "rosterd": document });
    Ok(patcher::patched(&data, patch["data"].as_array().unwrap())?["rosterd"].take())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetched {
    Nothing,
    Patch,
    Whole(&'static str),
}

pub struct Setting {
    pub ledger: Ledger,
    pub feed: Feed,
    ages: Arc<Ages>,
}

fn open(folder: &Path, ages: Arc<Ages>) -> Setting {
    let ledger = Ledger::open(Store::open(folder, Options::default()).unwrap().0).unwrap();
    let feed =
        Feed::new(ledger.view().clone(), Arc::new(ledger.store().clone()), Arc::clone(&ages) as _);
    Setting { ledger, feed, ages }
}

fn expected(worlds: &BTreeMap<String, World>, state: &State) -> Value {
    let mut directories = serde_json::Map::new();
    for place in &state.places {
        let mut body = worlds[&place.name].document(state.scope.group_prefix.as_deref());
        body.insert("tenant".into(), json!(place.tenant));
        body.insert("product".into(), json!(place.product));
        directories.insert(place.name.clone(), body.into());
    }
    let revision = state.revision;
    let ages: serde_json::Map<String, Value> = state
        .places
        .iter()
        .map(|p| (p.name.clone(), json!(p.as_of.map(|at| at.to_string()))))
        .collect();
    json!({
        "revision": revision.to_string(),
        "held": { revision.to_string(): true },
        "seq": revision.seq,
        "as_of": ages,
        "directories": directories,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_whole_and_then_deltas_are_a_fresh_whole_whatever_happens() {
    let mut tally = Tally::default();
    for seed in 0..3 {
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let ages = Arc::new(Ages::default());
        ages.0.lock().unwrap().extend(NAMES.map(|name| (name.to_owned(), None)));
        let mut setting = open(folder.path(), Arc::clone(&ages));
        let mut worlds: BTreeMap<String, World> =
            NAMES.map(|name| (name.to_owned(), World::default())).into();
        let mut clients = clients();
        // Since each client was last here: whether a whole would be no surprise.
        let mut excused = vec![true; clients.len()];
        for _ in 0..60 {
            let name = *random.choice(&NAMES).unwrap();
            let commit = worlds.get_mut(name).unwrap().step(&mut random, name);
            let dropped = commit.changes.first() == Some(&crate::model::Change::Cleared);
            if !commit.changes.is_empty() {
                setting.ledger.commit(commit, 0).await.unwrap();
            }
            match random.u8(0..12) {
                0 => {
                    let Setting { ledger, feed, .. } = setting;
                    drop((ledger, feed));
                    setting = open(folder.path(), Arc::clone(&ages));
                }
                1 => {
                    let kept = Kept { age: Duration::MAX, events_max: random.u64(1..40) };
                    let retention = Retention { journal: kept, history: kept };
                    let store = setting.ledger.store();
                    while store.prune(Timestamp(1), &retention).unwrap().more {}
                    excused.fill(true);
                }
                2 | 3 => {
                    let at = Timestamp(random.u64(0..200_000));
                    setting.ages.0.lock().unwrap().insert(name.to_owned(), Some(at));
                }
                _ => {}
            }
            if dropped {
                excused.fill(true);
            }
            for (client, excused) in clients.iter_mut().zip(&mut excused) {
                if random.u8(0..3) == 0 {
                    continue;
                }
                let fetched = client.sync(&setting.feed, |state| expected(&worlds, state));
                match fetched {
                    Fetched::Nothing => tally.nothing += 1,
                    Fetched::Patch => tally.patches += 1,
                    Fetched::Whole(why) => {
                        assert!(*excused, "seed {seed}: {why}");
                        tally.wholes += 1;
                    }
                }
                // Who was told nothing still holds the old state.
                if fetched != Fetched::Nothing {
                    *excused = false;
                }
            }
        }
    }
    assert!(tally.patches > 300 && tally.nothing > 30 && tally.wholes > 15, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_membership_is_one_operation_and_a_few_bytes() {
    let (setting, _folder) = crowd(2_000).await;
    let scope = Arc::new(Scope::default());
    let before = setting.feed.state(&scope).unwrap();
    commit(&setting.ledger, vec![leaves(7)]).await;
    let after = setting.feed.state(&scope).unwrap();
    let Change::Patch(ops) = setting.feed.change(before.revision, &after).unwrap() else {
        panic!("a patch")
    };
    let told: Vec<String> =
        ops.iter().map(|op| serde_json::to_string(&op.body(Dialect::Bundle)).unwrap()).collect();
    assert_eq!(told.len(), 5, "{told:?}");
    let guard = format!(r#"{{"op":"remove","path":"/rosterd/held/{}"}}"#, before.revision);
    assert_eq!(told[0], guard, "first, so that nothing else is tried in vain");
    assert_eq!(told[1], r#"{"op":"remove","path":"/rosterd/directories/corp/users/u7/groups/g0"}"#);
    assert!(told[2].contains(&format!("/rosterd/held/{}", after.revision)));
    assert!(told[3].contains("/rosterd/seq") && told[4].contains("/rosterd/revision"));
    let bytes = delta_bundle(&ops, after.revision).unwrap().len();
    let mut all = Vec::new();
    write_bundle(&after, &mut all).unwrap();
    assert!(bytes < 1_200 && all.len() > 20 * bytes, "{bytes} of {}", all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_patch_is_no_longer_than_opa_takes_well() {
    let (setting, _folder) = crowd(2_600).await;
    setting.ages.0.lock().unwrap().insert("twin".into(), None);
    commit_to(&setting.ledger, "twin", crowd_of(2_600)).await;
    let scope = Arc::new(Scope::default());
    let before = setting.feed.state(&scope).unwrap();
    commit(&setting.ledger, (0..2_600).map(leaves).collect()).await;
    commit_to(&setting.ledger, "twin", (0..2_300).map(leaves).collect()).await;
    let after = setting.feed.state(&scope).unwrap();
    let change = setting.feed.change(before.revision, &after).unwrap();
    assert!(matches!(&change, Change::Patch(ops) if ops.len() > 4_900), "not yet too many");
    commit_to(&setting.ledger, "twin", (2_300..2_600).map(leaves).collect()).await;
    let after = setting.feed.state(&scope).unwrap();
    let change = setting.feed.change(before.revision, &after).unwrap();
    assert!(matches!(change, Change::Whole(_)), "too many in both together");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_journal_with_the_same_seqs_is_not_trusted() {
    let (setting, _folder) = crowd(3).await;
    let scope = Arc::new(Scope::default());
    let state = setting.feed.state(&scope).unwrap();
    let Revision { seq, committed, .. } = state.revision;
    let whole =
        |from: Revision| matches!(setting.feed.change(from, &state).unwrap(), Change::Whole(_));
    assert!(!whole(Revision { ages: 1, ..state.revision }));
    assert!(whole(Revision { committed: Timestamp(committed.0 + 1), ..state.revision }));
    assert!(whole(Revision { seq: seq + 1, ..state.revision }));
    assert!(whole(Revision { shape: 1, ..state.revision }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_directory_that_is_dropped_leaves_and_one_that_comes_is_there() {
    let (setting, _folder) = crowd(3).await;
    let scope = Arc::new(Scope::default());
    let before = setting.feed.state(&scope).unwrap();
    setting.ledger.remove("corp", Caller::daemon()).await.unwrap();
    setting.ages.0.lock().unwrap().clear();
    setting.ages.0.lock().unwrap().insert("new".into(), None);
    let after = setting.feed.state(&scope).unwrap();
    assert!(matches!(setting.feed.change(before.revision, &after).unwrap(), Change::Whole(_)));
    let document = whole(&after);
    assert_eq!(document["directories"].as_object().unwrap().len(), 1);
    assert_eq!(document["as_of"]["new"], Value::Null);
    assert_eq!(document["directories"]["new"]["users"], json!({}));
}

/// `corp` with so many users, all in the group `g0`.
pub async fn crowd(users: u32) -> (Setting, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let ages = Arc::new(Ages::default());
    ages.0.lock().unwrap().insert("corp".into(), Some(Timestamp(61_000)));
    let setting = open(folder.path(), ages);
    commit(&setting.ledger, crowd_of(users)).await;
    (setting, folder)
}

fn crowd_of(users: u32) -> Vec<crate::model::Change> {
    use crate::model::{Change, Group, Layer, Put, User};
    use crate::provider::{GroupItem, UserItem};
    let user = |slot: u32| {
        let id = format!("u{slot}");
        let user = User { username: format!("{id}@example.org"), id, ..User::default() };
        let record = crate::store::record::encode_user(&UserItem { user, ..UserItem::default() });
        Change::User { slot, record, put: Put::Created }
    };
    let group = Group { id: "g0".into(), name: "all".into(), ..Group::default() };
    let record = crate::store::record::encode_group(&GroupItem { group, ..GroupItem::default() });
    let mut changes: Vec<Change> = (0..users).map(user).collect();
    changes.push(Change::Group { slot: 0, record, put: Put::Created });
    changes.push(Change::Edges {
        group: 0,
        layer: Layer::Listed,
        added: true,
        visible: true,
        members: (0..users).collect(),
    });
    changes
}

/// The user at that slot is no longer in `g0`.
pub fn leaves(user: u32) -> crate::model::Change {
    edge(user, false)
}

/// The user at that slot is in `g0` again.
pub fn joins(user: u32) -> crate::model::Change {
    edge(user, true)
}

fn edge(user: u32, added: bool) -> crate::model::Change {
    let (layer, members) = (crate::model::Layer::Listed, vec![user]);
    crate::model::Change::Edges { group: 0, layer, added, visible: true, members }
}

pub async fn commit(ledger: &Ledger, changes: Vec<crate::model::Change>) {
    commit_to(ledger, "corp", changes).await;
}

async fn commit_to(ledger: &Ledger, directory: &str, changes: Vec<crate::model::Change>) {
    let commit = crate::model::Commit {
        directory: directory.into(),
        tenant: "acme".into(),
        product: "vpn".into(),
        occurred_at: Timestamp(1_000),
        changes,
        cause: crate::model::Cause::First,
        progress: crate::model::Progress::default(),
    };
    ledger.commit(commit, 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_is_far_behind_is_moved_on_though_nothing_changed() {
    let (setting, _folder) = crowd(3).await;
    let scope = Arc::new(Scope::default());
    let before = setting.feed.state(&scope).unwrap();
    let notices = |count| (0..count).map(|_| world::notice(EventKind::DirectorySynced)).collect();
    commit(&setting.ledger, notices(200)).await;
    let near = setting.feed.state(&scope).unwrap();
    let change = setting.feed.change(before.revision, &near).unwrap();
    assert!(matches!(change, Change::Nothing), "{change:?}");
    commit(&setting.ledger, notices(1)).await;
    let far = setting.feed.state(&scope).unwrap();
    let Change::Patch(ops) = setting.feed.change(before.revision, &far).unwrap() else {
        panic!("a patch")
    };
    assert_eq!(ops.len(), 4, "its name alone: {ops:?}");
}
