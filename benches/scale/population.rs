//! Realistic directories of any size, and what changes in them.
//!
//! Nothing is stored: each object is computed from its number, the seed and the
//! [`Moment`], so a million users cost no memory and the same seed gives the same
//! directory. A *seat* is a place in the directory; who leaves is followed on the
//! same seat by a joiner with another id.

use rosterd::model::{Group, Reference, User, Value};
use rosterd::provider::{GroupItem, Item, UserItem};

/// One tick of a rate changes one in so many objects.
pub const PERIODS: [u64; 3] = [10_000, 100, 10];
/// How deep groups are nested.
pub const DEPTH: u32 = 8;
/// Groups of one nested family: a chain of [`DEPTH`], and one beside each but the last.
const FAMILY: u32 = 16;
/// Groups beyond this size are never dissolved.
const LASTING: u32 = 1_000;
/// Objects of one page.
const PAGE: u32 = 500;
/// Members of one page, about.
const PAGE_MEMBERS: u32 = 5_000;

/// A directory by its measures.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    pub users: u32,
    pub groups: u32,
    seed: u64,
    /// The size of the group of rank 1, if it were not limited.
    largest: f64,
    /// From the rank of a group to that of the next: coprime to their count.
    step: u64,
}

/// How much has happened: ticks of each of [`PERIODS`], and joiners on new seats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    pub ticks: [u32; 3],
    pub newcomers: u32,
}

/// What a number is drawn for.
#[derive(Clone, Copy)]
enum Die {
    Change = 1,
    Person,
    Name,
    Group,
    Position,
    Seat,
}

/// Who sits on a seat, and how they look.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Person {
    edition: u64,
    tenure: u64,
    names: u64,
}

impl Moment {
    /// One tick later at the rate number `rate`.
    #[must_use]
    pub fn after(mut self, rate: usize) -> Moment {
        self.ticks[rate] += 1;
        self
    }

    pub fn to_bytes(self) -> Vec<u8> {
        let [a, b, c] = self.ticks;
        [a, b, c, self.newcomers].iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Moment> {
        let numbers: Vec<u32> = bytes
            .chunks_exact(4)
            .filter_map(|four| four.try_into().ok().map(u32::from_le_bytes))
            .collect();
        let [a, b, c, newcomers] = *numbers.as_slice() else { return None };
        Some(Moment { ticks: [a, b, c], newcomers })
    }
}

impl Population {
    /// `memberships` are met to within a few percent. Group sizes go with
    /// 1 / rank (Zipf), so half of the groups are small.
    pub fn new(users: u32, groups: u32, memberships: u64, seed: u64) -> Population {
        let count = u64::from(groups.saturating_sub(1)).max(1);
        let step = (1_000_003..).find(|step| gcd(*step, count) == 1).unwrap_or(1);
        let mut population = Population { users, groups, seed, largest: 0.0, step };
        // A twentieth of the positions is vacant.
        let wanted = (memberships.saturating_sub(u64::from(users)) as f64) / 0.95;
        let (mut low, mut high) = (0.0, f64::from(users) * 64.0);
        for _ in 0..60 {
            population.largest = (low + high) / 2.0;
            let sum: f64 = (1..groups).map(|rank| f64::from(population.size_of_rank(rank))).sum();
            if sum < wanted { low = population.largest } else { high = population.largest }
        }
        population
    }

    /// Ten groups' worth of users for each group, ten memberships for each user.
    pub fn of(users: u32) -> Population {
        Population::new(users, users / 10, u64::from(users) * 10, 1)
    }

    /// Who sits on a seat, as a provider hands it over.
    pub fn user(&self, seat: u32, at: Moment) -> UserItem {
        let person = self.person(seat, at);
        let draw = self.draw(Die::Name, u64::from(seat), person.names);
        let given = GIVEN[draw as usize % GIVEN.len()];
        let family = FAMILY_NAMES[(draw >> 8) as usize % FAMILY_NAMES.len()];
        let mut username = format!("{given}.{family}{seat}").to_lowercase();
        if person.names > 0 {
            username += &format!("-{}", person.names);
        }
        let department = format!("Department {}", (draw >> 16) % 400);
        let mut display = format!("{given} {family}");
        if seat.is_multiple_of(97) {
            display =
                format!("Prof. Dr. Dr. h. c. {given} Ünïcødé {family}-{} ", family.repeat(20));
        }
        let office = OFFICES[(draw >> 24) as usize % OFFICES.len()];
        let attributes = [
            ("employeeNumber".to_owned(), Value::Text(format!("E{seat:08}"))),
            ("physicalDeliveryOfficeName".to_owned(), Value::Text(office.to_owned())),
        ];
        UserItem {
            user: User {
                id: self.user_id(seat, person.tenure),
                emails: vec![format!("{username}@corp.example.org")],
                username,
                display_name: Some(display),
                given_name: Some(given.to_owned()),
                family_name: Some(family.to_owned()),
                active: !(draw >> 32).is_multiple_of(50),
                title: Some(format!("Engineer, grade {}", person.edition)),
                department: Some(department),
                manager: Some(self.user_id(seat / 12, 0)),
                attributes: attributes.into_iter().collect(),
                ..User::default()
            },
            aliases: vec![self.dn(seat, at)],
            groups: Vec::new(),
        }
    }

    /// A group, as a provider hands it over.
    pub fn group(&self, group: u32, at: Moment) -> GroupItem {
        let (edition, tenure) = self.group_state(group, at);
        let draw = self.draw(Die::Name, u64::from(group) | 1 << 40, tenure);
        let office = OFFICES[draw as usize % OFFICES.len()];
        let mut name = match group {
            0 => "Everyone".to_owned(),
            _ => format!("APP {office} Department {} Read Only {group}-{tenure}", draw % 400),
        };
        if group % 97 == 96 {
            name += &" of the Subsidiary for Exceedingly Long Names".repeat(4);
        }
        let dn = format!("cn={},ou=groups,dc=corp,dc=example,dc=org", name.to_lowercase());
        GroupItem {
            group: Group {
                id: self.group_id(group, at),
                name,
                description: Some(format!("Access to system {}, review {edition}", draw % 9_000)),
                attributes: [("owner".to_owned(), Value::Text(self.user_id(group, 0)))].into(),
                ..Group::default()
            },
            aliases: vec![dn],
        }
    }

    /// The id of who sits on a seat.
    pub fn id_on(&self, seat: u32, at: Moment) -> String {
        self.user_id(seat, self.person(seat, at).tenure)
    }

    pub fn group_id(&self, group: u32, at: Moment) -> String {
        let (_, tenure) = self.group_state(group, at);
        guid(
            self.draw(Die::Group, u64::from(group), tenure),
            u64::from(group) | tenure << 32 | 1 << 46,
        )
    }

    /// The seats of the direct members of a group, sorted.
    pub fn members(&self, group: u32, at: Moment) -> impl Iterator<Item = u32> + '_ {
        let size = self.size(group);
        let seats = (0..size).filter_map(move |position| self.seat(group, size, position, at));
        let newcomers = if group == 0 { at.newcomers } else { 0 };
        seats.chain(self.users..self.users + newcomers)
    }

    /// The group directly in `group`, when there is one.
    pub fn children(&self, group: u32) -> impl Iterator<Item = u32> + '_ {
        let place = group % FAMILY;
        // Every fourth family is nested.
        let nests = (group / FAMILY) % 4 == 1 && place < DEPTH - 1;
        let inner = [group + 1, group + DEPTH].into_iter();
        inner.filter(move |child| nests && *child < self.groups)
    }

    /// A full crawl, page by page.
    pub fn pages(&self, at: Moment) -> impl Iterator<Item = Vec<Item>> + '_ {
        let seats = self.users + at.newcomers;
        let users = (0..seats).step_by(PAGE as usize).map(move |from| {
            (from..(from + PAGE).min(seats)).map(|seat| Item::User(self.user(seat, at))).collect()
        });
        users.chain(self.group_pages(at))
    }

    fn group_pages(&self, at: Moment) -> impl Iterator<Item = Vec<Item>> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let (mut page, mut members) = (Vec::new(), 0);
            while next < self.groups && members < PAGE_MEMBERS {
                page.extend(self.group_items(next, at));
                members += self.size(next) + 10;
                next += 1;
            }
            (!page.is_empty()).then_some(page)
        })
    }

    fn group_items(&self, group: u32, at: Moment) -> [Item; 2] {
        let users = self.members(group, at).map(|seat| Reference::Alias(self.dn(seat, at)));
        let groups = self.children(group).map(|child| Reference::Group(self.group_id(child, at)));
        let members = users.chain(groups).collect();
        let id = Reference::Group(self.group_id(group, at));
        [Item::Group(self.group(group, at)), Item::Members { group: id, members }]
    }

    /// An incremental crawl: what happened between two moments, page by page.
    pub fn feed(&self, from: Moment, to: Moment) -> impl Iterator<Item = Vec<Item>> + '_ {
        let seats = (0..self.users + to.newcomers).filter_map(move |seat| {
            let is_new = seat >= self.users + from.newcomers;
            let (before, after) = (self.person(seat, from), self.person(seat, to));
            let mut items = Vec::new();
            if before.tenure != after.tenure && !is_new {
                let gone = self.user_id(seat, before.tenure);
                items.push(Item::UserDeleted(Reference::User(gone)));
            }
            if before != after || is_new {
                items.push(Item::User(self.user(seat, to)));
            }
            (!items.is_empty()).then_some(items)
        });
        let groups = (0..self.groups).map(move |group| self.group_feed(group, from, to));
        seats.chain(groups).filter(|items| !items.is_empty())
    }

    fn group_feed(&self, group: u32, from: Moment, to: Moment) -> Vec<Item> {
        let (before, after) = (self.group_state(group, from), self.group_state(group, to));
        if before.1 != after.1 {
            let gone = Reference::Group(self.group_id(group, from));
            let [record, members] = self.group_items(group, to);
            return vec![Item::GroupDeleted(gone), record, members];
        }
        let mut items = Vec::new();
        if before != after {
            items.push(Item::Group(self.group(group, to)));
        }
        let (added, removed) = self.moves(group, from, to);
        let id = || Reference::Group(self.group_id(group, to));
        if !removed.is_empty() {
            items.push(Item::MembersRemoved { group: id(), members: removed });
        }
        if !added.is_empty() {
            items.push(Item::MembersAdded { group: id(), members: added });
        }
        items
    }

    /// Who joined and who left a group that stays. Those who left the directory
    /// left the group with it.
    fn moves(&self, group: u32, from: Moment, to: Moment) -> (Vec<Reference>, Vec<Reference>) {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        let size = self.size(group);
        let tenure = |seat, at| self.person(seat, at).tenure;
        for position in 0..size {
            let before = self.seat(group, size, position, from);
            let after = self.seat(group, size, position, to);
            let stays = before == after;
            if let Some(seat) = before
                && !stays
                && tenure(seat, from) == tenure(seat, to)
            {
                removed.push(Reference::User(self.id_on(seat, from)));
            }
            if let Some(seat) = after
                && (!stays || tenure(seat, from) != tenure(seat, to))
            {
                added.push(Reference::User(self.id_on(seat, to)));
            }
        }
        if group == 0 {
            let new = self.users + from.newcomers..self.users + to.newcomers;
            added.extend(new.map(|seat| Reference::User(self.id_on(seat, to))));
        }
        let reborn = self
            .children(group)
            .filter(|child| self.group_state(*child, from).1 != self.group_state(*child, to).1);
        added.extend(reborn.map(|child| Reference::Group(self.group_id(child, to))));
        (added, removed)
    }

    /// How many positions a group has; most of them are taken.
    pub fn size(&self, group: u32) -> u32 {
        if group == 0 {
            return self.users;
        }
        // A permutation: the step has no divisor in common with the count.
        let count = u64::from(self.groups - 1).max(1);
        let rank = (u64::from(group) * self.step + self.seed) % count + 1;
        self.size_of_rank(rank as u32)
    }

    fn size_of_rank(&self, rank: u32) -> u32 {
        let most = f64::from(self.users) * 0.8;
        (self.largest / f64::from(rank)).min(most).max(1.0) as u32
    }

    /// Who is at a position of a group: each position has seats of its own, so
    /// nobody is there twice.
    fn seat(&self, group: u32, size: u32, position: u32, at: Moment) -> Option<u32> {
        if group == 0 {
            return Some(position);
        }
        let place = u64::from(group) << 32 | u64::from(position);
        // A join and a leave are two changes.
        let edition = edition(self.draw(Die::Position, place, 0), at, 2);
        let bound = |position: u32| u64::from(position) * u64::from(self.users) / u64::from(size);
        let (first, end) = (bound(position), bound(position + 1));
        let draw = self.draw(Die::Seat, place, edition);
        let is_vacant = draw.is_multiple_of(20);
        (!is_vacant).then(|| (first + (draw >> 8) % (end - first).max(1)) as u32)
    }

    fn person(&self, seat: u32, at: Moment) -> Person {
        let draw = self.draw(Die::Change, u64::from(seat), 0);
        let edition = edition(draw, at, 1);
        // One change in sixteen is a leaver and a joiner, one in eight a new name.
        let tenure = (edition + (draw >> 40) % 16) / 16;
        let renames = (edition + (draw >> 48) % 8) / 8;
        Person { edition, tenure, names: tenure << 16 | renames }
    }

    /// Edition and tenure.
    fn group_state(&self, group: u32, at: Moment) -> (u64, u64) {
        let draw = self.draw(Die::Change, u64::from(group) | 1 << 40, 0);
        let edition = edition(draw, at, 1);
        let lasts = self.size(group) > LASTING;
        (edition, if lasts { 0 } else { (edition + (draw >> 40) % 32) / 32 })
    }

    fn user_id(&self, seat: u32, tenure: u64) -> String {
        guid(self.draw(Die::Person, u64::from(seat), tenure), u64::from(seat) | tenure << 32)
    }

    fn dn(&self, seat: u32, at: Moment) -> String {
        let person = self.person(seat, at);
        let draw = self.draw(Die::Name, u64::from(seat), person.names);
        let family = FAMILY_NAMES[(draw >> 8) as usize % FAMILY_NAMES.len()].to_lowercase();
        let (names, department) = (person.names, (draw >> 16) % 400);
        format!("cn={family} {seat}-{names},ou=department {department},dc=corp,dc=example,dc=org")
    }

    fn draw(&self, die: Die, a: u64, b: u64) -> u64 {
        mix(mix(mix(self.seed ^ ((die as u64) << 56)) ^ a) ^ b)
    }
}

/// How often an object was changed up to a moment. Every object has its turn once
/// in a period, so a tick changes one in `period × slower` of them.
fn edition(draw: u64, at: Moment, slower: u64) -> u64 {
    let turns = PERIODS.iter().zip(at.ticks).zip([0, 13, 26]);
    turns
        .map(|((period, ticks), shift)| {
            let period = period * slower;
            (u64::from(ticks) + ((draw >> shift) & 0xf_ffff) % period) / period
        })
        .sum()
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// A GUID of which the last part is unique.
fn guid(random: u64, unique: u64) -> String {
    let (high, low) = (random >> 32, random & 0xffff_ffff);
    let (mid, last) = (low >> 16, low & 0xfff);
    format!("{high:08x}-{mid:04x}-4{last:03x}-8000-{unique:012x}")
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

const GIVEN: [&str; 24] = [
    "Ada",
    "Alan",
    "Anneliese",
    "Barbara",
    "Chidi",
    "Dimitrios",
    "Edsger",
    "Fatima",
    "Grace",
    "Hiroshi",
    "Ingrid",
    "João",
    "Katherine",
    "Li",
    "Margaret",
    "Ngozi",
    "Oluwaseun",
    "Priya",
    "Radia",
    "Søren",
    "Tim",
    "Umm",
    "Vint",
    "Zoë",
];

const FAMILY_NAMES: [&str; 24] = [
    "Achebe",
    "Backus",
    "Cerf",
    "Dijkstra",
    "Eich",
    "Frank",
    "Goldberg",
    "Hopper",
    "Iverson",
    "Johnson",
    "Kowalczyk",
    "Lovelace",
    "McCarthy",
    "Nygaard",
    "Okonkwo",
    "Perlman",
    "Quispe",
    "Ritchie",
    "Shannon",
    "Turing",
    "Ullman",
    "Venkataraman",
    "Wirth",
    "Yamamoto",
];

const OFFICES: [&str; 8] =
    ["Amsterdam", "Berlin", "Chennai", "Dublin", "Lagos", "Montréal", "São Paulo", "Wellington"];
