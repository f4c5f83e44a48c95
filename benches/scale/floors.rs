//! What the same work costs when it is done in the plainest way that could be.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use rosterd::model::Reference;
use rosterd::provider::Item;
use rosterd::store::record;

use super::measure::{Cost, cost, megabytes};
use super::population::{Moment, Population};

/// A directory without nesting, names, versions, history or a disk: hash maps of
/// records by id, and a hash set of pairs.
#[derive(Default)]
struct Plain {
    users: HashMap<String, Vec<u8>>,
    groups: HashMap<String, Vec<u8>>,
    by_alias: HashMap<String, u32>,
    members: hashbrown::HashSet<(u32, u32), foldhash::fast::RandomState>,
}

/// In a process of its own: the plainest copy, in memory and in a file.
pub fn run(population: &Population, folder: &Path) {
    let (making, _) = make(population.pages(Moment::default()));
    making.print("floor: only making a full crawl");
    let resting = megabytes("VmRSS");
    let (plain_cost, plain) = cost(None, || plain(population));
    plain_cost.print("peer: hash maps and a hash set");
    println!(
        "{:<34} {:>6} MB resident for {} users, {} groups, {} memberships",
        "",
        megabytes("VmRSS") - resting,
        plain.users.len(),
        plain.groups.len(),
        plain.members.len()
    );
    let file = folder.join("floor");
    let pages = population.pages(Moment::default());
    let (append, bytes) = cost(None, || append(&file, pages));
    append.print("floor: the same bytes to a file");
    println!("{:<34} {:>6} MB (records, 8 bytes a membership)", "", bytes >> 20);
    let _ = std::fs::remove_file(file);
}

/// Makes pages and drops them.
pub fn make(pages: impl Iterator<Item = Vec<Item>>) -> (Cost, usize) {
    cost(None, || pages.map(|page| black_box(page).len()).sum())
}

/// Writes what pages hold one after the other, and syncs.
pub fn append(path: &Path, pages: impl Iterator<Item = Vec<Item>>) -> u64 {
    let file = std::fs::File::create(path).expect("a file");
    let mut out = std::io::BufWriter::with_capacity(1 << 20, file);
    let mut written = 0;
    for item in pages.flatten() {
        let bytes = match item {
            Item::User(item) => record::encode_user(&item),
            Item::Group(item) => record::encode_group(&item),
            Item::Members { members, .. }
            | Item::MembersAdded { members, .. }
            | Item::MembersRemoved { members, .. } => vec![7; members.len() * 8],
            _ => vec![7; 8],
        };
        written += bytes.len() as u64;
        out.write_all(&bytes).expect("writes");
    }
    out.into_inner().expect("flushes").sync_all().expect("syncs");
    written
}

/// Reads every file of a folder once; how long that took in seconds, and the bytes.
pub fn read_all(folder: &Path) -> (f64, u64) {
    let started = Instant::now();
    let (mut buffer, mut sum) = (vec![0; 1 << 20], 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if let Ok(mut file) = std::fs::File::open(entry.path()) {
                while let Ok(count @ 1..) = file.read(&mut buffer) {
                    sum += count as u64;
                }
            }
        }
    }
    (started.elapsed().as_secs_f64(), sum)
}

/// Moves so many bytes through a unix socket from one thread to another.
pub fn pour(bytes: u64) -> f64 {
    let (mut from, mut to) = UnixStream::pair().expect("a pair of sockets");
    let started = Instant::now();
    let writer = std::thread::spawn(move || {
        let chunk = [b'x'; 64 << 10];
        let mut left = bytes;
        while left > 0 {
            let some = left.min(chunk.len() as u64);
            from.write_all(&chunk[..some as usize]).expect("writes");
            left -= some;
        }
    });
    std::io::copy(&mut to, &mut std::io::sink()).expect("reads");
    writer.join().expect("the writer ends");
    started.elapsed().as_secs_f64()
}

fn plain(population: &Population) -> Plain {
    let mut plain = Plain::default();
    for item in population.pages(Moment::default()).flatten() {
        match item {
            Item::User(item) => {
                let slot = plain.users.len() as u32;
                plain.by_alias.extend(item.aliases.iter().map(|alias| (alias.clone(), slot)));
                plain.users.insert(item.user.id.clone(), record::encode_user(&item));
            }
            Item::Group(item) => {
                plain.groups.insert(item.group.id.clone(), record::encode_group(&item));
            }
            Item::Members { members, .. } => {
                let group = plain.groups.len() as u32;
                for member in members {
                    if let Reference::Alias(alias) = member
                        && let Some(user) = plain.by_alias.get(&alias)
                    {
                        plain.members.insert((group, *user));
                    }
                }
            }
            _ => {}
        }
    }
    plain
}
