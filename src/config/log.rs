//! `[log]`: what is logged, and how it looks.

use super::Section;
use super::section::quoted;

/// The variable that overrides `log.level`.
pub(super) const RUST_LOG: &str = "RUST_LOG";

/// Settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    /// A filter as tracing-subscriber's `EnvFilter` reads it: `info`, or
    /// `info,rosterd::sync=debug`.
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, for machines.
    Json,
}

impl LogConfig {
    pub(super) fn read(section: &mut Section<'_>) -> LogConfig {
        let format =
            section.one_of("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        let level = section.text("level");
        if let Some(level) = level.as_deref().filter(|level| !is_filter(level)) {
            let levels = ["error", "warn", "info", "debug", "trace", "off"];
            let hint = format!(
                "write one of {}, or a filter like \"info,rosterd::sync=debug\"",
                quoted(levels.into_iter())
            );
            section.error(
                "level",
                format!("`{}` is not a level", level.escape_debug()),
                Some(hint),
            );
        }
        LogConfig {
            format: format.unwrap_or_default(),
            filter: level.unwrap_or_else(|| LogConfig::default().filter),
        }
    }

    /// `RUST_LOG` wins over the file, when it is well-formed.
    pub(super) fn overridden(self, variable: Option<std::ffi::OsString>) -> LogConfig {
        match variable.and_then(|value| value.into_string().ok()) {
            Some(filter) if !filter.is_empty() && is_filter(&filter) => {
                LogConfig { filter, ..self }
            }
            _ => self,
        }
    }
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// Every word must name a level; a bare target would silence everything else.
fn is_filter(text: &str) -> bool {
    let names_a_level = |directive: &str| {
        let level = directive.rsplit('=').next().unwrap_or(directive).trim();
        level.parse::<tracing_subscriber::filter::LevelFilter>().is_ok()
    };
    text.split(',').all(names_a_level)
        && tracing_subscriber::EnvFilter::builder().parse(text).is_ok()
}
