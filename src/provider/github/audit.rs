//! What changed, by the organization's audit log (Enterprise).
//!
//! The log comes late and is kept by another system, so it is only a hint:
//! what it names is read anew, each poll looks back a while again, and what it
//! does not explain (teams that were made, renamed or deleted) makes the poll
//! a full crawl.
//! <https://docs.github.com/enterprise-cloud@latest/rest/orgs/orgs#get-the-audit-log-for-an-organization>

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::access::Connection;
use super::config::{Extra, Incremental};
use super::graphql::Trouble;
use super::map::{Standing, team};
use super::members;
use super::proof::{Interface, Seen};
use super::ready::{Ready, ready};
use super::teams::{self, Batch};
use super::vendor::{is_forbidden, message_of};
use super::{Github, NAME};
use crate::clock::{self, Duration, Timestamp};
use crate::model::Reference;
use crate::provider::http::{Cursors, Quarantine};
use crate::provider::{Cursor, Extent, Item, Proof, PullError, Seal, Sink, Verified};

/// How far each poll looks back behind the one before.
const OVERLAP: Duration = Duration::from_mins(10);
/// With more pages than this to read, or more to read anew, all is read.
const PAGES_MAX: u64 = 10;
const PEOPLE_MAX: usize = 20;
const TEAMS_MAX: usize = 500;

const VERSION: u8 = 3;
/// How GitHub says that there is no log, or not for this credential.
const HIDDEN: &[u16] = &[400, 404, 422];
const ENDPOINT: &str = "GET /orgs/{org}/audit-log";

#[derive(Debug, Serialize, Deserialize)]
struct Bookmark {
    version: u8,
    /// What happened before this was read.
    since: u64,
    /// When everything was read last; 0 where the log is not visible, so that
    /// every poll reads everything.
    whole_at: u64,
    /// What was visible: this is how it is remembered over a restart.
    seen: Seen,
    /// Entries of the log that were acted upon, as far as it is looked at again.
    handled: BTreeSet<String>,
}

impl Bookmark {
    fn of(cursor: &Cursor) -> Result<Bookmark, PullError> {
        let bookmark: Option<Bookmark> = serde_json::from_slice(&cursor.0).ok();
        bookmark.filter(|bookmark| bookmark.version == VERSION).ok_or_else(|| {
            PullError::CursorExpired { reason: "the cursor is of another version".to_owned() }
        })
    }
}

/// What was visible when this cursor was made, if it is one of ours.
pub fn seen(cursor: &Cursor) -> Option<Seen> {
    Bookmark::of(cursor).ok().map(|bookmark| bookmark.seen)
}

/// The cursor after a full crawl that began at `started`.
///
/// # Errors
/// When the settings ask for the log, and it is not visible.
pub async fn begin(github: &mut Github, started: Timestamp) -> Result<Cursor, PullError> {
    let whole_at = if has_log(github).await? { started } else { Timestamp(0) };
    // What the log named before this crawl began was read since.
    let handled = std::mem::take(&mut github.handled);
    Ok(cursor(started, whole_at, &github.seen, handled))
}

async fn has_log(github: &mut Github) -> Result<bool, PullError> {
    if github.access.config.incremental == Incremental::Off {
        return Ok(false);
    }
    for name in github.access.config.organizations.clone() {
        let connection = github.access.to(&name)?;
        if let Err(error) = probe(&connection).await? {
            let is_wanted = connection.config.incremental == Incremental::AuditLog;
            return if is_wanted { Err(error) } else { Ok(false) };
        }
    }
    Ok(true)
}

/// Whether the log is visible; the inner error says why it is not.
///
/// # Errors
/// When that cannot be told.
pub async fn probe(connection: &Connection) -> Result<Result<(), PullError>, PullError> {
    let path = format!("/orgs/{}/audit-log", connection.organization);
    let call = connection.get(ENDPOINT, &path, &[("per_page", "1")]).accept(HIDDEN);
    match connection.send(call).await {
        Ok(answer) if answer.status.is_success() => {
            answer.json::<Vec<Value>>()?;
            Ok(Ok(()))
        }
        Ok(answer) => Ok(Err(PullError::Unauthorized {
            what: format!("the audit log of {}", connection.organization),
            reason: message_of(&answer),
            permission: Some(
                "Administration: Read-only of the organization (classic token: read:audit_log of an \
                 owner), in GitHub Enterprise Cloud"
                    .to_owned(),
            ),
        })),
        Err(error) if is_forbidden(&error) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// Reads what changed since `cursor`; `None` when everything is to be read.
///
/// # Errors
/// At the first doubt.
pub async fn changes(
    github: &mut Github,
    cursor: &Cursor,
    sink: &mut dyn Sink,
) -> Result<Option<Seal>, PullError> {
    let bookmark = Bookmark::of(cursor)?;
    github.seen.recall(&bookmark.seen);
    let now = clock::now();
    let (since, whole_at) = (Timestamp(bookmark.since), Timestamp(bookmark.whole_at));
    // Servers do not tell in this log who is suspended.
    let is_blind = whole_at.0 == 0 || github.access.config.is_server();
    if is_blind || whole_at.plus(github.access.config.http.verify_within) <= now {
        return Ok(None);
    }
    let mut all: Vec<(String, Hints)> = Vec::new();
    github.handled.clear();
    for name in github.access.config.organizations.clone() {
        let connection = github.access.to(&name)?;
        let from = since.minus(OVERLAP);
        let read = read_log(&connection, from, &bookmark.handled, &mut github.handled).await?;
        let Some(hints) = read else { return Ok(None) };
        sink.page(Vec::new());
        all.push((name, hints));
    }
    let (mut people, mut teams, mut malformed) = (0, 0, 0);
    if all.iter().any(|(_, hints)| !hints.is_empty()) {
        let Some(read) = apply(github, &all, sink).await? else { return Ok(None) };
        (people, teams, malformed) = read;
    }
    let handled = std::mem::take(&mut github.handled);
    Ok(Some(Seal {
        extent: Extent::Changes,
        cursor: Some(self::cursor(now, whole_at, &github.seen, handled)),
        proof: Proof::from(format!(
            "the audit log was read to its end; it names {people} people and {teams} teams, which \
             were read anew"
        )),
        verified: Verified::default(),
        requests: github.access.take_audit(),
        malformed,
    }))
}

fn cursor(since: Timestamp, whole_at: Timestamp, seen: &Seen, handled: BTreeSet<String>) -> Cursor {
    let (seen, since, whole_at) = (seen.clone(), since.0, whole_at.0);
    let bookmark = Bookmark { version: VERSION, since, whole_at, seen, handled };
    Cursor(serde_json::to_vec(&bookmark).unwrap_or_default())
}

/// What the log says is to be read anew.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hints {
    /// Slugs.
    teams: BTreeSet<String>,
    /// Ids by login, and whether the last that the log says is that they left.
    people: BTreeMap<String, (u64, bool)>,
}

impl Hints {
    fn is_empty(&self) -> bool {
        self.teams.is_empty() && self.people.is_empty()
    }

    /// Takes in one entry; `false` when only a full crawl shows what it means.
    fn take(&mut self, entry: &Value, extras: bool) -> bool {
        let Some(action) = entry["action"].as_str() else { return false };
        match action {
            "team.add_member"
            | "team.remove_member"
            | "team.promote_maintainer"
            | "team.demote_maintainer" => {
                let slug = entry["team"].as_str().and_then(|team| team.rsplit('/').next());
                self.teams.extend(slug.map(str::to_owned));
                slug.is_some()
            }
            "org.add_member" | "org.update_member" | "org.remove_member" => {
                let login = entry["user"].as_str();
                let Some((login, id)) = login.zip(entry["user_id"].as_u64()) else { return false };
                // Accepting an invitation ends it, which shows in its list only.
                if action == "org.add_member" && extras {
                    return false;
                }
                let has_left = action == "org.remove_member";
                let known = self.people.insert(login.to_owned(), (id, has_left));
                // Or else the name is another's now.
                known.is_none_or(|(known, _)| known == id)
            }
            // Who loses or gets access to a repository may be an outsider.
            "repo.add_member" | "repo.remove_member" | "repo.update_member" => !extras,
            // What teams may do with repositories is not told here.
            _ if action.starts_with("team.") => action.contains("repository"),
            _ if action.starts_with("org.") => HARMLESS.contains(&action),
            _ if action.starts_with("user.") => false,
            _ => true,
        }
    }
}

/// What is done to an organization without changing who is in it.
const HARMLESS: &[&str] = &[
    "org.audit_log_export",
    "org.audit_log_git_event_export",
    "org.advanced_security_policy_selected_member_enabled",
    "org.codespaces_access_updated",
    "org.oauth_app_access_approved",
    "org.oauth_app_access_denied",
    "org.oauth_app_access_requested",
    "org.register_self_hosted_runner",
    "org.remove_self_hosted_runner",
    "org.runner_group_created",
    "org.runner_group_removed",
    "org.runner_group_updated",
    "org.self_hosted_runner_offline",
    "org.self_hosted_runner_online",
    "org.self_hosted_runner_updated",
    "org.update_default_repository_permission",
];

/// `None`: read everything.
///
/// Entries in `handled` were acted upon; `met` are all that are there.
async fn read_log(
    connection: &Connection,
    from: Timestamp,
    handled: &BTreeSet<String>,
    met: &mut BTreeSet<String>,
) -> Result<Option<Hints>, PullError> {
    let extras = connection.config.outside_collaborators != Extra::Off
        || connection.config.pending_invitations != Extra::Off;
    let phrase = format!("created:>={from}");
    let query =
        [("phrase", phrase.as_str()), ("include", "web"), ("order", "asc"), ("per_page", "100")];
    let path = format!("/orgs/{}/audit-log", connection.organization);
    let mut call = connection.get(ENDPOINT, &path, &query);
    let mut cursors = Cursors::new("GitHub audit log");
    let mut hints = Hints::default();
    let mut is_explained = true;
    for _ in 0..PAGES_MAX {
        let answer = match connection.send(call.accept(HIDDEN)).await {
            // It was visible once; a full crawl finds out what is now.
            Err(error) if is_forbidden(&error) => return Ok(None),
            answer => answer?,
        };
        if !answer.status.is_success() {
            return Ok(None);
        }
        for entry in answer.json::<Vec<Value>>()? {
            let id = entry["_document_id"].as_str().map(str::to_owned);
            let is_known = id.as_ref().is_some_and(|id| handled.contains(id));
            met.extend(id);
            // To the end all the same: the full crawl acts upon all of it.
            is_explained &= is_known || hints.take(&entry, extras);
        }
        match answer.next_link()? {
            Some(next) => {
                cursors.pass(next.as_str())?;
                call = connection.follow(ENDPOINT, next);
            }
            None => {
                let is_much = hints.people.len() > PEOPLE_MAX || hints.teams.len() > TEAMS_MAX;
                return Ok((is_explained && !is_much).then_some(hints));
            }
        }
    }
    Ok(None)
}

/// Reads anew what is named: people, teams, and how many were malformed.
async fn apply(
    github: &mut Github,
    all: &[(String, Hints)],
    sink: &mut dyn Sink,
) -> Result<Option<(usize, usize, u64)>, PullError> {
    let everything = ready(github).await?;
    let mut quarantine = Quarantine::new(NAME);
    let (mut people, mut teams, mut refused) = (0, 0, 0);
    for (ready, (_, hints)) in everything.iter().zip(all) {
        // Of somebody in several organizations one of them shows only a part.
        let is_partial = everything.len() > 1 && !hints.people.is_empty();
        if is_partial || ready.facts.by == Interface::Rest {
            return Ok(None);
        }
        people += hints.people.len();
        if !read_people(ready, hints, sink, &mut quarantine).await? {
            return Ok(None);
        }
        teams += hints.teams.len();
        match read_teams(ready, hints, sink, &mut quarantine).await {
            Ok(count) => refused += count,
            Err(Trouble::Gone(_) | Trouble::Heavy(_)) => return Ok(None),
            Err(trouble) => return Err(trouble.into_error()),
        }
    }
    Ok(Some((people, teams, quarantine.count() + refused)))
}

/// `false` when an account cannot be found by its name.
async fn read_people(
    ready: &Ready,
    hints: &Hints,
    sink: &mut dyn Sink,
    quarantine: &mut Quarantine,
) -> Result<bool, PullError> {
    let mut there = Vec::new();
    let mut gone = Vec::new();
    for (login, (id, has_left)) in &hints.people {
        match (standing(&ready.connection, login).await?, has_left) {
            (Some(standing), false) => there.push((login.clone(), standing)),
            (None, true) => gone.push(Item::UserDeleted(Reference::User(id.to_string()))),
            // Renamed, or back again, or somebody else of that name.
            _ => return Ok(false),
        }
    }
    match members::by_login(ready, &there, quarantine).await {
        Ok(items) => {
            let wanted: BTreeSet<String> = there
                .iter()
                .filter_map(|(login, _)| Some(hints.people.get(login)?.0.to_string()))
                .collect();
            if items.iter().any(|item| !wanted.contains(&item.user.id)) {
                return Ok(false);
            }
            sink.page(gone);
            let items = items.into_iter().map(Item::User);
            sink.page(items.chain(quarantine.take_kept()).collect());
            Ok(true)
        }
        Err(Trouble::Gone(_)) => Ok(false),
        Err(trouble) => Err(trouble.into_error()),
    }
}

/// `None`: not a member (any more, or not yet).
async fn standing(connection: &Connection, login: &str) -> Result<Option<Standing>, PullError> {
    #[derive(Deserialize)]
    struct Membership {
        state: String,
        role: String,
    }
    let path = format!("/orgs/{}/memberships/{login}", connection.organization);
    let call = connection.get("GET /orgs/{org}/memberships/{username}", &path, &[]).accept(&[404]);
    let answer = connection.object_again(call).await?;
    if answer.status.as_u16() == 404 {
        return Ok(None);
    }
    let found: Membership = answer.json()?;
    let standing = if found.role == "admin" { Standing::Owner } else { Standing::Member };
    Ok((found.state == "active").then_some(standing))
}

/// How many teams were refused.
async fn read_teams(
    ready: &Ready,
    hints: &Hints,
    sink: &mut dyn Sink,
    quarantine: &mut Quarantine,
) -> Result<u64, Trouble> {
    let slugs: Vec<String> = hints.teams.iter().cloned().collect();
    let mut refused = 0;
    for some in slugs.chunks(teams::AT_ONCE) {
        let mut batch = teams::by_slug(&ready.connection, some, quarantine).await?;
        loop {
            let Batch { teams: found, refused: hidden } = batch;
            refused += hidden.len() as u64;
            let mut items: Vec<Item> = hidden.into_iter().map(Item::Kept).collect();
            items.extend(quarantine.take_kept());
            let (whole, open): (Vec<_>, Vec<_>) =
                found.into_iter().partition(super::teams::Team::is_whole);
            for found in whole {
                found.check(&ready.facts.login)?;
                items.extend(team(&found, &ready.facts));
            }
            sink.page(items);
            if open.is_empty() {
                break;
            }
            batch = teams::read_on(&ready.connection, open).await?;
        }
    }
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn take(entry: Value) -> Option<Hints> {
        let mut hints = Hints::default();
        hints.take(&entry, true).then_some(hints)
    }

    #[test]
    fn the_log_names_what_is_to_be_read_anew() {
        let hints = take(json!({ "action": "team.add_member", "team": "acme/devs" })).unwrap();
        assert_eq!(hints.teams, BTreeSet::from(["devs".to_owned()]));
        let removed = json!({ "action": "org.remove_member", "user": "ann", "user_id": 7 });
        assert_eq!(take(removed).unwrap().people, BTreeMap::from([("ann".to_owned(), (7, true))]));
        assert!(take(json!({ "action": "repo.create" })).unwrap().is_empty());
        assert!(take(json!({ "action": "team.add_repository" })).unwrap().is_empty());
    }

    #[test]
    fn r18_what_the_log_does_not_explain_is_read_in_full() {
        for entry in [
            json!({ "action": "team.destroy", "team": "acme/devs" }),
            json!({ "action": "team.rename", "team": "acme/devs" }),
            json!({ "action": "team.create", "team": "acme/devs" }),
            json!({ "action": "team.change_parent_team", "team": "acme/devs" }),
            json!({ "action": "team.add_member" }),
            json!({ "action": "org.remove_member", "user": "ann" }),
            json!({ "action": "org.rename" }),
            json!({ "action": "org.invite_member" }),
            json!({ "action": "org.add_member", "user": "ann", "user_id": 7 }),
            json!({ "action": "org.restore_member", "user": "ann", "user_id": 7 }),
            json!({ "action": "org.something_new" }),
            json!({ "action": "repo.remove_member" }),
            json!({}),
        ] {
            assert_eq!(take(entry.clone()), None, "{entry}");
        }
    }

    #[test]
    fn r14_a_login_that_is_another_accounts_now_is_read_in_full() {
        let entry =
            |action: &str, id: u64| json!({ "action": action, "user": "ann", "user_id": id });
        let mut hints = Hints::default();
        assert!(hints.take(&entry("org.remove_member", 7), false));
        assert_eq!(hints.people["ann"], (7, true));
        assert!(hints.take(&entry("org.add_member", 7), false), "back again");
        assert_eq!(hints.people["ann"], (7, false));
        assert!(!hints.take(&entry("org.add_member", 8), false));
    }
}
