//! `gannet init`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use gannet_core::Uuid;
use gannet_repo::{InitOptions, create};

use super::Failure;
use crate::clock::SystemClock;

/// What `gannet init` is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Init {
    /// Where to create it: in a new or empty directory, or out of the git repository there.
    path: PathBuf,
    /// What people shall know the repository by, e.g. in `git annex whereis`
    /// [default: the name of this machine and the path].
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Create a repository with a work tree, instead of a bare one.
    #[arg(long)]
    no_bare: bool,
    /// Give it this uuid, instead of a new one.
    #[arg(long, value_name = "UUID", value_parser = uuid)]
    uuid: Option<Uuid>,
}

impl Init {
    /// Creates the repository, and prints its uuid.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let options = InitOptions {
            description: self.description.unwrap_or_default(),
            bare: !self.no_bare,
            uuid: self.uuid,
        };
        let uuid = create(&self.path, &options, &SystemClock)
            .map_err(|error| Failure::doing(cannot_create(&self.path), &error))?;
        let path = self.path.display();
        let text = format!("{uuid}\nServe it with: gannet serve --wideopen {path}\n");
        std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|error| Failure::doing("cannot print the uuid", &error))
    }
}

/// What to say when a repository could not be created.
pub(crate) fn cannot_create(path: &Path) -> String {
    format!("cannot create a repository at `{}`", path.display())
}

fn uuid(text: &str) -> Result<Uuid, String> {
    Uuid::parse(text.as_bytes()).map_err(|error| error.to_string())
}

const EXAMPLES: &str = "\
Prints the uuid of the new repository. Neither git nor git-annex need to be installed.

Examples:
  gannet init /srv/annex/music.git --description 'music on the server'
  git clone /srv/annex/music.git";
