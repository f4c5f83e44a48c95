//! `[directory.NAME]`: one connection to one provider.

use std::sync::Arc;
use std::time::Duration;

use super::section::quoted;
use super::{Fingerprint, Section, duration};
use crate::provider::registry::Read;
use crate::provider::{Patience, Settings};
use crate::sync::guard::Limits;
use crate::sync::poller::Checkpointing;

/// The table of providers: how to read each kind of `provider.KIND` block.
pub type Kinds<'a> = &'a [(&'a str, Read)];

const DAY: Duration = Duration::from_hours(24);

/// Settings of one directory.
#[derive(Clone, Debug)]
pub struct DirectoryConfig {
    pub name: String,
    pub tenant: String,
    pub product: String,
    pub poll: PollConfig,
    /// How old the directory may become before that is told.
    pub freshness_objective: Option<Duration>,
    pub limits: Limits,
    pub provider: Arc<dyn Settings>,
    /// Of the whole block with the secrets and files that it names.
    pub fingerprint: Fingerprint,
}

/// When a directory is polled, and how patiently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollConfig {
    /// From the end of one poll to the start of the next.
    pub min_delay: Duration,
    /// What the delay may grow to while polls fail.
    pub max_delay: Duration,
    /// A directory that is read incrementally is read in full this often.
    pub full_every: Duration,
    pub checkpoints: Checkpointing,
    pub patience: Patience,
}

impl DirectoryConfig {
    pub(super) fn read(section: &mut Section<'_>, kinds: Kinds<'_>) -> Option<DirectoryConfig> {
        let name = section.name().to_owned();
        let tenant = read_word(section, "tenant");
        let product = read_word(section, "product");
        let poll = section.section_or_empty("poll").and_then(|mut s| PollConfig::read(&mut s));
        let second = Duration::from_secs(1);
        let freshness_objective =
            section.duration_within("freshness_objective", second..=365 * DAY);
        let limits = section.section_or_empty("limits").map(|mut s| read_limits(&mut s));
        let provider = read_provider(section, kinds);
        let fingerprint = section.fingerprint();
        Some(DirectoryConfig {
            name,
            tenant: tenant?,
            product: product?,
            poll: poll?,
            freshness_objective,
            limits: limits?,
            provider: provider?,
            fingerprint,
        })
    }
}

impl PollConfig {
    fn read(section: &mut Section<'_>) -> Option<PollConfig> {
        let defaults = PollConfig::default();
        let delays = Duration::from_millis(100)..=365 * DAY;
        let timeouts = Duration::from_millis(100)..=DAY;
        let min_delay = section.duration_within("min_delay", delays.clone());
        let max_delay = section.duration_within("max_delay", delays);
        let request = section.duration_within("request_timeout", timeouts.clone());
        let stall = section.duration_within("stall_timeout", timeouts);
        let full_every = section.duration_within("full_every", Duration::from_secs(1)..=365 * DAY);
        let every = section.duration_within("checkpoint_every", Duration::ZERO..=DAY);
        let max_age =
            section.duration_within("checkpoint_max_age", Duration::from_secs(1)..=365 * DAY);
        let checkpoints = Checkpointing {
            every: every.unwrap_or(defaults.checkpoints.every),
            max_age: max_age.unwrap_or(defaults.checkpoints.max_age),
        };
        let delays = Pair { low: "min_delay", high: "max_delay" }.order(
            section,
            (min_delay, max_delay),
            (defaults.min_delay, defaults.max_delay),
        );
        let timeouts = Pair { low: "request_timeout", high: "stall_timeout" }.order(
            section,
            (request, stall),
            (defaults.patience.request_timeout, defaults.patience.stall_timeout),
        );
        let ((min_delay, max_delay), (request_timeout, stall_timeout)) = (delays?, timeouts?);
        let patience = Patience { request_timeout, stall_timeout };
        let full_every = full_every.unwrap_or(defaults.full_every);
        Some(PollConfig { min_delay, max_delay, full_every, checkpoints, patience })
    }
}

impl Default for PollConfig {
    fn default() -> PollConfig {
        PollConfig {
            min_delay: Duration::from_mins(1),
            max_delay: Duration::from_mins(10),
            full_every: DAY,
            checkpoints: Checkpointing { every: Duration::from_secs(10), max_age: DAY },
            patience: Patience {
                request_timeout: Duration::from_secs(30),
                stall_timeout: Duration::from_mins(2),
            },
        }
    }
}

fn read_limits(section: &mut Section<'_>) -> Limits {
    let defaults = Limits::default();
    let mut percent = |key, default| section.percent(key).unwrap_or(default);
    Limits {
        users_removed_percent_max: percent(
            "users_removed_percent_max",
            defaults.users_removed_percent_max,
        ),
        groups_removed_percent_max: percent(
            "groups_removed_percent_max",
            defaults.groups_removed_percent_max,
        ),
        members_removed_percent_max: percent(
            "members_removed_percent_max",
            defaults.members_removed_percent_max,
        ),
    }
}

/// Two durations of which the second must not be shorter.
struct Pair {
    low: &'static str,
    high: &'static str,
}

impl Pair {
    /// A default gives way to what is written for the other.
    fn order(
        self,
        section: &mut Section<'_>,
        written: (Option<Duration>, Option<Duration>),
        defaults: (Duration, Duration),
    ) -> Option<(Duration, Duration)> {
        match written {
            (Some(low), Some(high)) if high < low => {
                let message = format!("`{}` is shorter than `{}`", self.high, self.low);
                let hint = format!("make it at least \"{}\"", duration::format(low));
                section.error(self.high, message, Some(hint));
                None
            }
            (Some(low), Some(high)) => Some((low, high)),
            (Some(low), None) => Some((low, defaults.1.max(low))),
            (None, Some(high)) => Some((defaults.0.min(high), high)),
            (None, None) => Some(defaults),
        }
    }
}

/// Whether a text can name a directory, a webhook, a tenant or a product.
pub(super) fn is_name(text: &str) -> bool {
    const LENGTH_MAX: usize = 64;
    (1..=LENGTH_MAX).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// What [`is_name`] accepts, for people.
pub(super) const NAME_HINT: &str = "a name has 1 to 64 letters, digits, `-` and `_`";

fn read_word(section: &mut Section<'_>, key: &str) -> Option<String> {
    if !section.has(key) {
        return Some("default".to_owned());
    }
    let word = section.text(key)?;
    if is_name(&word) {
        return Some(word);
    }
    section.error(key, format!("`{key}` is not a name"), Some(NAME_HINT.to_owned()));
    None
}

/// `keep_raw` is for the provider; it may stand in either block.
fn read_provider(section: &mut Section<'_>, kinds: Kinds<'_>) -> Option<Arc<dyn Settings>> {
    let keep_raw = section.boolean("keep_raw").unwrap_or(false);
    let known = || quoted(kinds.iter().map(|(kind, _)| *kind));
    if !section.has("provider") {
        section.missing(
            "provider",
            Some(format!("write provider.KIND = {{ … }}; the kinds are {}", known())),
        );
        return None;
    }
    let mut provider = section.section("provider")?;
    let given: Vec<_> = kinds.iter().filter(|(kind, _)| provider.has(kind)).collect();
    match given.as_slice() {
        [(kind, read)] => {
            let mut block = provider.section(kind)?;
            block.inherit("keep_raw", keep_raw);
            let settings = read(&mut block);
            if keep_raw && !block.was_asked("keep_raw") {
                section.error("keep_raw", format!("`{kind}` has no raw objects to keep"), None);
            }
            settings.map(Arc::from)
        }
        [] => {
            if provider.keys().is_empty() {
                provider
                    .error_here("no provider is given", Some(format!("the kinds are {}", known())));
            }
            None
        }
        [(first, _), (second, _), ..] => {
            let message =
                format!("a directory has one provider; this one has `{first}` and `{second}`");
            let hint = "give each a directory of its own".to_owned();
            provider.error_at_key(second, message, Some(hint));
            None
        }
    }
}
