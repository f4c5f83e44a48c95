//! Measures the view: build, memory, look-ups and changes, beside the plainest
//! structures that could answer the same question.
//!
//! `cargo bench --bench lookup -- [USERS [GROUPS [MEMBERSHIPS]]]`; the sizes of
//! the bars are 1000000 100000 10000000.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rosterd::index::{Builder, DirectoryView};
use rosterd::model::{Change, Group, Layer, Put, User};
use rosterd::provider::{GroupItem, UserItem};
use rosterd::store::Rows;
use rosterd::store::record::{encode_group, encode_user};

const CHECKS: usize = 100_000;
const CHUNK: usize = 500;
const ROUNDS: usize = 7;
/// Every eighth group starts a chain of nested groups as deep as this.
const DEPTH: u32 = 8;

fn main() {
    let world = World::from_arguments();
    println!("{} users, {} groups, about {} memberships", world.users, world.groups, world.wanted);
    let generated = time(|| world.rows(|_| {}));
    let before = resident_kib();
    let mut builder = Builder::new("corp", "acme", "vpn");
    let loading = time(|| world.rows(|row| row.give(&mut builder)));
    let (finishing, view) = timed(|| builder.finish().expect("the rows are consistent"));
    let loading = loading.saturating_sub(generated);
    println!(
        "build            {:>10.2?}  ({loading:.2?} rows, {finishing:.2?} finish)",
        loading + finishing
    );
    println!("memory           {:>10} MB resident for the view", (resident_kib() - before) / 1000);
    println!("memberships      {:>10}", view.membership_count());
    lookups(&world, &view);
    changes(&world, &view);
    floors(&world, &view);
}

/// A made-up directory: skewed group sizes, one group with everyone, chains of
/// nested groups. The same arguments give the same directory.
struct World {
    users: u32,
    groups: u32,
    wanted: u64,
}

enum Row {
    User(u32, Vec<u8>),
    Group(u32, Vec<u8>),
    Edges(u32, Layer, Vec<u32>),
}

impl Row {
    fn give(self, builder: &mut Builder) {
        match self {
            Row::User(slot, record) => builder.user(slot, 1, record),
            Row::Group(slot, record) => builder.group(slot, 1, record),
            Row::Edges(group, layer, members) => builder.edges(group, layer, &members),
        }
    }
}

impl World {
    fn from_arguments() -> World {
        let mut sizes = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
        let users = sizes.next().unwrap_or(100_000);
        let groups = sizes.next().unwrap_or(users / 10);
        let wanted = sizes.next().map_or(u64::from(users) * 10, u64::from);
        World { users, groups, wanted }
    }

    fn rows(&self, mut take: impl FnMut(Row)) {
        for slot in 0..self.users {
            take(Row::User(slot, user_record(slot, 0)));
        }
        for slot in 0..self.groups {
            take(Row::Group(slot, group_record(slot)));
            take(Row::Edges(slot, Layer::Listed, self.members(slot)));
            if self.nests(slot) {
                take(Row::Edges(slot, Layer::Subgroup, vec![slot + 1]));
            }
        }
    }

    /// Whether the next group is in this one.
    fn nests(&self, group: u32) -> bool {
        group % DEPTH != DEPTH - 1 && group + 1 < self.groups && group != 0
    }

    /// Group 0 has everyone; the others share the rest, a tenth of them half of it.
    fn members(&self, group: u32) -> Vec<u32> {
        if group == 0 {
            return (0..self.users).collect();
        }
        let mean = (self.wanted - u64::from(self.users)) as f64 / f64::from(self.groups);
        let mut rng = Rng::with_seed(u64::from(group));
        let scale = if rng.u32(..10) == 0 { 5.0 } else { 0.56 };
        let size = (mean * scale * (0.1 + 1.8 * rng.f64())) as usize;
        let mut members: Vec<u32> = (0..size).map(|_| rng.u32(..self.users)).collect();
        members.sort_unstable();
        members.dedup();
        members
    }
}

fn user_record(slot: u32, edition: u32) -> Vec<u8> {
    let name = format!("given{}.family{slot}", slot % 977);
    encode_user(&UserItem {
        user: User {
            id: id(u64::from(slot)),
            username: name.clone(),
            emails: vec![format!("{name}@example.org")],
            display_name: Some(format!("Given{} Family{slot}", slot % 977)),
            given_name: Some(format!("Given{}", slot % 977)),
            family_name: Some(format!("Family{slot}")),
            active: true,
            title: Some(format!("Engineer {edition}")),
            department: Some(format!("Department {}", slot % 200)),
            ..User::default()
        },
        aliases: vec![
            format!("cn={name},ou=department {},ou=people,dc=example,dc=org", slot % 200),
            format!("uid:{name}"),
        ],
        groups: vec![],
    })
}

fn group_record(slot: u32) -> Vec<u8> {
    encode_group(&GroupItem {
        group: Group {
            id: id(u64::from(slot) | 1 << 40),
            name: format!("Group {slot} of the generated directory"),
            ..Group::default()
        },
        aliases: vec![format!("cn=group {slot},ou=groups,dc=example,dc=org")],
    })
}

/// Looks like a UUID.
fn id(number: u64) -> String {
    let mut rng = Rng::with_seed(number);
    let (a, b) = (rng.u64(..), rng.u64(..));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}

/// Pairs of slots, and the same by id.
struct Questions {
    slots: Vec<(u32, u32)>,
    ids: Vec<(String, String)>,
}

impl Questions {
    fn new(slots: impl Iterator<Item = (u32, u32)>) -> Questions {
        let slots: Vec<_> = slots.take(CHECKS).collect();
        let by_id =
            |(user, group): &(u32, u32)| (id(u64::from(*user)), id(u64::from(*group) | 1 << 40));
        Questions { ids: slots.iter().map(by_id).collect(), slots }
    }

    fn yes(world: &World, view: &DirectoryView) -> Questions {
        let mut rng = Rng::with_seed(1);
        Questions::new(std::iter::from_fn(|| {
            let user = rng.u32(..world.users);
            rng.choice(view.groups_of_user(user)).map(|group| (user, *group))
        }))
    }

    fn any(world: &World) -> Questions {
        let mut rng = Rng::with_seed(2);
        Questions::new(std::iter::from_fn(|| {
            Some((rng.u32(..world.users), rng.u32(1..world.groups)))
        }))
    }

    /// Members of the innermost group of a chain, asked for the outermost.
    fn deep(world: &World, view: &DirectoryView) -> Questions {
        let mut rng = Rng::with_seed(3);
        Questions::new(std::iter::from_fn(|| {
            loop {
                let outer = rng.u32(1..world.groups / DEPTH) * DEPTH;
                if let Some(user) = rng.choice(view.direct_users(outer + DEPTH - 1).iter()) {
                    return Some((*user, outer));
                }
            }
        }))
    }
}

fn lookups(world: &World, view: &DirectoryView) {
    for (what, questions) in [
        ("yes, direct", Questions::yes(world, view)),
        ("any pair", Questions::any(world)),
        ("yes, 8 deep", Questions::deep(world, view)),
    ] {
        let by_id = each(&questions.ids, |(user, group)| {
            let (user, group) = (view.user_by_id(user), view.group_by_id(group));
            user.zip(group).is_some_and(|(user, group)| view.is_member(user, group))
        });
        let by_slot = each(&questions.slots, |(user, group)| view.is_member(*user, *group));
        println!("check {what:<12} {by_id:>8.0} ns by ids, {by_slot:.0} ns by slots");
    }
    let users: Vec<u32> = Questions::any(world).slots.into_iter().map(|(user, _)| user).collect();
    let ids: Vec<String> = users.iter().map(|user| id(u64::from(*user))).collect();
    let names: Vec<String> =
        users.iter().map(|slot| format!("Given{}.Family{slot}", slot % 977)).collect();
    let emails: Vec<String> = names.iter().map(|name| format!("{name}@example.org")).collect();
    println!("user by id       {:>10.0} ns", each(&ids, |id| view.user_by_id(id).is_some()));
    println!(
        "user by username {:>10.0} ns",
        each(&names, |n| view.users_by_username(n).count() == 1)
    );
    println!(
        "user by email    {:>10.0} ns",
        each(&emails, |e| view.users_by_email(e).count() == 1)
    );
}

fn changes(world: &World, view: &DirectoryView) {
    let small = random_changes(world, view, 10);
    applied("10 changes", view, &small);
    let one_percent = random_changes(world, view, view.membership_count() / 100);
    applied("1 % changed", view, &one_percent);
    let slot = view.next_user_slot();
    let newcomer = [
        Change::User { slot, record: user_record(slot, 0), put: Put::Created },
        edges(0, true, vec![slot]),
    ];
    applied("everyone + 1", view, &newcomer);
    let all = everything(world);
    let (took, whole) = timed(|| DirectoryView::empty("corp", "a", "p").apply(&all, 1));
    println!("apply {:<12} {took:>8.2?}", "first import");
    assert_eq!(whole.map(|whole| whole.membership_count()).ok(), Some(view.membership_count()));
}

fn applied(what: &str, view: &DirectoryView, changes: &[Change]) {
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|_| timed(|| view.apply(changes, 1).expect("the changes are consistent")).0)
        .collect();
    took.sort_unstable();
    println!(
        "apply {what:<12} {:>10.2?}  (dropping the old version not counted)",
        took[ROUNDS / 2]
    );
}

/// Memberships that come or go, one in ten a changed user instead.
fn random_changes(world: &World, view: &DirectoryView, count: usize) -> Vec<Change> {
    let mut rng = Rng::with_seed(4);
    let mut users = HashSet::new();
    let mut pairs = HashSet::new();
    for _ in 0..count {
        let user = rng.u32(..world.users);
        if rng.u32(..10) == 0 {
            users.insert(user);
        } else {
            pairs.insert((rng.u32(1..world.groups), user));
        }
    }
    let mut by_group: HashMap<(u32, bool), Vec<u32>> = HashMap::new();
    for (group, user) in pairs {
        let is = view.edges(group, Layer::Listed).binary_search(&user).is_ok();
        by_group.entry((group, !is)).or_default().push(user);
    }
    let edited = users.into_iter().map(|slot| {
        let record = user_record(slot, 1);
        Change::User { slot, record, put: Put::Updated }
    });
    let edges = by_group.into_iter().map(|((group, added), mut members)| {
        members.sort_unstable();
        edges(group, added, members)
    });
    edited.chain(edges).collect()
}

fn edges(group: u32, added: bool, members: Vec<u32>) -> Change {
    Change::Edges { group, layer: Layer::Listed, added, visible: true, members }
}

fn everything(world: &World) -> Vec<Change> {
    let mut changes = Vec::new();
    world.rows(|row| {
        changes.push(match row {
            Row::User(slot, record) => Change::User { slot, record, put: Put::Created },
            Row::Group(slot, record) => Change::Group { slot, record, put: Put::Created },
            Row::Edges(group, layer, members) => {
                Change::Edges { group, layer, added: true, visible: true, members }
            }
        });
    });
    changes
}

/// The same questions to a hash set of pairs behind hash maps of ids: what one
/// would write in five lines, without nesting, names or versions.
fn floors(world: &World, view: &DirectoryView) {
    let pairs: hashbrown::HashSet<(u32, u32), foldhash::fast::RandomState> = view
        .user_slots()
        .flat_map(|user| view.groups_of_user(user).iter().map(move |group| (user, *group)))
        .collect();
    let ids =
        |end: u32, kind: u64| -> hashbrown::HashMap<String, u32, foldhash::fast::RandomState> {
            (0..end).map(|slot| (id(u64::from(slot) | kind), slot)).collect()
        };
    let (users, groups) = (ids(world.users, 0), ids(world.groups, 1 << 40));
    for (what, questions) in
        [("yes, direct", Questions::yes(world, view)), ("any pair", Questions::any(world))]
    {
        let by_id = each(&questions.ids, |(user, group)| {
            let ids = users.get(user).zip(groups.get(group));
            ids.is_some_and(|(user, group)| pairs.contains(&(*user, *group)))
        });
        let by_slot = each(&questions.slots, |pair| pairs.contains(pair));
        println!("floor {what:<12} {by_id:>8.0} ns by ids, {by_slot:.0} ns by slots (hash maps)");
    }
}

/// Nanoseconds for one question. Other work on the machine only ever adds, so
/// the best of several rounds counts, for each chunk that is short enough to
/// run undisturbed; between two rounds come all the other chunks.
fn each<T: Clone>(questions: &[T], ask: impl Fn(&T) -> bool) -> f64 {
    let mut best = vec![Duration::MAX; questions.len().div_ceil(CHUNK)];
    for _ in 0..ROUNDS {
        for (chunk, best) in questions.chunks(CHUNK).zip(&mut best) {
            // Whoever asks has just read the question.
            let chunk = chunk.to_vec();
            let took = time(|| chunk.iter().for_each(|question| _ = black_box(ask(question))));
            *best = took.min(*best);
        }
    }
    best.iter().sum::<Duration>().as_nanos() as f64 / questions.len() as f64
}

fn time(work: impl FnOnce()) -> Duration {
    timed(work).0
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
