//! `/v1/snapshot`: everything at one seq as JSON lines, for list-then-watch.
//!
//! First `{"type": "start", "seq": N, "directories": {…}}`; then of each
//! directory its users, groups and memberships; at the end
//! `{"type": "end", "seq": N, "count": M}` with the number of lines between.
//! A snapshot without its end is not whole. `directory`, `tenant` and `product`
//! leave the other directories out.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

use super::filter;
use super::freshness::{Freshness, Freshnesses};
use super::listing::{Object, Row};
use super::objects::unknown_directory;
use super::parameters::Parameters;
use super::problem::Problem;
use super::resolve::Kind;
use super::sources::Sources;
use crate::clock::{self, Duration, Instant};
use crate::index::{DirectoryView, View};
use crate::model::{Filter, MemberKind};
use crate::store::record;
use crate::task;
use crate::wire;

/// A snapshot keeps its view alive, so only so many go at once, and not for ever.
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// A chunk ends with the line that makes it longer than this.
const CHUNK_BYTES: usize = 32 << 10;

/// Hands out snapshots.
#[derive(Clone)]
pub struct Snapshots(Arc<Semaphore>);

impl Default for Snapshots {
    fn default() -> Snapshots {
        Snapshots(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Snapshots {
    /// Answers `/v1/snapshot`.
    ///
    /// # Errors
    /// When a parameter is wrong, or too many snapshots are being read.
    pub fn answer(&self, sources: &Sources, query: Option<&str>) -> Result<Response, Problem> {
        let parameters = Parameters::parse_with_lists(query, &filter::PLACES, &filter::PLACES)?;
        let filter = filter::read(&parameters)?;
        let busy = |_| {
            let detail = format!("{AT_ONCE} snapshots are being read already");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).header(RETRY_AFTER, "5")
        };
        let directories = chosen(sources, &filter)?;
        let permit = Arc::clone(&self.0).try_acquire_owned().map_err(busy)?;
        let view = sources.view.load();
        let writer = Writer::new(view, filter, directories);
        let sending = Sending {
            writer,
            deadline: clock::instant() + PATIENCE,
            sources: sources.clone(),
            _permit: permit,
        };
        let chunks =
            futures_util::stream::unfold(
                Some(sending),
                |sending| async move { sending?.next().await },
            );
        let body = Body::from_stream(chunks);
        Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
    }
}

struct Sending {
    writer: Writer,
    deadline: Instant,
    sources: Sources,
    _permit: OwnedSemaphorePermit,
}

/// A chunk, or the error that breaks the connection off, and what comes after.
type Step = (Result<Bytes, Problem>, Option<Sending>);

impl Sending {
    async fn next(mut self) -> Option<Step> {
        if self.writer.is_done() {
            return None;
        }
        if clock::instant() > self.deadline || self.sources.shutdown.is_requested() {
            let detail = "the snapshot was not read in time";
            return Some((Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow", detail)), None));
        }
        let made = task::blocking("make a snapshot", move || {
            let chunk = self.writer.chunk();
            (chunk, self)
        });
        Some(match made.await {
            Ok((Ok(bytes), sending)) => (Ok(Bytes::from(bytes)), Some(sending)),
            Ok((Err(problem), _)) => (Err(problem), None),
            Err(end) => (Err(Problem::internal(end)), None),
        })
    }
}

/// Writes a view line by line and remembers where it is.
struct Writer {
    view: Arc<View>,
    /// The directories that are written.
    filter: Filter,
    /// The first line's, until it is written.
    directories: Option<Freshnesses>,
    place: Option<Place>,
    count: u64,
}

/// The next thing to write.
#[derive(Clone, Copy)]
struct Place {
    directory: usize,
    part: Part,
    slot: u32,
    /// How many members of the group at `slot` are written.
    member: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Users,
    Groups,
    Memberships,
}

/// One line of a snapshot.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[schema(as = SnapshotLine)]
pub(super) enum Line<'a> {
    /// The first line.
    Start {
        seq: u64,
        #[schema(value_type = BTreeMap<String, Freshness>)]
        directories: &'a Freshnesses,
    },
    User {
        directory: &'a str,
        user: wire::UserBody<'a>,
    },
    Group {
        directory: &'a str,
        group: wire::GroupBody<'a>,
    },
    /// `group` is the id of one; `member` is directly in it.
    Membership {
        directory: &'a str,
        group: &'a str,
        member: MemberLine<'a>,
    },
    /// The last line; without it a snapshot is not whole. `count` is the number
    /// of lines between the first and this one.
    End {
        seq: u64,
        count: u64,
    },
}

/// A direct member.
#[derive(Serialize, ToSchema)]
#[schema(as = SnapshotMember)]
pub(super) struct MemberLine<'a> {
    /// `user` or `group`.
    kind: &'static str,
    id: &'a str,
}

impl Writer {
    fn new(view: Arc<View>, filter: Filter, directories: Freshnesses) -> Writer {
        let place = Place { directory: 0, part: Part::Users, slot: 0, member: 0 };
        Writer { view, filter, directories: Some(directories), place: Some(place), count: 0 }
    }

    fn is_done(&self) -> bool {
        self.place.is_none()
    }

    fn chunk(&mut self) -> Result<Vec<u8>, Problem> {
        let view = Arc::clone(&self.view);
        let mut out = Vec::with_capacity(CHUNK_BYTES + 4096);
        if let Some(directories) = self.directories.take() {
            write(&mut out, &Line::Start { seq: view.seq, directories: &directories })?;
        }
        while let Some(place) = self.place
            && out.len() < CHUNK_BYTES
        {
            self.place = match view.directories().nth(place.directory) {
                Some(directory) if !self.includes(directory) => {
                    Some(Place { directory: place.directory + 1, ..place })
                }
                Some(directory) => Some(self.part(&mut out, directory, place)?),
                None => {
                    write(&mut out, &Line::End { seq: view.seq, count: self.count })?;
                    None
                }
            };
        }
        Ok(out)
    }

    fn includes(&self, directory: &DirectoryView) -> bool {
        let (name, tenant, product) = (directory.name(), directory.tenant(), directory.product());
        filter::is_from(&self.filter, name, tenant, product)
    }

    /// Writes on from `place` until the chunk is full or the part is at its end.
    fn part(
        &mut self,
        out: &mut Vec<u8>,
        directory: &Arc<DirectoryView>,
        place: Place,
    ) -> Result<Place, Problem> {
        let kind = if place.part == Part::Users { Kind::User } else { Kind::Group };
        let mut member = place.member;
        for slot in slots(directory, kind, place.slot) {
            if out.len() >= CHUNK_BYTES {
                return Ok(Place { slot, member, ..place });
            }
            if place.part == Part::Memberships {
                let (written, whole) = self.members(out, directory, slot, member)?;
                if !whole {
                    return Ok(Place { slot, member: written, ..place });
                }
                member = 0;
            } else {
                self.object(out, &Row { directory, kind, slot })?;
            }
        }
        Ok(place.next_part())
    }

    fn object(&mut self, out: &mut Vec<u8>, row: &Row<'_>) -> Result<(), Problem> {
        self.count += 1;
        let directory = row.directory.name();
        match Object::read(row)? {
            Object::User(user) => write(out, &Line::User { directory, user: (&user).into() }),
            Object::Group(group) => write(out, &Line::Group { directory, group: (&group).into() }),
        }
    }

    /// Writes the members of a group from the `skip`th on; says how many are
    /// written and whether that is all.
    fn members(
        &mut self,
        out: &mut Vec<u8>,
        directory: &DirectoryView,
        group: u32,
        skip: usize,
    ) -> Result<(usize, bool), Problem> {
        let id = id_of(directory.group_record(group))?;
        let users = directory.direct_users(group);
        let users = users.iter().map(|slot| (MemberKind::User, *slot));
        let groups = directory.subgroups(group).iter().map(|slot| (MemberKind::Group, *slot));
        for (written, (kind, slot)) in users.chain(groups).enumerate().skip(skip) {
            if out.len() >= CHUNK_BYTES {
                return Ok((written, false));
            }
            let record = match kind {
                MemberKind::User => directory.user_record(slot),
                MemberKind::Group => directory.group_record(slot),
            };
            let member = MemberLine { kind: kind.as_str(), id: id_of(record)? };
            self.count += 1;
            write(out, &Line::Membership { directory: directory.name(), group: id, member })?;
        }
        Ok((0, true))
    }
}

impl Place {
    fn next_part(self) -> Place {
        let (directory, part) = match self.part {
            Part::Users => (self.directory, Part::Groups),
            Part::Groups => (self.directory, Part::Memberships),
            Part::Memberships => (self.directory + 1, Part::Users),
        };
        Place { directory, part, slot: 0, member: 0 }
    }
}

/// The directories that are asked for. Who asks for none that exists must not
/// take the answer for an empty one.
fn chosen(sources: &Sources, filter: &Filter) -> Result<Freshnesses, Problem> {
    let mut named = filter.directories.iter().flatten();
    if let Some(unknown) = named.find(|name| sources.statuses.get(name).is_none()) {
        return Err(unknown_directory(unknown));
    }
    let directories = filter::freshness(sources, filter);
    let is_narrow =
        filter.directories.is_some() || filter.tenants.is_some() || filter.products.is_some();
    if directories.is_empty() && is_narrow {
        return Err(Problem::unknown("no directory is of that tenant and product")
            .hint("/v1/directories lists them"));
    }
    Ok(directories)
}

fn slots(directory: &DirectoryView, kind: Kind, from: u32) -> Box<dyn Iterator<Item = u32> + '_> {
    match kind {
        Kind::User => Box::new(directory.user_slots_from(from)),
        Kind::Group => Box::new(directory.group_slots_from(from)),
    }
}

fn id_of(record: Option<&[u8]>) -> Result<&str, Problem> {
    record::id_of(record.unwrap_or_default()).map_err(Problem::internal)
}

fn write(out: &mut Vec<u8>, line: &Line<'_>) -> Result<(), Problem> {
    serde_json::to_writer(&mut *out, line).map_err(Problem::internal)?;
    out.push(b'\n');
    Ok(())
}
