//! One `[webhook.NAME]` block.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::address::{self, Reach};
use super::filter;
use super::format::{self, Format};
use super::polis::PolisKey;
use super::sign::SigningKeys;
use crate::config::{SecretSource, Section};
use crate::model::{EventKind, Filter};
use crate::store::AttemptRetention;

/// Headers that a delivery sets itself.
const OWN_HEADERS: [&str; 5] =
    ["content-length", "content-type", "host", "transfer-encoding", "user-agent"];

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: Duration = Duration::from_hours(24);

/// The delays that Standard Webhooks recommends, in seconds.
const SCHEDULE_SECONDS: [u64; 9] =
    [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];

/// Deliveries under way at once, where order is kept per user.
const CONCURRENCY: usize = 8;
const CONCURRENCY_MAX: i64 = 64;

const BATCH_MAX: i64 = 1000;

/// Standard Webhooks recommends 15 to 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Where and how events are delivered.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    pub name: String,
    pub url: Url,
    /// What is sent and how it is signed, with the keys for it.
    pub format: Format,
    pub secret_source: SecretSource,
    pub filter: Filter,
    /// Which events may overtake others.
    pub ordering: Ordering,
    /// Deliveries under way at once.
    pub concurrency: usize,
    /// Events in one delivery; above one, deliveries are batches.
    pub batch_max: usize,
    /// What is told of the first sync of a directory.
    pub on_first_sync: FirstSync,
    /// Whether attempts are noted in the delivery log.
    pub log_deliveries: bool,
    /// How long they are kept there.
    pub deliveries_retention: AttemptRetention,
    /// Never empty. The endpoint is disabled when an attempt after the last
    /// delay fails too.
    pub retry_schedule: Vec<Duration>,
    /// Which addresses the host's name may lead to.
    pub reach: Reach,
    /// For one delivery, from connecting to the end of the answer.
    pub timeout: Duration,
    pub headers: HeaderMap,
    /// Authorities to trust instead of the system's, as PEM.
    pub ca: Option<Vec<u8>>,
}

/// Which order of events is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// That of the journal.
    #[default]
    Ordered,
    /// For each user and each group that of the journal.
    PerUser,
}

/// What an endpoint is told of the first sync of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstSync {
    /// Each user, group and membership.
    #[default]
    Events,
    /// `directory.synced`, which has counts.
    Summary,
}

impl WebhookConfig {
    /// Reads the block; `None` when it noted a mistake.
    pub fn read(section: &mut Section<'_>) -> Option<WebhookConfig> {
        let name = section.name().to_owned();
        let allow_private = section.boolean("allow_private").unwrap_or(false);
        let url = read_url(section, allow_private);
        let format = read_format(section);
        let secret_source = section.secret_source("secret");
        let filter = filter::read(section);
        let pace = read_pace(section);
        let on_first_sync = section.one_of(
            "on_first_sync",
            &[("events", FirstSync::Events), ("summary", FirstSync::Summary)],
        );
        let log_deliveries = section.boolean("log_deliveries").unwrap_or(false);
        let deliveries_retention = read_deliveries_retention(section);
        let retry_schedule = read_schedule(section);
        let second = Duration::from_secs(1);
        let timeout = section.duration_within("timeout", second..=Duration::from_secs(MINUTE));
        let headers = read_headers(section);
        let ca = section.authorities("ca");
        let on_first_sync = on_first_sync.unwrap_or_default();
        let filter = sendable(section, filter, format.as_ref(), on_first_sync);
        let url = url?;
        let (ordering, concurrency, batch_max) = pace?;
        Some(WebhookConfig {
            name,
            reach: Reach::of(&url, allow_private),
            url,
            filter: filter?,
            format: format?,
            secret_source: secret_source?,
            ordering,
            concurrency,
            batch_max,
            on_first_sync,
            log_deliveries,
            deliveries_retention,
            retry_schedule: retry_schedule?,
            timeout: timeout.unwrap_or(TIMEOUT),
            headers: headers?,
            ca,
        })
    }

    /// The address without its query, which may hold a token.
    pub fn shown_url(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.to_string()
    }
}

fn read_url(section: &mut Section<'_>, allow_private: bool) -> Option<Url> {
    let url = section.required_url("url")?;
    if !allow_private && address::names_a_private_host(&url) {
        let hint = "set allow_private = true if this is meant";
        section.error("url", "`url` leads to this host or a private network", Some(hint.into()));
        return None;
    }
    Some(url)
}

fn read_format(section: &mut Section<'_>) -> Option<Format> {
    let words = [("standard", false), ("polis", true)];
    let is_polis = match section.has("format") {
        true => section.one_of("format", &words),
        false => Some(false),
    };
    let secret = section.required_secret("secret")?;
    if is_polis? {
        let key = PolisKey::parse(secret.expose());
        let hint = "take the receiver's own, or make one with: openssl rand -hex 32";
        return key.map(Format::Polis).map_err(|error| refuse(section, &error, hint)).ok();
    }
    let hint = "make one with: echo whsec_$(head -c 32 /dev/urandom | base64)";
    let keys = SigningKeys::parse(secret.expose());
    let refuse_all = |errors: Vec<_>| errors.iter().for_each(|error| refuse(section, error, hint));
    keys.map(Format::Standard).map_err(refuse_all).ok()
}

fn refuse(section: &mut Section<'_>, error: &impl ToString, hint: &str) {
    section.error("secret", error.to_string(), Some(hint.to_owned()));
}

/// Without the events that the format does not have.
fn sendable(
    section: &mut Section<'_>,
    filter: Option<Filter>,
    format: Option<&Format>,
    on_first_sync: FirstSync,
) -> Option<Filter> {
    let format = format?;
    if on_first_sync == FirstSync::Summary && !format.sends(EventKind::DirectorySynced) {
        let message = format!("the format `{}` has no event for a summary", format.as_str());
        let hint = "leave `on_first_sync` out: a first sync is told event by event";
        section.error("on_first_sync", message, Some(hint.to_owned()));
        return None;
    }
    let filter = filter?.only(|kind| format.sends(kind));
    let Some(filter) = filter else {
        let message = format!("the format `{}` has none of these events", format.as_str());
        let hint = "leave `events` out, or name types of `user.*` and `group.*`";
        section.error("events", message, Some(hint.to_owned()));
        return None;
    };
    if on_first_sync == FirstSync::Summary {
        let summaries = [EventKind::DirectorySynced, EventKind::DirectoryRemoved];
        if let Some(missing) = summaries.into_iter().find(|kind| !filter.has(*kind)) {
            refuse_summary(section, missing);
            return None;
        }
    }
    Some(filter)
}

fn refuse_summary(section: &mut Section<'_>, missing: EventKind) {
    let message = format!("`events` leaves out the summary, `{}`", missing.as_str());
    let hint = "add \"directory.synced\" and \"directory.removed\" to `events`, or leave \
                `on_first_sync` out: a first sync is told event by event";
    section.error("on_first_sync", message, Some(hint.to_owned()));
}

fn read_deliveries_retention(section: &mut Section<'_>) -> AttemptRetention {
    let minute = Duration::from_secs(MINUTE);
    let age = section.duration_within("deliveries_retention", minute..=DAY * 365);
    let attempts_max = section.integer("deliveries_max", 10..=1_000_000);
    AttemptRetention {
        age: age.unwrap_or(DAY * 7),
        attempts_max: attempts_max.and_then(|max| u64::try_from(max).ok()).unwrap_or(10_000),
    }
}

fn read_pace(section: &mut Section<'_>) -> Option<(Ordering, usize, usize)> {
    let words = [("ordered", Ordering::Ordered), ("per_user", Ordering::PerUser)];
    let ordering = section.one_of("ordering", &words).unwrap_or_default();
    let number = |given: Option<i64>, default| {
        given.and_then(|given| usize::try_from(given).ok()).unwrap_or(default)
    };
    let default = if ordering == Ordering::PerUser { CONCURRENCY } else { 1 };
    let concurrency = number(section.integer("concurrency", 1..=CONCURRENCY_MAX), default);
    let batch_max = number(section.integer("batch_max", 1..=BATCH_MAX), 1);
    if ordering == Ordering::Ordered && concurrency != 1 {
        let hint = "set ordering = \"per_user\", or leave `concurrency` out".to_owned();
        let message = "`concurrency` is 1 while all events keep their order";
        section.error("concurrency", message, Some(hint));
        return None;
    }
    if ordering == Ordering::PerUser && batch_max != 1 {
        let message = "`batch_max` does not go with ordering = \"per_user\": a batch is in order";
        section.error("batch_max", message, Some("leave one of the two out".to_owned()));
        return None;
    }
    Some((ordering, concurrency, batch_max))
}

fn read_schedule(section: &mut Section<'_>) -> Option<Vec<Duration>> {
    if !section.has("retry_schedule") {
        return Some(SCHEDULE_SECONDS.into_iter().map(Duration::from_secs).collect());
    }
    let schedule = section.durations("retry_schedule")?;
    if schedule.is_empty() || schedule.contains(&Duration::ZERO) {
        section.error("retry_schedule", "`retry_schedule` needs delays above zero", None);
        return None;
    }
    Some(schedule)
}

fn read_headers(section: &mut Section<'_>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut is_good = true;
    let listed = section.section("headers").map(Section::into_texts).unwrap_or_default();
    for (name, value) in listed {
        match header(&name, &value) {
            Ok((name, value)) => {
                headers.insert(name, value);
            }
            Err(message) => {
                section.error("headers", message, None);
                is_good = false;
            }
        }
    }
    if let Some(authorization) = section.secret("authorization") {
        match HeaderValue::from_str(authorization.expose()) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            Err(_) => {
                section.error("authorization", "`authorization` cannot stand in a header", None);
                is_good = false;
            }
        }
    }
    is_good.then_some(headers)
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let shown = name.escape_debug();
    let name: HeaderName = name.parse().map_err(|_| format!("`{shown}` is no name of a header"))?;
    if name == AUTHORIZATION {
        return Err("give `authorization = { file = \"…\" }` beside `headers`".into());
    }
    if OWN_HEADERS.contains(&name.as_str()) || format::is_own_header(name.as_str()) {
        return Err(format!("the header `{name}` is set by every delivery itself"));
    }
    let value = HeaderValue::from_str(value)
        .map_err(|_| format!("the value of the header `{name}` cannot stand in a header"))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n";

    fn read(block: &str) -> Result<WebhookConfig, String> {
        read_with(SECRET, block)
    }

    fn read_with(content: &str, block: &str) -> Result<WebhookConfig, String> {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), content).unwrap();
        let text = format!("[webhook.audit]\nsecret = {{ file = {:?} }}\n{block}", secret.path());
        section::read_text(&text, |root| {
            let (_, mut section) = root.sections("webhook").pop()?;
            WebhookConfig::read(&mut section)
        })
        .map_err(|report| report.to_string())
    }

    #[test]
    fn the_block_is_read_with_its_defaults() {
        let config = read("url = \"https://hooks.example.org/x?token=1\"").unwrap();
        assert_eq!(config.name, "audit");
        assert_eq!(config.shown_url(), "https://hooks.example.org/x");
        assert_eq!(config.retry_schedule.len(), 9);
        assert_eq!(config.timeout, TIMEOUT);
        assert_eq!(config.reach, Reach::Public);
        assert_eq!((config.ordering, config.concurrency), (Ordering::Ordered, 1));
        assert_eq!((config.batch_max, config.on_first_sync), (1, FirstSync::Events));
        assert!(!config.log_deliveries);
        let kept = config.deliveries_retention;
        assert_eq!((kept.age, kept.attempts_max), (DAY * 7, 10_000));
        assert!(config.filter.admits(EventKind::UserDeleted, "acme", "vpn", "corp"));
        assert!(!format!("{config:?}").contains("MfKQ"));
    }

    #[test]
    fn every_mistake_is_noted() {
        let report = read(
            "url = \"https://10.0.0.1/\"\nevents = [\"user.*\", \"grup.*\"]\nretry_schedule = []\n\
             timeout = \"5m\"\nheaders = { Authorization = \"x\", Webhook-Id = \"y\" }\n",
        )
        .unwrap_err();
        for expected in
            ["private network", "grup.*", "above zero", "between", "authorization", "webhook-id"]
        {
            assert!(report.contains(expected), "{expected} in {report}");
        }
    }

    #[test]
    fn each_of_several_secrets_must_be_right() {
        let url = "url = \"https://hooks.example.org/\"";
        assert!(read_with(&format!("{SECRET} {SECRET}"), url).is_ok());
        let report = read_with(&format!("{SECRET}MfKQ9r8GKYqrTwjUPD8ILPZI"), url).unwrap_err();
        assert!(report.contains("secret 2 of 2") && !report.contains("MfKQ"), "{report}");
    }

    #[test]
    fn the_format_polis_has_its_own_secrets_and_fewer_events() {
        let polis = "url = \"https://hooks.example.org/\"\nformat = \"polis\"\n";
        let key = "sixteen letters!\n";
        let config = read_with(key, polis).unwrap();
        assert_eq!(config.format.as_str(), "polis");
        let admits = |kind| config.filter.admits(kind, "acme", "vpn", "corp");
        assert!(admits(EventKind::GroupUserAdded) && !admits(EventKind::GroupGroupAdded));
        assert!(admits(EventKind::UserDeleted) && !admits(EventKind::DirectorySynced));

        assert!(read_with("too short\n", polis).unwrap_err().contains("too short: 16"));
        assert!(read_with(key, "url = \"https://x.org/\"").is_err());
        let report = read(&format!("{polis}events = [\"directory.*\", \"group.group_*\"]"));
        assert!(report.unwrap_err().contains("has none of these events"));
        let report = read_with(key, &format!("{polis}on_first_sync = \"summary\""));
        assert!(report.unwrap_err().contains("no event for a summary"));
        let report = read(&format!("{polis}headers = {{ BoxyHQ-Signature = \"t=1\" }}"));
        assert!(report.unwrap_err().contains("set by every delivery"));
    }

    #[test]
    fn many_at_once_are_for_the_order_per_user_and_batches_are_not() {
        let with = |more: &str| read(&format!("url = \"https://hooks.example.org/\"\n{more}"));
        assert_eq!(with("ordering = \"per_user\"").unwrap().concurrency, CONCURRENCY);
        assert_eq!(with("ordering = \"per_user\"\nconcurrency = 3").unwrap().concurrency, 3);
        assert_eq!(with("batch_max = 1000").unwrap().batch_max, 1000);
        for (wrong, said) in [
            ("concurrency = 2", "per_user"),
            ("ordering = \"per_user\"\nbatch_max = 2", "a batch is in order"),
            ("batch_max = 1001", "between 1 and 1000"),
            ("ordering = \"user\"", "per_user"),
            ("on_first_sync = \"none\"", "summary"),
        ] {
            let report = with(wrong).unwrap_err();
            assert!(report.contains(said), "{said} in {report}");
        }
    }

    #[test]
    fn a_summary_needs_the_events_that_sum_up() {
        let with = |events: &str| {
            let url = "url = \"https://hooks.example.org/\"\non_first_sync = \"summary\"";
            read(&format!("{url}\nevents = [{events}]"))
        };
        for (events, missing) in [
            ("\"user.*\", \"group.*\"", "directory.synced"),
            ("\"*.removed\"", "directory.synced"),
            ("\"user.*\", \"directory.synced\"", "directory.removed"),
        ] {
            let report = with(events).unwrap_err();
            let said = format!("leaves out the summary, `{missing}`");
            assert!(report.contains(&said) && report.contains("hint"), "{report}");
        }
        for events in ["\"*\"", "\"user.*\", \"directory.synced\", \"directory.removed\""] {
            assert_eq!(with(events).unwrap().on_first_sync, FirstSync::Summary);
        }
    }

    #[test]
    fn authorities_that_are_of_no_use_are_a_mistake() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let with = |content: &str| {
            std::fs::write(file.path(), content).unwrap();
            let ca = format!("ca = {:?}", file.path());
            read(&format!("url = \"https://hooks.example.org/\"\n{ca}"))
        };
        let made = rcgen::generate_simple_self_signed(["hooks".to_owned()]).unwrap();
        assert!(with(&made.cert.pem()).unwrap().ca.is_some());
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (content, said) in
            [("", "holds no certificate"), ("none", "holds no certificate"), (cut, "unusable")]
        {
            let report = with(content).unwrap_err();
            assert!(report.contains(said) && report.contains("config.toml:4:"), "{report}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_and_only_when_allowed() {
        assert!(read("url = \"http://127.0.0.1:9/\"").unwrap_err().contains("allow_private"));
        let config = read("url = \"http://localhost:9/\"\nallow_private = true").unwrap();
        assert_eq!(config.reach, Reach::Loopback);
        assert!(read("url = \"http://hooks.example.org/\"\nallow_private = true").is_err());
    }
}
