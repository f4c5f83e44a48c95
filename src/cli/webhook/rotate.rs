//! `rosterd webhook rotate`: a new signing secret beside those in use.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::{Context, Exit, Failure, printable};
use crate::config::{self, Config, SecretSource};
use crate::secret::Secret;
use crate::webhook::{Format, SECRETS_MAX, WebhookConfig};

const RELOAD: &str = "systemctl reload rosterd";

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The webhook, as the configuration names it
    name: String,
    /// How many of the old secrets go on signing
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(0..SECRETS_MAX as i64))]
    keep: u8,
    /// Make no new secret; drop all but the newest
    #[arg(long, conflicts_with = "keep")]
    finish: bool,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let config = load(&context.config())?;
    let name = &arguments.name;
    let webhook = config.webhooks.get(name).ok_or_else(|| unknown(name, &config))?;
    let path = secret_file(webhook)?;
    if arguments.finish {
        let file = finish(webhook, path)?;
        return tell_finished(name, &file, context);
    }
    let rotated = rotate(webhook, path, usize::from(arguments.keep))?;
    tell_rotated(name, &rotated, context)
}

/// A secret that the daemon would not take up is worse than an old one, so
/// all of the configuration must be right.
fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|report| {
        eprintln!("{report}\n");
        Failure::new("the configuration has mistakes, so a reload would not take up a new secret")
            .hint("mend it first; `rosterd check` shows the mistakes")
    })
}

fn unknown(name: &str, config: &Config) -> Failure {
    let known: Vec<&str> = config.webhooks.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Failure::new(format!("there is no webhook {}", printable(name)))
        .hint(format!("the configuration has: {known}"))
}

fn secret_file(webhook: &WebhookConfig) -> Result<&Path, Failure> {
    let (place, change) = match &webhook.secret_source {
        SecretSource::File(path) => return Ok(path),
        SecretSource::Credential(name) => {
            (format!("the credential {name}"), format!("what LoadCredential={name} names"))
        }
        SecretSource::Variable(name) => {
            (format!("the environment variable {name}"), "where it is set".to_owned())
        }
    };
    let more = match webhook.format {
        Format::Standard(_) => "put a new secret in front of the old one, with a space between,",
        Format::Polis(_) => "change it",
    };
    Err(Failure::new(format!("the secret comes from {place}, which cannot be written from here"))
        .hint(format!("{more} in {change}, and restart rosterd: a reload does not see it")))
}

struct Rotated {
    secret: Secret,
    file: PathBuf,
    /// Old secrets that go on signing.
    kept: usize,
    format: &'static str,
}

fn rotate(webhook: &WebhookConfig, path: &Path, keep: usize) -> Result<Rotated, Failure> {
    let secret = webhook
        .format
        .new_secret()
        .ok_or_else(|| Failure::new("the system has no randomness to give"))?;
    let keep = match webhook.format {
        Format::Standard(_) => keep,
        Format::Polis(_) => 0,
    };
    let mut kept = 0;
    let replaced = config::replace_secret(path, |old| {
        let old: Vec<&str> = old.expose().split_whitespace().take(keep).collect();
        kept = old.len();
        Ok(lines([secret.expose()].into_iter().chain(old)))
    });
    let file = replaced.map_err(Failure::new)?;
    Ok(Rotated { secret, file, kept, format: webhook.format.as_str() })
}

fn finish(webhook: &WebhookConfig, path: &Path) -> Result<PathBuf, Failure> {
    match webhook.format {
        Format::Standard(_) => {}
        Format::Polis(_) => {
            return Err(Failure::new("in the format `polis` only one secret can sign")
                .hint("there is nothing to finish: the rotation dropped the old one"));
        }
    }
    let newest = |old: &Secret| Ok(lines(old.expose().split_whitespace().take(1)));
    config::replace_secret(path, newest).map_err(Failure::new)
}

fn lines<'a>(secrets: impl Iterator<Item = &'a str>) -> Secret {
    Secret::new(secrets.collect::<Vec<_>>().join("\n"))
}

/// The secret goes to standard output alone, for a pipe; the rest is for people.
fn tell_rotated(name: &str, rotated: &Rotated, context: &mut Context) -> Result<Exit, Failure> {
    let file = rotated.file.display().to_string();
    let secret = rotated.secret.expose();
    if context.output.is_json() {
        context.output.json(&json!({
            "webhook": name, "format": rotated.format, "secret": secret, "file": file,
            "kept": rotated.kept, "reload": RELOAD,
        }))?;
        return Ok(Exit::Yes);
    }
    context.output.line(secret)?;
    let file = printable(&file);
    let next = if rotated.kept == 0 {
        "the old secret is gone, so the receiver must change together with the daemon:\n  \
         1. pause: rosterd webhook pause NAME\n  2. reload: RELOAD (or kill -HUP)\n  \
         3. give the receiver the secret above; it is not shown again\n  \
         4. go on: rosterd webhook resume NAME"
    } else {
        "until the receiver knows it, deliveries are signed with the old one as well:\n  \
         1. reload: RELOAD (or kill -HUP)\n  \
         2. give the receiver the secret above; it is not shown again\n  \
         3. drop the old one: rosterd webhook rotate NAME --finish, and reload again"
    };
    eprintln!("{file} begins with the new secret");
    eprintln!("{}", next.replace("RELOAD", RELOAD).replace("NAME", &printable(name)));
    Ok(Exit::Yes)
}

fn tell_finished(name: &str, file: &Path, context: &mut Context) -> Result<Exit, Failure> {
    let file = file.display().to_string();
    if context.output.is_json() {
        context.output.json(&json!({ "webhook": name, "file": file, "reload": RELOAD }))?;
        return Ok(Exit::Yes);
    }
    let file = printable(&file);
    context.output.line(&format!("{file} holds only the newest secret"))?;
    context.output.line(&format!("make the daemon use it: {RELOAD} (or kill -HUP)"))?;
    Ok(Exit::Yes)
}
