//! `rosterd webhook`: the endpoints that are told what changed.

mod act;
mod deliveries;
mod list;
mod rotate;
mod show;

use clap::Subcommand;

use super::{Context, Exit, Failure, Paint};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Show how every endpoint fares
    List,
    /// Show everything that is known of one endpoint
    Show(act::Name),
    /// Show what was sent to an endpoint and what it answered, the newest last
    Deliveries(deliveries::Arguments),
    /// Send an endpoint a test at once: exit 0 accepted, 1 not
    Test(act::Name),
    /// Send events to an endpoint once more
    Replay(act::Replay),
    /// Send nothing to an endpoint until it is resumed
    Pause(act::Name),
    /// Send to a paused or disabled endpoint again
    Resume(act::Resume),
    /// Empty the delivery log of an endpoint
    Clear(act::Name),
    /// Make a new signing secret, beside the one the receiver knows
    Rotate(rotate::Arguments),
}

pub(super) fn run(arguments: Arguments, context: &mut Context) -> Result<Exit, Failure> {
    match arguments.word {
        Word::List => list::run(context),
        Word::Show(name) => show::run(&name.webhook, context),
        Word::Deliveries(arguments) => deliveries::run(&arguments, context),
        Word::Test(name) => act::test(&name, context),
        Word::Replay(replay) => act::replay(&replay, context),
        Word::Pause(name) => act::pause(&name, context),
        Word::Resume(resume) => act::resume(&resume, context),
        Word::Rotate(arguments) => rotate::run(&arguments, context),
        Word::Clear(name) => act::clear(&name, context),
    }
}

fn paint(state: &str) -> Paint {
    match state {
        "delivering" => Paint::Good,
        "paused" => Paint::Warning,
        _ => Paint::Bad,
    }
}
