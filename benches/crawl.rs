//! An unchanged full crawl: what comparing costs, beside only making the pages.
//!
//! `cargo bench --bench crawl -- USERS GROUPS MEMBERSHIPS`

mod common;

use std::sync::Arc;

use common::{Size, cpu, first_commit, memory, pages};
use rosterd::index::DirectoryView;
use rosterd::provider::Extent;
use rosterd::sync::guard::Gate;
use rosterd::sync::reconcile::Reconciler;

fn main() {
    let size =
        Size::from_arguments(Size { users: 100_000, groups: 10_000, memberships: 1_000_000 });
    println!("{size}");
    let commit = first_commit(size);
    let view = DirectoryView::empty("corp", "default", "default")
        .apply(&commit.changes, 1)
        .expect("a generated directory applies");
    drop(commit);
    let base = Arc::new(view);
    println!("memberships in the view: {}", base.membership_count());

    let start = cpu();
    let mut items = 0;
    for page in pages(size, 500) {
        items += std::hint::black_box(page).len();
    }
    let making = cpu() - start;
    println!("making {items} items:     {:>7.2} s CPU", making.as_secs_f64());

    let idle = memory("VmRSS");
    common::reset_peak();
    let start = cpu();
    let mut crawl = Reconciler::new(base);
    for page in pages(size, 500) {
        crawl.page(page);
    }
    let gate = Gate::default();
    let outcome = crawl.seal(Extent::Whole, &gate).expect("a whole crawl seals");
    let both = cpu() - start;
    assert!(outcome.applies.changes.is_empty(), "an unchanged crawl found changes");
    let own = both.saturating_sub(making);
    println!("making and comparing: {:>7.2} s CPU", both.as_secs_f64());
    println!("comparing alone:      {:>7.2} s CPU", own.as_secs_f64());
    println!("ratio:                {:>7.2} (comparing / making)", ratio(own, making));
    println!("memory above idle:    {:>7} MB", memory("VmHWM").saturating_sub(idle));
}

fn ratio(a: std::time::Duration, b: std::time::Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(0.001)
}
