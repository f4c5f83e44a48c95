//! `rosterd webhook`: the endpoints that are told what changed.

mod rotate;

use clap::Subcommand;

use super::{Context, Exit, Failure};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Make a new signing secret, beside the one the receiver knows
    Rotate(rotate::Arguments),
}

pub(super) fn run(arguments: Arguments, context: &mut Context) -> Result<Exit, Failure> {
    match arguments.word {
        Word::Rotate(arguments) => rotate::run(&arguments, context),
    }
}
