//! `rosterd man`: the manual pages, made from the arguments themselves.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;

use super::{Context, Exit, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Write the pages of all words into this folder
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let command = super::Arguments::command();
    match arguments.to {
        Some(folder) => clap_mangen::generate_to(command, &folder).map_err(|error| {
            Failure::new(format!("cannot write manual pages into {}: {error}", folder.display()))
        })?,
        None => {
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            context.output.bytes(&page)?;
        }
    }
    Ok(Exit::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(super::super::Arguments::command(), folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join("rosterd-check.1")).unwrap();
        assert!(page.contains("Check the configuration"), "{page}");
        assert!(folder.path().join("rosterd.1").exists());
    }
}
