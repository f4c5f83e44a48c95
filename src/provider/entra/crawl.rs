//! A full crawl: remember where changes stand, list everything, read members,
//! and then take in what changed meanwhile.
//!
//! Taking the tokens of the rounds first means that nothing that happens
//! during the crawl is lost, and that lists may be read in parallel.

use std::collections::HashSet;
use std::hash::BuildHasher;

use serde_json::Value as Json;
use url::Url;

use super::apply::apply;
use super::batch::PARTS_MAX;
use super::config::{EntraConfig, Wanted};
use super::graph::{End, Graph, NAME, Page, incomplete};
use super::map::{self, Mapped, Mapper};
use super::members::{Members, Wish};
use super::objects::{Kind, group_select};
use super::place::{Earlier, Patrol, Place, Progress};
use super::rounds::{self, Drained, GROUPS};
use crate::clock;
use crate::model::Reference;
use crate::provider::http::{Cursors, in_parallel};
use crate::provider::{Extent, Item, Proof, PullError, Seal, Sink, Verified};

/// Groups between checkpoints while members are read.
const GROUPS_PER_CHECKPOINT: usize = 500;
const PAGE: usize = 999;

/// What a crawl works with.
pub(super) struct Reading<'a> {
    pub graph: &'a Graph,
    pub config: &'a EntraConfig,
    pub mapper: Mapper<'a>,
    pub sink: &'a mut dyn Sink,
    /// Where rounds started a while ago, as far as this process knows.
    pub earlier: Earlier,
}

impl<'a> Reading<'a> {
    pub(super) fn wanted(&self) -> &'a Wanted {
        &self.config.wanted
    }
}

/// Reads everything, or goes on with that.
///
/// # Errors
/// Any doubt that everything was read; there is a checkpoint then.
pub(super) async fn full(
    reading: &mut Reading<'_>,
    token: Option<Vec<u8>>,
) -> Result<Seal, PullError> {
    let is_resumed = token.is_some();
    let mut progress = match token {
        Some(token) => Progress::read(&token)?,
        None => begin(reading).await.map_err(not_expired)?,
    };
    reading.sink.checkpoint(progress.token());
    let outcome = go_on(reading, &mut progress).await;
    if outcome.is_err() {
        // What was read without the permission, or not to its end, is no place
        // to go on from.
        let token = if progress.is_void { Vec::new() } else { progress.token() };
        reading.sink.checkpoint(token);
    }
    // Only a crawl that goes on has an older one's tokens to blame.
    if is_resumed { outcome } else { outcome.map_err(not_expired) }
}

/// Takes the tokens for "from now on", and counts.
async fn begin(reading: &mut Reading<'_>) -> Result<Progress, PullError> {
    let kinds = reading.config.kinds();
    let mut progress = Progress::new(kinds.iter().map(|kind| kind.path().to_owned()).collect());
    if reading.config.incremental {
        progress.rounds = rounds::latest(reading.graph, reading.config).await?.unwrap_or_default();
    }
    if !progress.rounds.is_empty() {
        progress.earlier = reading.earlier.clone();
    }
    reading.sink.page(Vec::new());
    for kind in kinds {
        if let Some(count) = reading.graph.count(kind.count_endpoint(), kind.path()).await? {
            progress.counted.insert(kind.path().to_owned(), count);
        }
    }
    if let Some(count) = reading.graph.count("GET /groups/$count", GROUPS).await? {
        progress.counted.insert(GROUPS.to_owned(), count);
    }
    reading.sink.page(Vec::new());
    Ok(progress)
}

async fn go_on(reading: &mut Reading<'_>, progress: &mut Progress) -> Result<Seal, PullError> {
    let kinds = reading.config.kinds();
    while let Some(name) = progress.kinds.first().cloned() {
        let Some(kind) = kinds.iter().find(|kind| kind.path() == name) else {
            return Err(PullError::CursorExpired { reason: format!("{name} are no longer read") });
        };
        list_kind(reading, progress, *kind).await?;
        progress.kinds.remove(0);
        progress.end_list();
    }
    if !progress.groups_are_listed {
        list_groups(reading, progress).await?;
        progress.groups_are_listed = true;
        progress.end_list();
    }
    reading.sink.checkpoint(progress.token());
    read_members(reading, progress).await?;
    finish(reading, progress).await
}

async fn list_kind(
    reading: &mut Reading<'_>,
    progress: &mut Progress,
    kind: Kind,
) -> Result<(), PullError> {
    let select = kind.select(reading.wanted());
    let first = format!("{}?$top={PAGE}&$select={select}", kind.path());
    let mut list = List::new(kind.path(), kind.list_endpoint(), first);
    while let Some(page) = list.next(reading.graph, progress).await? {
        let stripped_before = reading.mapper.stripped;
        let mut items = Vec::with_capacity(page.len());
        for value in page {
            match reading.mapper.user(kind, value)? {
                Mapped::Is(user) => items.push(Item::User(user)),
                Mapped::LeftOut(_) => {}
                Mapped::Kept(reference) => {
                    keep_object(progress, kind, &reference);
                    items.push(Item::Kept(reference));
                }
            }
        }
        reading.mapper.take_kept();
        progress.malformed = reading.mapper.bad();
        progress.stripped += reading.mapper.stripped - stripped_before;
        reading.sink.page(items);
        list.pass(progress);
        reading.sink.checkpoint(progress.token());
    }
    list.prove(reading.graph, progress, kind.count_endpoint()).await?;
    list.refuse_if_blind(progress, kind.permission())
}

async fn list_groups(reading: &mut Reading<'_>, progress: &mut Progress) -> Result<(), PullError> {
    let first = format!("groups?$top={PAGE}&$select={}", group_select(reading.wanted()));
    let sees_hidden = sees_hidden(reading.graph).await?;
    let mut list = List::new(GROUPS, "GET /groups", first);
    while let Some(page) = list.next(reading.graph, progress).await? {
        let stripped_before = reading.mapper.stripped;
        let mut items = Vec::with_capacity(page.len());
        for value in page {
            match reading.mapper.group(value)? {
                Mapped::Is(group) => {
                    let id = group.item.group.id.clone();
                    progress.groups.insert(id, group.is_hidden && !sees_hidden);
                    items.push(Item::Group(group.item));
                }
                Mapped::LeftOut(_) => {}
                Mapped::Kept(reference) => {
                    if let Reference::Group(id) = &reference {
                        progress.pending.groups.insert(id.clone(), 0);
                    }
                    items.push(Item::Kept(reference));
                }
            }
        }
        reading.mapper.take_kept();
        progress.malformed = reading.mapper.bad();
        progress.stripped += reading.mapper.stripped - stripped_before;
        reading.sink.page(items);
        list.pass(progress);
        reading.sink.checkpoint(progress.token());
    }
    list.prove(reading.graph, progress, "GET /groups/$count").await?;
    list.refuse_if_blind(progress, "GroupMember.Read.All")
}

/// Whether the token shows hidden members. If it does not tell, it does not:
/// an empty list of a hidden group is then nothing to go by.
pub(super) async fn sees_hidden(graph: &Graph) -> Result<bool, PullError> {
    let roles = graph.roles().await?.unwrap_or_default();
    Ok(roles.iter().any(|role| role == "Member.Read.Hidden"))
}

fn keep_object(progress: &mut Progress, kind: Kind, reference: &Reference) {
    if let Reference::User(id) = reference {
        progress.pending.objects.entry(kind.path().to_owned()).or_default().insert(id.clone(), 0);
    }
}

/// One list, page by page.
struct List {
    path: &'static str,
    endpoint: &'static str,
    first: String,
    cursors: Cursors,
    /// Digests of the ids: pages of a list that changes may repeat objects.
    seen: HashSet<u64>,
    hasher: foldhash::fast::RandomState,
    /// What the newest page comes to: new objects, and where the list goes on.
    fresh: u64,
    after: Option<String>,
}

impl List {
    fn new(path: &'static str, endpoint: &'static str, first: String) -> List {
        List {
            path,
            endpoint,
            first,
            cursors: Cursors::new(path),
            seen: HashSet::new(),
            hasher: foldhash::fast::RandomState::default(),
            fresh: 0,
            after: None,
        }
    }

    /// The next page.
    async fn next(
        &mut self,
        graph: &Graph,
        progress: &mut Progress,
    ) -> Result<Option<Vec<Json>>, PullError> {
        if progress.list_is_over {
            return Ok(None);
        }
        let page = match &progress.next {
            Some(next) if self.seen.is_empty() => {
                self.resumed(graph, parse(next)?, progress).await?
            }
            Some(next) => graph.page(self.endpoint, parse(next)?, 1.0).await?,
            None => graph.page(self.endpoint, graph.url(&self.first)?, 1.0).await?,
        };
        self.after = match page.end {
            End::Last => None,
            End::Delta(_) => return Err(incomplete(format!("{} end like changes", self.path))),
            End::Next(next) => {
                self.cursors.pass(next.as_str())?;
                Some(next.to_string())
            }
        };
        let ids = page.value.iter().filter_map(map::id_of);
        self.fresh = ids.filter(|id| self.seen.insert(self.hasher.hash_one(*id))).count() as u64;
        Ok(Some(page.value))
    }

    /// The page at a token of an earlier attempt; the first one when that has
    /// expired meanwhile.
    async fn resumed(
        &mut self,
        graph: &Graph,
        next: Url,
        progress: &mut Progress,
    ) -> Result<Page, PullError> {
        if let Some(page) = graph.remembered(self.endpoint, next).await? {
            return Ok(page);
        }
        tracing::info!(list = self.path, "the page token has expired; the list starts over");
        progress.listed.remove(self.path);
        progress.stripped = 0;
        graph.page(self.endpoint, graph.url(&self.first)?, 1.0).await
    }

    /// Moves `progress` behind the newest page, which was handed over.
    fn pass(&mut self, progress: &mut Progress) {
        *progress.listed.entry(self.path.to_owned()).or_default() += self.fresh;
        progress.next = self.after.take();
        progress.list_is_over = progress.next.is_none();
    }

    /// Compares with what the directory counts: a page that is silently
    /// missing would look like so many removals.
    async fn prove(
        &self,
        graph: &Graph,
        progress: &mut Progress,
        endpoint: &'static str,
    ) -> Result<(), PullError> {
        let listed = progress.listed.get(self.path).copied().unwrap_or(0);
        let Some(before) = progress.counted.get(self.path).copied().filter(|n| listed < *n) else {
            return Ok(());
        };
        // Some may have been deleted since the first count.
        let now = graph.count(endpoint, self.path).await?.unwrap_or(before);
        if listed >= now {
            return Ok(());
        }
        let path = self.path;
        progress.is_void = true;
        Err(incomplete(format!("{listed} {path} were listed, and {now} are counted")))
    }

    /// Objects without properties throughout mean that a permission is missing.
    fn refuse_if_blind(&self, progress: &mut Progress, permission: &str) -> Result<(), PullError> {
        let listed = progress.listed.get(self.path).copied().unwrap_or(0);
        if listed == 0 || progress.stripped < listed {
            return Ok(());
        }
        progress.is_void = true;
        Err(PullError::Unauthorized {
            what: NAME.to_owned(),
            reason: format!("it lists {listed} {} and shows of none more than the id", self.path),
            permission: Some(permission.to_owned()),
        })
    }
}

async fn read_members(reading: &mut Reading<'_>, progress: &mut Progress) -> Result<(), PullError> {
    let wishes: Vec<Wish> = progress
        .groups
        .iter()
        .map(|(id, is_hidden)| Wish { id: id.clone(), is_hidden: *is_hidden })
        .collect();
    let (graph, wanted) = (reading.graph, &reading.config.wanted);
    let mut since = 0_usize;
    let sink = &mut *reading.sink;
    let chunks: Vec<Vec<Wish>> = wishes.chunks(PARTS_MAX).map(<[Wish]>::to_vec).collect();
    let at_once = reading.config.http.parallel_requests_max;
    let work = |chunk| graph.members(wanted, chunk);
    in_parallel(chunks, at_once, work, |lists| {
        let mut items = Vec::new();
        since += lists.len();
        for (id, members) in lists {
            progress.groups.remove(&id);
            progress.seen += u64::from(matches!(members, Members::Listed(_)));
            progress.refused += u64::from(members == Members::Refused);
            progress.hidden += u64::from(!matches!(members, Members::Listed(_)));
            if matches!(members, Members::Refused | Members::Absent) {
                progress.pending.groups.insert(id.clone(), 0);
            }
            items.extend(members.items(id));
        }
        sink.page(items);
        if since >= GROUPS_PER_CHECKPOINT {
            since = 0;
            sink.checkpoint(progress.token());
        }
    })
    .await?;
    let refused = progress.refused;
    if refused > 0 && progress.seen == 0 && progress.hidden == refused {
        progress.is_void = true;
        return Err(PullError::Unauthorized {
            what: NAME.to_owned(),
            reason: format!("it shows the members of none of {refused} groups"),
            permission: Some("GroupMember.Read.All".to_owned()),
        });
    }
    Ok(())
}

/// Takes in what changed while the lists were read, and seals. Where rounds
/// were followed before, what they told lately comes again: the lists may be
/// those of a replica that lags.
async fn finish(reading: &mut Reading<'_>, progress: &mut Progress) -> Result<Seal, PullError> {
    let counts = |name: &str| progress.listed.get(name).copied().unwrap_or(0);
    let (users, groups) = (counts(Kind::Users.path()), counts(GROUPS));
    let now = clock::now();
    // What fails from here on goes on with them.
    let mut earlier = progress.earlier.clone();
    let drained = match rounds::drain_earlier(reading, &earlier.links).await? {
        Some(drained) => drained,
        None if progress.rounds.is_empty() => Drained::default(),
        None => {
            earlier = Earlier::default();
            rounds::drain(reading, &progress.rounds).await?
        }
    };
    if !progress.rounds.is_empty() {
        earlier.pass(&progress.rounds, now);
    }
    let mut place = Place::new(drained.next.clone(), earlier);
    place.pending = progress.pending.clone();
    let window = drained.window();
    let findings = apply(reading, drained, &window, &mut place.pending).await?;
    place.patrol = Patrol::new(users, groups, now);
    let is_counted = progress.counted.contains_key(Kind::Users.path());
    let proof = format!(
        "{users} users and {groups} groups listed to the end{}; {findings}{}",
        if is_counted { " as counted" } else { ", counts are not offered" },
        match progress.hidden {
            0 => String::new(),
            n => format!("; the members of {n} groups could not be seen"),
        }
    );
    reading.earlier = place.earlier.clone();
    Ok(Seal {
        extent: Extent::Whole,
        cursor: (!place.rounds.is_empty()).then(|| place.cursor()),
        proof: Proof::from(proof)
            .counted("users", progress.counted.get(Kind::Users.path()).copied(), users)
            .counted("groups", progress.counted.get(GROUPS).copied(), groups)
            .visible(match progress.hidden {
                0 => "the members of every group could be seen".to_owned(),
                n => format!("the members of {n} groups could not be seen and stay as they were"),
            }),
        verified: Verified::default(),
        requests: reading.graph.take_audit(),
        malformed: progress.malformed.max(reading.mapper.bad()),
    })
}

pub(super) fn parse(text: &str) -> Result<Url, PullError> {
    Url::parse(text).map_err(|error| PullError::CursorExpired { reason: error.to_string() })
}

/// A full crawl has no older cursor that could have expired.
fn not_expired(error: PullError) -> PullError {
    match error {
        PullError::CursorExpired { reason } => incomplete(reason),
        error => error,
    }
}
