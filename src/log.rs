//! One line on standard error for each thing that happened: text for people,
//! JSON for machines.
//!
//! What a directory says may appear in a line but never forges one: control
//! characters are made visible, and long values are cut.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;

use crate::clock::{self, Timestamp};
use crate::config::{LogConfig, LogFormat, variable};
use crate::printable::printable;

/// Longer values are cut.
const VALUE_CHARS_MAX: usize = 2_000;

/// Starts logging to standard error.
///
/// # Errors
/// When the process logs already.
pub fn start(config: &LogConfig) -> Result<Control, String> {
    let no_color = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_styled = std::io::stderr().is_terminal() && !no_color;
    let (subscriber, control) = subscriber(config, is_styled, Box::new(std::io::stderr()));
    tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())?;
    Ok(control)
}

/// Changes the log while the daemon runs.
#[derive(Clone, Debug)]
pub struct Control {
    filter: reload::Handle<EnvFilter, Registry>,
    is_json: Arc<AtomicBool>,
}

impl Control {
    /// Logs as `config` says from now on.
    pub fn apply(&self, config: &LogConfig) {
        self.is_json.store(config.format == LogFormat::Json, Ordering::Relaxed);
        if let Err(error) = self.filter.reload(filter(config)) {
            tracing::warn!(%error, "the log level stays as it was");
        }
    }
}

fn subscriber(
    config: &LogConfig,
    is_styled: bool,
    sink: Box<dyn Write + Send>,
) -> (impl Subscriber + Send + Sync, Control) {
    let (filter, handle) = reload::Layer::new(filter(config));
    let is_json = Arc::new(AtomicBool::new(config.format == LogFormat::Json));
    let lines = Lines { is_json: is_json.clone(), is_styled, sink: Mutex::new(sink) };
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    (subscriber, Control { filter: handle, is_json })
}

/// `config` has checked it; should it be wrong all the same, the level is `info`.
fn filter(config: &LogConfig) -> EnvFilter {
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    builder.parse_lossy(&config.filter)
}

/// Writes each event as one line.
struct Lines {
    is_json: Arc<AtomicBool>,
    is_styled: bool,
    sink: Mutex<Box<dyn Write + Send>>,
}

/// The fields of a span or an event, in their order.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.add_missing(of_span);
            }
        }
        let meta = event.metadata();
        let moment = clock::now();
        let line = if self.is_json.load(Ordering::Relaxed) {
            json_line(moment, *meta.level(), meta.target(), fields)
        } else {
            text_line(moment, *meta.level(), meta.target(), &fields, self.is_styled)
        };
        // A log that cannot be written must not stop the daemon.
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let _unwritable = sink.write_all(line.as_bytes()).and_then(|()| sink.flush());
    }
}

impl Fields {
    /// Takes what an outer span says unless something nearer said it.
    fn add_missing(&mut self, outer: &Fields) {
        for (name, value) in &outer.0 {
            if !self.0.iter().any(|(known, _)| known == name) {
                self.0.push((*name, value.clone()));
            }
        }
    }

    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // Beyond milli, fractions are noise.
        self.put(field, ((value * 1000.0).round() / 1000.0).into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value).into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _infallible = write!(text, ": {cause}");
            source = cause.source();
        }
        self.put(field, cut(&text).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, cut(&format!("{value:?}")).into());
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// `2026-11-20T10:15:00.000Z INFO  polled directory=corp users=24`.
fn text_line(
    moment: Timestamp,
    level: Level,
    target: &str,
    fields: &Fields,
    is_styled: bool,
) -> String {
    let style = |code: &str, text: &str| match is_styled {
        true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        false => text.to_owned(),
    };
    let mut line = style("2", &to_the_milli(moment));
    let _infallible = write!(line, " {}", style(color(level), &format!("{level:<5}")));
    if level > Level::INFO {
        let _infallible = write!(line, " {}", style("2", &printable(target)));
    }
    if let Some((_, message)) = fields.0.iter().find(|(name, _)| *name == MESSAGE) {
        let _infallible = write!(line, " {}", printable(message.as_str().unwrap_or_default()));
    }
    for (name, value) in fields.0.iter().filter(|(name, _)| *name != MESSAGE) {
        let _infallible = write!(line, " {}{}", style("2", &format!("{name}=")), shown(value));
    }
    line.push('\n');
    line
}

/// Always three digits behind the point, so that lines are aligned.
fn to_the_milli(moment: Timestamp) -> String {
    let text = moment.to_string();
    let text = text.trim_end_matches('Z');
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{fraction:0<3}Z")
}

fn color(level: Level) -> &'static str {
    match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        _ => "2",
    }
}

/// A value that ends where it seems to end.
fn shown(value: &Value) -> String {
    let Some(text) = value.as_str() else { return value.to_string() };
    let needs_quotes = text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '"');
    match needs_quotes {
        true => format!("\"{}\"", printable(text).replace('"', "\\\"")),
        false => printable(text).into_owned(),
    }
}

/// `{"time":…,"level":"info","message":…, …}`.
fn json_line(moment: Timestamp, level: Level, target: &str, fields: Fields) -> String {
    let mut object = Map::new();
    object.insert("time".to_owned(), moment.to_string().into());
    object.insert("level".to_owned(), level.to_string().to_lowercase().into());
    object.insert("target".to_owned(), target.into());
    for (name, value) in fields.0 {
        object.entry(name).or_insert(value);
    }
    format!("{}\n", Value::Object(object))
}

/// The field that holds an event's own words.
const MESSAGE: &str = "message";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn config(format: LogFormat, filter: &str) -> LogConfig {
        LogConfig { format, filter: filter.to_owned() }
    }

    /// What is logged while `act` runs, without the times.
    fn logged(config: &LogConfig, act: impl FnOnce(&Control)) -> String {
        let buffer = Buffer::default();
        let (subscriber, control) = subscriber(config, false, Box::new(buffer.clone()));
        tracing::subscriber::with_default(subscriber, || act(&control));
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let mut lines = String::new();
        for line in text.lines() {
            match line.split_once(' ') {
                Some((moment, rest)) if Timestamp::parse(moment).is_ok() => lines.push_str(rest),
                _ => lines.push_str(line),
            }
            lines.push('\n');
        }
        lines
    }

    #[test]
    fn a_line_for_people_has_level_message_and_fields() {
        let lines = logged(&config(LogFormat::Text, "info,rosterd=debug"), |_| {
            let span = tracing::info_span!("poll", directory = "corp", kind = "full");
            let _inside = span.enter();
            tracing::info!(
                users = 24,
                share = 0.100_000_4,
                next = "in 5m",
                kind = "incremental",
                "polled"
            );
            tracing::debug!(empty = "", "looking");
        });
        assert_eq!(
            lines,
            "INFO  polled users=24 share=0.1 next=\"in 5m\" kind=incremental directory=corp\n\
             DEBUG rosterd::log::tests looking empty=\"\" directory=corp kind=full\n"
        );
    }

    #[test]
    fn a_line_for_machines_is_one_object() {
        let lines = logged(&config(LogFormat::Json, "info"), |_| {
            tracing::warn!(time = "forged", ok = true, name = "a\nb", "held");
        });
        let value: Value = serde_json::from_str(&lines).unwrap();
        assert_eq!((&value["level"], &value["message"]), (&"warn".into(), &"held".into()));
        assert_eq!((&value["ok"], &value["name"]), (&true.into(), &"a\nb".into()));
        assert!(Timestamp::parse(value["time"].as_str().unwrap()).is_ok());
    }

    #[test]
    fn what_a_directory_says_cannot_forge_a_line() {
        let name = "x\u{1b}[2J\r\n2026-11-20T10:15:00Z ERROR forged\u{9b}31m\u{202e}";
        let lines = logged(&config(LogFormat::Text, "info"), |_| {
            tracing::info!(name, shown = %name, "{name}");
        });
        assert_eq!(lines.lines().count(), 1, "{lines}");
        assert!(!lines.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{lines}");
    }

    #[test]
    fn long_values_are_cut() {
        let lines = logged(&config(LogFormat::Text, "info"), |_| {
            tracing::info!(name = "é".repeat(1_000_000), "long");
        });
        assert!(lines.len() < 5_000 && lines.ends_with("…\n"));
    }

    #[test]
    fn level_and_format_change_while_it_runs() {
        let lines = logged(&config(LogFormat::Text, "warn"), |control| {
            tracing::info!("unseen");
            control.apply(&config(LogFormat::Json, "info"));
            tracing::info!("seen");
        });
        let value: Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(value["message"], "seen");
    }

    #[test]
    fn colour_is_for_terminals() {
        let mut fields = Fields::default();
        fields.0.push((MESSAGE, "m".into()));
        let line = |styled| text_line(Timestamp(0), Level::INFO, "t", &fields, styled);
        assert_eq!(line(false), "1970-01-01T00:00:00.000Z INFO  m\n");
        assert!(line(true).contains('\u{1b}'));
    }

    #[test]
    fn times_are_aligned() {
        let shown = |millis| to_the_milli(Timestamp(millis));
        assert_eq!(shown(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(shown(90), "1970-01-01T00:00:00.090Z");
        assert_eq!(shown(1_500), "1970-01-01T00:00:01.500Z");
    }
}
