//! The audit feed of the Reports API: a hint at what to read again. It is
//! late, it repeats, and it does not tell everything.

use serde::Deserialize;
use serde_json::Value;

use super::api::{Api, Listed};
use super::bookmark::Bookmark;
use crate::clock::Timestamp;
use crate::digest::sha256_number;
use crate::provider::http::Cursors;
use crate::provider::{PullError, Sink};

/// What administrators do.
const ADMIN: &str = "admin";
/// What happens to groups, by whatever way; not every edition has the first.
const MEMBERS: [&str; 2] = ["groups_enterprise", "groups"];

/// One thing that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Tells it from others of the same time.
    pub key: u64,
    pub time: Timestamp,
    pub name: String,
    /// Every parameter with a text, in the order of the feed.
    pub parameters: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Activity {
    id: Id,
    #[serde(default)]
    events: Vec<Told>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Id {
    time: String,
    unique_qualifier: Option<Value>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    name: String,
    #[serde(default)]
    parameters: Vec<Parameter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameter {
    #[serde(default)]
    name: String,
    value: Option<String>,
    #[serde(default)]
    multi_value: Vec<String>,
}

/// Whether the feed could be read.
#[derive(Debug)]
pub enum Feed {
    Events(Vec<Event>),
    /// It is closed to us, for this reason.
    Closed(String),
}

/// All events since the bookmark, oldest first.
///
/// # Errors
/// When the feed cannot be read to its end.
pub async fn read(
    api: &Api,
    bookmark: &mut Bookmark,
    sink: &mut dyn Sink,
) -> Result<Feed, PullError> {
    let outcome = read_both(api, bookmark, sink).await;
    match outcome {
        Ok(mut events) => {
            events.sort_by_key(|event| (event.time, event.key));
            Ok(Feed::Events(events))
        }
        // A permission that is missing, not a token that was refused in passing.
        Err(error @ PullError::Unauthorized { permission: Some(_), .. }) => {
            Ok(Feed::Closed(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

/// Whether the feed answers, for `doctor`.
pub async fn probe(api: &Api, start: Timestamp) -> Result<(), PullError> {
    match api.activities(ADMIN, start, None).await? {
        Listed::Page(_) => Ok(()),
        Listed::Expired(_) | Listed::Missing => Err(incomplete(ADMIN, "there is none")),
    }
}

async fn read_both(
    api: &Api,
    bookmark: &mut Bookmark,
    sink: &mut dyn Sink,
) -> Result<Vec<Event>, PullError> {
    let start = bookmark.start();
    let read = read_one(api, ADMIN, start, sink).await?;
    let mut events = read.ok_or_else(|| incomplete(ADMIN, "there is none"))?;
    let known = bookmark.members_application.take();
    let others = MEMBERS.map(str::to_owned).into_iter().filter(|name| known.as_ref() != Some(name));
    let mut refused = None;
    for name in known.clone().into_iter().chain(others) {
        match read_one(api, &name, start, sink).await {
            Ok(Some(read)) => {
                bookmark.members_application = Some(name);
                events.extend(read);
                return Ok(events);
            }
            // What it told since the last poll is lost; a full crawl chooses anew.
            Ok(None) if known.as_ref() == Some(&name) => {
                let reason = format!("the audit feed of `{name}` is there no more");
                return Err(PullError::CursorExpired { reason });
            }
            Ok(None) => {}
            Err(error @ PullError::Unauthorized { permission: Some(_), .. })
                if known.as_ref() != Some(&name) =>
            {
                refused = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| incomplete(MEMBERS[0], "there is none")))
}

/// `None`: this customer has no such application.
async fn read_one(
    api: &Api,
    application: &str,
    start: Timestamp,
    sink: &mut dyn Sink,
) -> Result<Option<Vec<Event>>, PullError> {
    let mut events = Vec::new();
    let mut cursors = Cursors::new("the audit feed");
    let mut page: Option<String> = None;
    loop {
        let listed = api.activities(application, start, page.as_deref()).await?;
        sink.page(Vec::new());
        let listed = match listed {
            Listed::Page(listed) => listed,
            Listed::Missing if page.is_none() => return Ok(None),
            // 410 is "gone", and no other application has what this one had;
            // an application that a customer lacks is 400 or 404.
            Listed::Expired(reason) if page.is_none() => {
                return Err(PullError::CursorExpired { reason });
            }
            // The next poll starts it over.
            Listed::Expired(reason) => return Err(incomplete(application, &reason)),
            Listed::Missing => return Err(incomplete(application, "it ended in the middle")),
        };
        for activity in &listed.objects {
            events.extend(read_activity(application, activity)?);
        }
        let Some(next) = listed.next else { return Ok(Some(events)) };
        cursors.pass(&next)?;
        page = Some(next);
    }
}

fn read_activity(application: &str, value: &Value) -> Result<Vec<Event>, PullError> {
    let activity = Activity::deserialize(value)
        .map_err(|error| incomplete(application, &format!("an activity is malformed: {error}")))?;
    let time = Timestamp::parse(&activity.id.time)
        .map_err(|error| incomplete(application, &format!("an activity is malformed: {error}")))?;
    let qualifier = activity.id.unique_qualifier.map(|value| value.to_string());
    let told = activity.events.into_iter().enumerate();
    let events = told.map(|(number, told)| Event {
        key: key(&[application, qualifier.as_deref().unwrap_or_default(), &number.to_string()]),
        time,
        name: told.name,
        parameters: told.parameters.into_iter().flat_map(texts).collect(),
    });
    Ok(events.collect())
}

fn texts(parameter: Parameter) -> impl Iterator<Item = (String, String)> {
    let Parameter { name, value, multi_value } = parameter;
    value.into_iter().chain(multi_value).map(move |value| (name.clone(), value))
}

fn key(parts: &[&str]) -> u64 {
    sha256_number(parts.join("\0").as_bytes())
}

fn incomplete(application: &str, reason: &str) -> PullError {
    PullError::Incomplete {
        what: format!("the audit feed of `{application}`"),
        reason: reason.to_owned(),
    }
}
