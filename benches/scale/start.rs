//! From the start of the process to the first answer, and what it then takes.

use std::path::Path;
use std::time::Instant;

use rosterd::store::Store;
use rosterd::sync::ledger::Ledger;

use super::floors;
use super::house::{House, options};
use super::measure::{cost, megabytes};
use super::population::{Moment, Population};

/// Restarts on a filled folder.
pub fn run(population: &Population, folder: &Path) -> House {
    let resting = megabytes("VmRSS");
    let started = Instant::now();
    let store_folder = folder.join("store");
    let opened = cost(None, || Store::open(&store_folder, options()).expect("it opens").0);
    opened.0.print("restart: opening the store");
    let loaded = cost(None, || Ledger::open(opened.1).expect("it loads"));
    loaded.0.print("restart: loading the view");
    let house = House::around(folder, *population, loaded.1);
    let at = Moment::default();
    let path =
        format!("/v1/check?user={}&group={}", population.id_on(0, at), population.group_id(0, at));
    let (status, body) = house.ask(&path);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    println!(
        "{:<34} {:>8.3} s wall",
        "restart to the first answer",
        started.elapsed().as_secs_f64()
    );
    println!(
        "{:<34} {:>8} MB above the {resting} of a bare process",
        "idle memory",
        megabytes("VmRSS") - resting
    );
    let (seconds, bytes) = floors::read_all(&store_folder);
    println!("{:<34} {seconds:>8.3} s wall ({} MB)", "floor: only reading the files", bytes >> 20);
    house
}
