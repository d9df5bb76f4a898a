//! `gannet man` and `gannet completions`: what packages of the program bring along.

use std::io;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure};

/// What `gannet man` is told.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The directory to write them to; it has to exist.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Man {
    /// Writes a page for the program, and one for each command.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut program = Cli::command().disable_help_subcommand(true);
        program.build();
        clap_mangen::generate_to(program, &self.dir).map_err(|error| {
            Failure::doing(format!("cannot write to `{}`", self.dir.display()), &error)
        })
    }
}

/// What `gannet completions` is told.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// For which shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    /// Prints them.
    pub(crate) fn run(self) {
        let mut program: Command = Cli::command();
        clap_complete::generate(self.shell, &mut program, "gannet", &mut io::stdout());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        Man { dir: dir.path().to_owned() }.run().unwrap();
        let mut completions = Vec::new();
        clap_complete::generate(Shell::Bash, &mut Cli::command(), "gannet", &mut completions);
        let completions = String::from_utf8(completions).unwrap();
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let page = dir.path().join(format!("gannet-{name}.1"));
            let page = std::fs::read_to_string(page).unwrap();
            assert!(page.contains(&format!("gannet\\-{name}")), "{page}");
            for option in command.get_arguments().filter_map(|option| option.get_long()) {
                assert!(page.contains(&option.replace('-', "\\-")), "{name}: {option}");
            }
            assert!(completions.contains(name), "{name}");
        }
        assert!(dir.path().join("gannet.1").exists());
    }
}
