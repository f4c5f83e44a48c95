//! Crawls that find nothing, a little, and much.

use super::asker::Asker;
use super::disk::on_disk;
use super::floors;
use super::house::{self, House};
use super::measure::{self, cost, state_of};
use super::population::Moment;

const RATES: [&str; 3] = ["0.01 %", "1 %", "10 %"];

/// All of them; returns a moment of the wall clock in the middle.
pub fn run(house: &House, asker: &Asker) -> String {
    let mut at = Moment::default();
    unchanged(house, asker);
    for (rate, name) in RATES.iter().enumerate() {
        let next = at.after(rate);
        changed(house, asker, (at, next), &format!("{name} changed, by feed"), true);
        at = next.after(rate);
        changed(house, asker, (next, at), &format!("{name} changed, full crawl"), false);
    }
    let middle = house::now();
    let next = Moment { newcomers: 1, ..at };
    changed(house, asker, (at, next), "everyone gains one, by feed", true);
    middle
}

fn unchanged(house: &House, asker: &Asker) {
    let (making, items) = floors::make(house.population.pages(Moment::default()));
    making.print("floor: only making a full crawl");
    let (files, seq) = (state_of(&house.folder), house.store.last_seq());
    let (crawl, ()) = cost(Some(asker), || house.sync(Moment::default(), false));
    crawl.print("unchanged full crawl");
    assert_eq!(house.store.last_seq(), seq, "nothing changed and somebody was told");
    assert!(files == state_of(&house.folder), "nothing changed and something was written");
    after_the_last_page(house);
    println!("{:<34} {items} items, no file was touched", "");
    println!("{:<34} {:>8} MB above what making takes", "", crawl.peak.saturating_sub(making.peak));
}

fn changed(house: &House, asker: &Asker, span: (Moment, Moment), what: &str, feeds: bool) {
    let (from, to) = span;
    let seq = house.store.last_seq();
    let (crawl, ()) = cost(Some(asker), || house.sync(to, feeds));
    crawl.print(what);
    println!(
        "{:<34} {} events, {} MB on disk",
        "",
        house.store.last_seq() - seq,
        on_disk(&house.folder) >> 20
    );
    after_the_last_page(house);
    let floor = house.folder.join("floor");
    let pages: Vec<_> = house.population.feed(from, to).collect();
    let (append, bytes) = cost(None, || floors::append(&floor, pages.into_iter()));
    append.print("  floor: the same to a file");
    println!("{:<34} {:>8} kB", "", bytes >> 10);
    let _ = std::fs::remove_file(floor);
}

/// What of a crawl is ours: comparing the pages; and what comes after the last one,
/// which is sealing, the commit and the swap.
pub fn after_the_last_page(house: &House) {
    let handed = house.provider.handed();
    let after = measure::cpu().saturating_sub(handed.cpu);
    println!(
        "{:<34} {:>8.3} s wall {:>8.3} s CPU; our own with comparing {:.3} s CPU",
        "  of it after the last page",
        handed.at.elapsed().as_secs_f64(),
        after.as_secs_f64(),
        (handed.comparing + after).as_secs_f64()
    );
}
