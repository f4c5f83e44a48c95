//! One crawl: connects, decides between full and incremental, seals.

use ldap3::controls::RawControl;
use tracing::debug;

use super::bookmark::{Bookmark, Place};
use super::config::Incremental;
use super::entry::Entry;
use super::map::Mapper;
use super::pages::{PAGED_RESULTS, Pages, subtree};
use super::root::{Flavour, Root};
use super::session::Session;
use super::{Ldap, active_directory, ranges, syncrepl};
use crate::clock;
use crate::model::Reference;
use crate::provider::{Extent, Item, PullError, Seal, Sink, Start, Verified};

/// A signed-in connection and all that a crawl needs with it.
pub struct Reading<'a> {
    pub session: Session,
    pub root: Root,
    pub mapper: Mapper<'a>,
    /// As large as pages may be; `None` when the server does not page.
    pub page_size: Option<u32>,
}

/// What a crawl came to.
pub struct Outcome {
    pub extent: Extent,
    pub place: Option<Place>,
    pub proof: String,
}

/// Reads once and seals.
///
/// # Errors
/// As [`crate::provider::Directory::crawl`].
pub async fn run(ldap: &mut Ldap, start: Start, sink: &mut dyn Sink) -> Result<Seal, PullError> {
    let bookmark = match start {
        Start::Full | Start::Resume(_) => None,
        Start::Incremental(cursor) => Some(Bookmark::read(&cursor)?),
    };
    let (session, root) = connect(ldap, bookmark.as_ref()).await?;
    let pages = !root.tells_controls() || root.supports(PAGED_RESULTS);
    let page_size = ldap.page_size.unwrap_or(ldap.config.page_size);
    let mut reading = Reading {
        mapper: Mapper { config: &ldap.config, flavour: root.flavour, now: clock::now() },
        session,
        root,
        page_size: pages.then_some(page_size),
    };
    let outcome = match bookmark {
        None => full(&mut reading, sink).await?,
        Some(bookmark) => changes(&mut reading, bookmark, sink).await?,
    };
    let learned = reading.page_size;
    let seal = seal(reading, outcome).await;
    ldap.page_size = learned.or(ldap.page_size);
    Ok(seal)
}

/// Signs in at the first server that answers, beginning with the one that
/// `bookmark` was made at.
///
/// # Errors
/// That of the first server, when none does: it is the one meant.
pub async fn connect(
    ldap: &mut Ldap,
    bookmark: Option<&Bookmark>,
) -> Result<(Session, Root), PullError> {
    let tls = ldap.tls()?;
    let mut servers: Vec<_> = ldap.config.servers.iter().collect();
    servers.sort_by_key(|server| bookmark.is_some_and(|bookmark| bookmark.url != server.url));
    let preferred = bookmark.and_then(|bookmark| bookmark.address);
    let mut errors = Vec::new();
    for server in servers {
        let opened = async {
            let timeout = ldap.patience.request_timeout;
            let mut session = Session::open(server, &tls, preferred, timeout).await?;
            session.bind(&ldap.config.bind).await?;
            let root = Root::read(&mut session).await?;
            Ok((session, root))
        };
        match opened.await {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                debug!(server = %server.url, %error, "not this server");
                errors.push(error);
            }
        }
    }
    Err(worst(errors))
}

/// Of the errors of several servers, the one that says most: a refusal is
/// more telling than an unreachable replica.
fn worst(errors: Vec<PullError>) -> PullError {
    let is_telling = |error: &PullError| !matches!(error, PullError::Unreachable { .. });
    let telling = errors.iter().position(is_telling).unwrap_or(0);
    errors.into_iter().nth(telling).unwrap_or_else(|| PullError::Misconfigured {
        what: "ldap".to_owned(),
        reason: "no server is configured".to_owned(),
        hint: "set `url`".to_owned(),
    })
}

/// Reads everything. The cursor is taken before, so that nothing that changes
/// meanwhile is lost.
async fn full(reading: &mut Reading<'_>, sink: &mut dyn Sink) -> Result<Outcome, PullError> {
    let place = begin(reading).await?;
    let proof = read_all(reading, sink).await?;
    Ok(Outcome { extent: Extent::Whole, place, proof })
}

/// Where an incremental crawl could start from now on.
///
/// # Errors
/// When the server does not answer, or not as configured.
pub async fn begin(reading: &mut Reading<'_>) -> Result<Option<Place>, PullError> {
    let mode = reading.mapper.config.incremental;
    if mode == Incremental::Off || !is_visible_to_deltas(reading) {
        return Ok(None);
    }
    match (reading.root.flavour, mode) {
        (Flavour::Ad, Incremental::Auto | Incremental::DirSync | Incremental::Usn) => {
            active_directory::begin(reading).await
        }
        (Flavour::OpenLdap | Flavour::Other, Incremental::Auto | Incremental::Syncrepl) => {
            syncrepl::begin(reading).await
        }
        (_, Incremental::Auto) => Ok(None),
        (flavour, _) => Err(PullError::Misconfigured {
            what: reading.session.url().to_owned(),
            reason: format!("{} does not offer this kind of `incremental`", flavour.as_str()),
            hint: "leave `incremental` out, or set it to \"auto\"".to_owned(),
        }),
    }
}

/// Whether deltas can be trusted at all: they name objects by the server's
/// own id, and no server tells when a `memberOf` changes.
fn is_visible_to_deltas(reading: &Reading<'_>) -> bool {
    let config = reading.mapper.config;
    let own = reading.root.flavour.id_attribute();
    let by_own_id = reading.mapper.user_id().eq_ignore_ascii_case(own)
        && reading.mapper.group_id().eq_ignore_ascii_case(own);
    let filters = [&config.users.filter, &config.groups.filter];
    let by_membership = filters.iter().any(|filter| filter.to_lowercase().contains("memberof"));
    by_own_id && !by_membership
}

async fn changes(
    reading: &mut Reading<'_>,
    bookmark: Bookmark,
    sink: &mut dyn Sink,
) -> Result<Outcome, PullError> {
    match bookmark.place {
        Place::Syncrepl { .. } if bookmark.url != reading.session.url() => {
            Err(expired(format!("it was made at {}", bookmark.url)))
        }
        Place::Syncrepl { users, groups, containers } => {
            syncrepl::changes(reading, [users, groups, containers], sink).await
        }
        Place::DirSync(place) => active_directory::dirsync(reading, place, sink).await,
        Place::Usn(place) => active_directory::usn(reading, place, sink).await,
    }
}

/// The cursor does not serve; the next crawl is full.
pub fn expired(reason: impl Into<String>) -> PullError {
    PullError::CursorExpired { reason: reason.into() }
}

async fn seal(reading: Reading<'_>, outcome: Outcome) -> Seal {
    let bookmark = outcome.place.map(|place| Bookmark {
        url: reading.session.url().to_owned(),
        address: reading.session.address(),
        place,
    });
    let mut proof = outcome.proof;
    let references = reading.session.references();
    if references > 0 {
        proof.push_str(&format!("; {references} references to other servers were not followed"));
    }
    Seal {
        extent: outcome.extent,
        cursor: bookmark.map(|bookmark| bookmark.write()),
        proof: proof.into(),
        verified: Verified::default(),
        requests: reading.session.close().await,
        malformed: 0,
    }
}

/// Reads every user and every group.
///
/// # Errors
/// On any doubt that it is everything.
pub async fn read_all(reading: &mut Reading<'_>, sink: &mut dyn Sink) -> Result<String, PullError> {
    let config = reading.mapper.config;
    let controls = extended_names(reading.root.flavour);

    let wanted = reading.mapper.user_attributes();
    let users =
        subtree("users", &config.users.base, &config.users.filter, &wanted, controls.clone());
    let mut pages = Pages::new(users, reading.page_size);
    while let Some(entries) = pages.next(&mut reading.session).await? {
        let items =
            entries.iter().map(|entry| user_item(reading, entry)).collect::<Result<_, _>>()?;
        sink.page(items);
    }
    let (user_count, user_pages) = (pages.entries, pages.count);
    reading.page_size = pages.size();

    let wanted = reading.mapper.group_attributes();
    let groups =
        subtree("groups", &config.groups.base, &config.groups.filter, &wanted, controls.clone());
    let mut pages = Pages::new(groups, reading.page_size);
    while let Some(entries) = pages.next(&mut reading.session).await? {
        for entry in entries {
            let items = group_items(reading, entry, &controls).await?;
            sink.page(items);
        }
        sink.page(Vec::new());
    }
    let (group_count, group_pages) = (pages.entries, pages.count);
    reading.page_size = pages.size();

    Ok(format!(
        "{user_count} users in {user_pages} pages and {group_count} groups in {group_pages} pages, \
         each list ended by the server's own end mark"
    ))
}

/// The user that an entry is.
///
/// # Errors
/// When its id cannot be read: without one it cannot be told from others.
pub fn user_item(reading: &Reading<'_>, entry: &Entry) -> Result<Item, PullError> {
    let item = reading.mapper.user(entry);
    item.map(Item::User).ok_or_else(|| hidden_id(reading, entry, reading.mapper.user_id()))
}

/// The group that an entry is, and its members.
///
/// # Errors
/// When its id or a part of its members cannot be read.
pub async fn group_items(
    reading: &mut Reading<'_>,
    mut entry: Entry,
    controls: &[RawControl],
) -> Result<Vec<Item>, PullError> {
    ranges::complete(&mut reading.session, &mut entry, controls).await?;
    let item = group_item(reading, &entry)?;
    let group = Reference::Group(item.group.id.clone());
    let members = reading.mapper.members(&entry);
    Ok(vec![Item::Group(item), Item::Members { group, members }])
}

/// The group that an entry is, without its members.
///
/// # Errors
/// When its id cannot be read.
pub fn group_item(
    reading: &Reading<'_>,
    entry: &Entry,
) -> Result<crate::provider::GroupItem, PullError> {
    let item = reading.mapper.group(entry);
    item.ok_or_else(|| hidden_id(reading, entry, reading.mapper.group_id()))
}

fn hidden_id(reading: &Reading<'_>, entry: &Entry, attribute: &str) -> PullError {
    PullError::Unauthorized {
        what: reading.session.url().to_owned(),
        reason: format!(
            "{} shows no `{attribute}`, its immutable id",
            super::map::plain(&entry.dn)
        ),
        permission: Some(format!("read `{attribute}`")),
    }
}

/// Active Directory tells ids within names when asked to.
pub fn extended_names(flavour: Flavour) -> Vec<RawControl> {
    match flavour {
        Flavour::Ad => vec![active_directory::extended_names()],
        _ => Vec::new(),
    }
}
