//! What happens in each hour of the soak: changes, and faults that come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cloud::entra::Contoso;
use crate::cloud::{Member, Op, Vendor};
use crate::harness::daemon::Daemon;
use crate::harness::receiver::{Answer, Receiver};
use crate::harness::vendor::{Hazard, VendorServer, When};
use crate::population::generate;
use crate::population::generated::{Moment, Population};

const CLOUD_USERS: u8 = 100;
const CLOUD_GROUPS: u8 = 20;

/// A fault for an hour, in turn.
const HTTP: [Hazard; 7] = [
    Hazard::Throttle,
    Hazard::ServerError,
    Hazard::CutBeforeHeaders,
    Hazard::CutInBody,
    Hazard::TruncatedJson,
    Hazard::NotJson,
    Hazard::Refuse,
];

pub struct Troubles {
    population: Population,
    bundle: PathBuf,
    ticks: u32,
    random: fastrand::Rng,
    happened: BTreeMap<&'static str, u32>,
}

/// Where the directory `corp` is read from.
pub fn bundle_of(daemon: &Daemon) -> PathBuf {
    daemon.dir().join("corp.json")
}

/// The first objects of `cloud`.
pub fn populate(contoso: &mut Contoso) {
    contoso.page(25);
    (0..CLOUD_USERS).for_each(|user| contoso.apply(&Op::PutUser(user, 0)));
    for group in 0..CLOUD_GROUPS {
        contoso.apply(&Op::PutGroup(group, 0));
        for user in 0..10 {
            contoso.apply(&Op::AddMember(group, Member::User((group + user * 9) % CLOUD_USERS)));
        }
    }
}

impl Troubles {
    /// The bundle is there when this returns.
    pub fn new(population: Population, daemon: &Daemon) -> Troubles {
        let troubles = Troubles {
            population,
            bundle: bundle_of(daemon),
            ticks: 0,
            random: fastrand::Rng::with_seed(6),
            happened: BTreeMap::new(),
        };
        troubles.publish();
        troubles
    }

    /// What changes at the beginning of an hour, and which faults there are in it.
    pub fn hour(&mut self, hour: u32, cloud: &VendorServer<Contoso>, receiver: &Receiver) {
        self.calm(cloud, receiver);
        self.ticks += 1;
        match hour % 8 {
            3 => self.damage("cut off in the middle"),
            6 => self.remove(),
            _ => self.publish(),
        }
        let ops: Vec<Op> = (0..8).map(|_| self.op()).collect();
        cloud.with(|vendor| ops.iter().for_each(|op| vendor.apply(op)));
        if hour.is_multiple_of(3) {
            let hazard = HTTP[hour as usize / 3 % HTTP.len()];
            let when = if hour.is_multiple_of(2) { When::from(4) } else { When::nth(3).times(3) };
            cloud.arm(hazard, when);
            self.note("faults of HTTP");
        }
        if hour % 3 == 1 {
            let names = Contoso::HAZARDS;
            let (name, _) = names[hour as usize / 3 % names.len()];
            cloud.with(|vendor| vendor.hazard(name));
            self.note("faults of the vendor, among them a lost cursor");
        }
        self.receive(hour, receiver);
    }

    /// The receiver fails, is slow, or hangs up.
    fn receive(&mut self, hour: u32, receiver: &Receiver) {
        let mut random = self.random.fork();
        match hour % 6 {
            1 => receiver.answer(move |_| if random.bool() { Answer::accept() } else { failed() }),
            2 => receiver.answer(|_| Answer::Silence),
            4 => receiver.answer(move |_| match random.u8(..8) {
                0 => Answer::HangUp,
                1 => Answer::AcceptAndHangUp,
                _ => Answer::accept(),
            }),
            _ => return,
        }
        self.note("hours of a failing receiver");
    }

    fn calm(&self, cloud: &VendorServer<Contoso>, receiver: &Receiver) {
        cloud.disarm();
        cloud.forget();
        cloud.with(Vendor::calm);
        receiver.answer(|_| Answer::accept());
    }

    /// No faults from now on.
    pub fn end(&self, cloud: &VendorServer<Contoso>, receiver: &Receiver) {
        self.calm(cloud, receiver);
        self.publish();
    }

    /// How often what happened.
    pub fn told(&self) -> String {
        let told = self.happened.iter().map(|(what, count)| format!("{count} {what}"));
        told.collect::<Vec<_>>().join(", ")
    }

    /// The memberships of `corp` by id.
    pub fn memberships(&self) -> BTreeSet<(String, String)> {
        let (population, at) = (&self.population, self.at());
        let of = |group| {
            let users = population.members(group, at).map(move |seat| population.id_on(seat, at));
            let inner = population.children(group).map(move |child| population.group_id(child, at));
            users.chain(inner).map(move |id| (population.group_id(group, at), id))
        };
        (0..population.groups).flat_map(of).collect()
    }

    fn at(&self) -> Moment {
        Moment { ticks: [0, self.ticks, 0], newcomers: 0 }
    }

    fn publish(&self) {
        let draft = self.bundle.with_extension("draft");
        generate::run(&self.population, &draft, self.ticks);
        std::fs::rename(draft, &self.bundle).expect("one's own directory");
    }

    fn damage(&mut self, _how: &str) {
        self.publish();
        let whole = std::fs::read(&self.bundle).expect("it was just written");
        crate::harness::write(&self.bundle, &whole[..whole.len() / 2]);
        self.note("bundles cut off");
    }

    fn remove(&mut self) {
        let _gone_already = std::fs::remove_file(Path::new(&self.bundle));
        self.note("bundles away");
    }

    fn note(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn op(&mut self) -> Op {
        let (user, group) = (self.random.u8(..CLOUD_USERS), self.random.u8(..CLOUD_GROUPS));
        match self.random.u8(..10) {
            0 => Op::DeleteUser(user),
            1 | 2 => Op::PutUser(user, self.random.u8(..)),
            3 => Op::Disable(user),
            4 => Op::Enable(user),
            5 => Op::RenameGroup(group, self.random.u8(..)),
            6 => Op::RemoveMember(group, Member::User(user)),
            _ => Op::AddMember(group, Member::User(user)),
        }
    }
}

fn failed() -> Answer {
    Answer::Status(503, vec!["retry-after: 60".to_owned()])
}
