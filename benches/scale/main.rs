//! Generated directories of up to a million people through the real poller, store,
//! view and socket, each figure beside its floor or peer, with checks going on.
//!
//! - `cargo bench --bench scale -- 1000000`: everything about that many users
//! - `cargo bench --bench scale -- cycles 10000 1000 [FULL_EVERY]`: disk and memory
//!   over 1,000 cycles of 1 % churn, with the store's own upkeep
//! - `cargo bench --bench scale -- generate 10000 FILE [TICKS]`: writes a bundle
//!   (docs/bundle.md), after so many ticks of 1 %
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock and owns its runtime")]

#[path = "../common/answer.rs"]
mod answer;
mod asker;
#[path = "../common/bare.rs"]
mod bare;
mod changes;
mod cycles;
#[path = "../common/disk.rs"]
mod disk;
mod floors;
mod generate;
mod house;
mod measure;
#[path = "../common/nobody.rs"]
mod nobody;
mod past;
mod population;
mod scripted;
mod start;

use std::path::Path;
use std::process::Command;

use disk::on_disk;
use house::House;
use measure::{cost, machine};
use population::{Moment, Population};

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["generate", users, file, ticks @ ..] => {
            let ticks = ticks.first().map_or(0, |ticks| number(ticks));
            let population = Population::of(number(users));
            generate::run(&population, Path::new(file), ticks);
            println!("{} users and {} groups are in {file}", population.users, population.groups);
        }
        ["cycles", users, count, full_every @ ..] => {
            let full_every = full_every.first().map_or(20, |every| number(every));
            cycles::run(&Population::of(number(users)), number(count), full_every);
        }
        ["floors", users, folder] => floors::run(&Population::of(number(users)), Path::new(folder)),
        ["import", users, folder] => import(&Population::of(number(users)), Path::new(folder)),
        ["after", users, folder] => after(&Population::of(number(users)), Path::new(folder)),
        [users] => everything(users),
        _ => everything("10000"),
    }
}

/// Each part in a process of its own: what one leaves in memory is not the next's.
fn everything(users: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = std::env::current_exe().expect("this program");
    println!("{} users; {}", users, machine());
    for part in ["floors", "import", "after"] {
        println!("\n## {part}");
        let status = Command::new(&program).args([part, users]).arg(folder.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "{part} failed");
    }
    println!("\n{}", machine());
}

/// The first import into an empty store.
fn import(population: &Population, folder: &Path) {
    let house = House::open(folder, *population);
    let asker = house.asker();
    let (import, ()) = cost(Some(&asker), || house.sync(Moment::default(), false));
    import.print("first import");
    changes::after_the_last_page(&house);
    let view = house.ledger.directory("corp");
    println!(
        "{:<34} {} users, {} groups, {} memberships, {} events",
        "",
        view.user_count(),
        view.group_count(),
        view.membership_count(),
        house.store.last_seq()
    );
    println!("{:<34} {} MB on disk", "", on_disk(folder) >> 20);
    drop(asker);
    drop(view);
    house.close();
}

/// A restart, and what follows.
fn after(population: &Population, folder: &Path) {
    let house = start::run(population, folder);
    let asker = house.asker();
    cost(Some(&asker), || std::thread::sleep(std::time::Duration::from_secs(5))).0.print("idle");
    let middle = changes::run(&house, &asker);
    past::run(&house, &asker, &middle);
    let (merged, pieces) = cost(Some(&asker), || house.merge());
    merged.print("merging the changes that wait");
    println!("{:<34} {pieces} pieces, {} MB on disk", "", on_disk(folder) >> 20);
    let (upkeep, rewritten) = cost(Some(&asker), || house.store.rewrite_if_grown().expect("works"));
    upkeep.print("upkeep of the store");
    println!("{:<34} {rewritten:?}, {} MB on disk", "", on_disk(folder) >> 20);
    drop(asker);
    house.close();
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}
