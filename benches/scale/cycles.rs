//! Disk and memory over many cycles of 1 % churn, with retention and upkeep.

use std::time::Duration;

use rosterd::clock;
use rosterd::store::{Kept, Retention};

use super::disk::on_disk;
use super::house::House;
use super::measure::{cost, machine, megabytes};
use super::population::{Moment, Population};

/// The journal and history keep what so many cycles tell.
const KEPT_CYCLES: u64 = 100;
/// A poll a minute, and the upkeep every ten.
const UPKEEP_EVERY: u32 = 10;
const PRINT_EVERY: u32 = 50;

/// `full_every`: so often the crawl is a full one; 0 for never.
pub fn run(population: &Population, count: u32, full_every: u32) {
    println!("{} users, {count} cycles of 1 %; {}", population.users, machine());
    println!("a full crawl every {full_every} cycles (0: never)");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let house = House::open(folder.path(), *population);
    house.sync(Moment::default(), false);
    println!("cycle    events  kept events  on disk MB  resident MB  seconds  upkeep (rewrites)");
    let (mut at, mut kept, mut rewrites) = (Moment::default(), u64::MAX, 0);
    let (mut spent, mut tended) = (Duration::ZERO, Duration::ZERO);
    for cycle in 1..=count {
        at = at.after(1);
        let seq = house.store.last_seq();
        let is_full = full_every > 0 && cycle.is_multiple_of(full_every);
        spent += cost(None, || house.sync(at, !is_full)).0.wall;
        if cycle == 1 {
            kept = (house.store.last_seq() - seq) * KEPT_CYCLES;
        }
        if cycle.is_multiple_of(UPKEEP_EVERY) {
            let (upkeep, rewritten) = cost(None, || tend(&house, kept));
            tended += upkeep.wall;
            rewrites += u32::from(rewritten);
        }
        if cycle.is_multiple_of(PRINT_EVERY) {
            let (last, oldest) = (house.store.last_seq(), house.store.oldest_seq());
            println!(
                "{cycle:>5} {last:>9} {:>12} {:>11.1} {:>12} {:>8.2} {:>8.2} ({rewrites})",
                last + 1 - oldest,
                on_disk(folder.path()) as f64 / f64::from(1 << 20),
                megabytes("VmRSS"),
                spent.as_secs_f64(),
                tended.as_secs_f64(),
            );
            (spent, tended) = (Duration::ZERO, Duration::ZERO);
        }
    }
    println!("{}", machine());
    house.close();
}

/// What the daemon does every ten minutes. Returns whether the store was rewritten.
fn tend(house: &House, events_max: u64) -> bool {
    let kept = Kept { age: Duration::from_hours(24 * 365), events_max };
    let retention = Retention { journal: kept, history: kept };
    while house.store.prune(clock::now(), &retention).expect("prunes").more {}
    house.merge();
    house.store.rewrite_if_grown().expect("works").is_some()
}
