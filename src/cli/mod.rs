//! The command: one file for each of its words.
//!
//! A new word is a file with `Arguments` and `run`, a line in `Command` and
//! a line in `Command::run`.
//!
//! | Exit code | Means |
//! |---|---|
//! | 0 | done, or *yes* |
//! | 1 | *no*: not a member, not a valid configuration |
//! | 2 | it could not be done or told; the reason is on standard error |

mod ask;
mod audit;
mod check;
mod completions;
mod doctor;
mod events;
mod failure;
mod hold;
mod is_member;
mod list;
mod man;
mod object;
mod output;
mod plan;
mod run;
mod status;
mod sync;
mod webhook;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use crate::printable::printable;
pub use failure::Failure;
pub use output::{Output, Paint, Table};

use crate::config;
use crate::query::DEFAULT_SOCKET;

/// Keeps a faithful, local, queryable copy of the users, groups and
/// memberships of identity providers, and tells others what changed.
#[derive(Debug, Parser)]
#[command(name = "rosterd", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Global {
    /// The configuration file [default: /etc/rosterd/rosterd.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The query socket of the daemon [default: what the configuration says]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run,
    /// Check the configuration and show every mistake in it
    Check,
    /// Reach every directory and name what is missing
    Doctor(doctor::Arguments),
    /// Show what a poll would change, changing nothing
    Plan(plan::Arguments),
    /// Poll a directory now
    Sync(sync::Arguments),
    /// Show the changes that wait for a person
    Hold(hold::Arguments),
    /// Let exactly one held set of changes through
    Approve(hold::Decision),
    /// Keep the last good state instead of a held set of changes
    Reject(hold::Decision),
    /// Show how every directory fares
    Status(status::Arguments),
    /// List users
    Users(list::Arguments),
    /// List groups
    Groups(list::Arguments),
    /// Show one user and the groups it is in
    User(object::Arguments),
    /// Show one group and its members
    Group(object::Arguments),
    /// Tell whether a user is in a group: exit 0 yes, 1 no, 2 cannot tell
    IsMember(is_member::Arguments),
    /// Tell through which groups a user is in a group
    Why(why::Arguments),
    /// Show what changed, and follow what changes
    Events(events::Arguments),
    /// Show who did what to the daemon, and follow it
    Audit(audit::Arguments),
    /// Steer the endpoints that are told what changed
    Webhook(webhook::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
    /// Print the manual page, or write all of them
    Man(man::Arguments),
}

impl Command {
    fn run(self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Command::Run => run::run(context),
            Command::Check => check::run(context),
            Command::Doctor(arguments) => doctor::run(arguments, context),
            Command::Plan(arguments) => plan::run(&arguments, context),
            Command::Sync(arguments) => sync::run(&arguments, context),
            Command::Hold(arguments) => hold::run(&arguments, context),
            Command::Approve(decision) => hold::approve(&decision, context),
            Command::Reject(decision) => hold::reject(&decision, context),
            Command::Status(arguments) => status::run(&arguments, context),
            Command::Users(arguments) => list::users(&arguments, context),
            Command::Groups(arguments) => list::groups(&arguments, context),
            Command::User(arguments) => object::user(&arguments, context),
            Command::Group(arguments) => object::group(&arguments, context),
            Command::IsMember(arguments) => is_member::run(&arguments, context),
            Command::Why(arguments) => why::run(&arguments, context),
            Command::Events(arguments) => events::run(&arguments, context),
            Command::Audit(arguments) => audit::run(&arguments, context),
            Command::Webhook(arguments) => webhook::run(arguments, context),
            Command::Completions(arguments) => completions::run(arguments, context),
            Command::Man(arguments) => man::run(arguments, context),
        }
    }
}

/// What every word of the command may use.
#[derive(Debug)]
pub struct Context {
    config: Option<PathBuf>,
    socket: Option<PathBuf>,
    /// Where results go. Complaints go to standard error as a [`Failure`].
    pub output: Output,
}

impl Context {
    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| config::DEFAULT_PATH.into())
    }

    /// The daemon's query socket: as told, or as the configuration says.
    ///
    /// # Errors
    /// When a configuration file was named and cannot be read.
    pub fn socket(&self) -> Result<PathBuf, Failure> {
        match (&self.socket, &self.config) {
            (Some(socket), _) => Ok(socket.clone()),
            (None, Some(config)) => config::socket_of(config).map_err(|reason| {
                Failure::new(format!("cannot read {}: {reason}", config.display()))
                    .hint("name the socket with --socket")
            }),
            (None, None) => Ok(config::socket_of(self.config().as_path())
                .unwrap_or_else(|_| DEFAULT_SOCKET.into())),
        }
    }
}

/// How a word of the command ended, when it did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or the answer is yes.
    Yes,
    /// The answer is no.
    No,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        match exit {
            Exit::Yes => ExitCode::SUCCESS,
            Exit::No => ExitCode::from(1),
        }
    }
}

/// Reads the arguments of the process and does what they say.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let global = arguments.global;
    let output = Output::to_stdout(global.json);
    let mut context = Context { config: global.config, socket: global.socket, output };
    match arguments.command.run(&mut context) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.tell(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_arguments_may_stand_behind_the_word() {
        let arguments = Arguments::try_parse_from(["rosterd", "check", "--config", "x", "--json"]);
        let global = arguments.unwrap().global;
        assert_eq!((global.config, global.json), (Some("x".into()), true));
    }

    #[test]
    fn a_named_configuration_must_be_readable_to_find_the_socket() {
        let context = |config: Option<&str>, socket: Option<&str>| Context {
            config: config.map(Into::into),
            socket: socket.map(Into::into),
            output: Output::to_stdout(false),
        };
        assert_eq!(context(Some("/no"), Some("s")).socket().unwrap(), PathBuf::from("s"));
        let failure = context(Some("/no"), None).socket().unwrap_err();
        assert_eq!(
            failure.to_string(),
            "cannot read /no: no such file\nhint: name the socket with --socket"
        );
    }
}
