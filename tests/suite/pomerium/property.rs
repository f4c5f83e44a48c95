//! After any sequence of changes, errors, lost leases and restarts of either,
//! the databroker has exactly what the directory has.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::databroker::Code;
use super::*;

#[derive(Clone, Debug)]
enum Op {
    User(usize, bool),
    NoUser(usize),
    Group(usize, u8),
    Nest(usize, usize),
    Join(usize, usize),
    Leave(usize, usize),
    /// Polls; what was changed before is committed.
    Sync,
    Fail(&'static str, bool),
    StealLease,
    LoseMemory,
    /// The databroker is away until the next `Back`.
    Away,
    Back,
    Kill,
    Stop,
    /// Another program overwrites one of ours.
    Meddle(usize),
}

#[derive(Clone, Debug, Default)]
struct World {
    users: BTreeMap<usize, bool>,
    groups: BTreeMap<usize, u8>,
    joined: BTreeSet<(usize, usize)>,
    nested: BTreeSet<(usize, usize)>,
}

const USERS: usize = 4;
const GROUPS: usize = 4;

fn op() -> impl Strategy<Value = Op> {
    let (user, group) = (0..USERS, 0..GROUPS);
    prop_oneof![
        3 => (user.clone(), any::<bool>()).prop_map(|(user, active)| Op::User(user, active)),
        1 => user.clone().prop_map(Op::NoUser),
        2 => (group.clone(), 0..3_u8).prop_map(|(group, name)| Op::Group(group, name)),
        2 => (group.clone(), group.clone()).prop_map(|(outer, inner)| Op::Nest(outer, inner)),
        3 => (group.clone(), user.clone()).prop_map(|(group, user)| Op::Join(group, user)),
        2 => (group, user.clone()).prop_map(|(group, user)| Op::Leave(group, user)),
        5 => Just(Op::Sync),
        1 => (prop_oneof![Just("Put"), Just("Sync"), Just("RenewLease"), Just("SyncLatest")],
              any::<bool>()).prop_map(|(call, done)| Op::Fail(call, done)),
        1 => Just(Op::StealLease),
        1 => Just(Op::LoseMemory),
        1 => Just(Op::Away),
        1 => Just(Op::Back),
        1 => Just(Op::Kill),
        1 => Just(Op::Stop),
        1 => user.prop_map(Op::Meddle),
    ]
}

impl World {
    fn apply(&mut self, op: &Op) {
        match *op {
            Op::User(user, active) => drop(self.users.insert(user, active)),
            Op::NoUser(user) => drop(self.users.remove(&user)),
            Op::Group(group, 0) => drop(self.groups.remove(&group)),
            Op::Group(group, name) => drop(self.groups.insert(group, name)),
            // Circles too.
            Op::Nest(outer, inner) => {
                let was_there = self.nested.remove(&(outer, inner));
                self.nested.extend((!was_there).then_some((outer, inner)));
            }
            Op::Join(group, user) => drop(self.joined.insert((group, user))),
            Op::Leave(group, user) => drop(self.joined.remove(&(group, user))),
            _ => {}
        }
    }

    fn content(&self) -> Value {
        let user = |(id, active): (&usize, &bool)| json!({ "id": format!("u{id}"), "username": format!("name{id}"), "active": active });
        let group = |(id, name): (&usize, &u8)| {
            let users = self.joined.iter().filter(|(g, u)| g == id && self.users.contains_key(u));
            let groups = self.nested.iter().filter(|(outer, inner)| {
                outer == id && inner != id && self.groups.contains_key(inner)
            });
            let members: Vec<String> = users
                .map(|(_, user)| format!("u{user}"))
                .chain(groups.map(|(_, inner)| format!("g{inner}")))
                .collect();
            json!({ "id": format!("g{id}"), "name": format!("{name}"), "members": members })
        };
        let users: Vec<Value> = self.users.iter().map(user).collect();
        let groups: Vec<Value> = self.groups.iter().map(group).collect();
        json!({ "users": users, "groups": groups })
    }
}

#[test]
fn the_databroker_ends_with_what_the_directory_has() {
    let config = Config {
        cases: 8,
        failure_persistence: None,
        // Each attempt takes seconds.
        max_shrink_iters: 20,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let ops = proptest::collection::vec(op(), 5..25);
    runner
        .run(&ops, |ops| {
            run(&ops);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

fn run(ops: &[Op]) {
    let mut stub = Stub::start(1);
    let mut world = World::default();
    let mut daemon = prepare(&stub, 0, "", &world.content());
    daemon.resume();
    daemon.wait_ready();
    let mut is_away = false;
    for op in ops {
        world.apply(op);
        match op {
            Op::Sync => {
                replace(&daemon, "corp", &world.content());
                daemon.sync("corp");
            }
            Op::Fail(call, done) => stub.data().fail(call, Code::Unavailable, *done),
            Op::StealLease => stub.data().give_lease_away(Duration::from_secs(1)),
            Op::LoseMemory if is_away => stub.data().lose_everything(),
            Op::LoseMemory => stub.restart(),
            Op::Away if !is_away => {
                stub.stop();
                is_away = true;
            }
            Op::Back if is_away => {
                stub.resume();
                is_away = false;
            }
            Op::Kill => {
                daemon.kill9();
                daemon.resume();
            }
            Op::Stop => {
                daemon.stop(PATIENCE);
                daemon.resume();
            }
            Op::Meddle(user) => {
                let id = format!("u{user}");
                if world.users.get(user) == Some(&true) {
                    let fields = [("id", id.as_str()), ("written_by", "rosterd")];
                    stub.data().plant(USER, &id, &fields);
                }
            }
            _ => {}
        }
    }
    if is_away {
        stub.resume();
    }
    replace(&daemon, "corp", &world.content());
    daemon.sync("corp");
    wait_for(&stub, &daemon, &expected(&daemon));
}
