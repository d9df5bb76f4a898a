//! `gannet proxy`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gannet::gateway::setup::{Scope, update};

use super::Failure;
use super::cluster::{at, print_update};

/// What `gannet proxy` is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Proxy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell clients which remotes they reach through the repository, as `git annex updateproxy`.
    ///
    /// Those are the remotes with `annex-proxy` in the configuration of the repository, the nodes of
    /// its clusters, and these clusters. It is written into the git-annex branch, where clients find
    /// it after their next fetch; nothing is reached of which the configuration says nothing. To be
    /// repeated when remotes are renamed, or `annex-proxy` is set or removed.
    Update(Update),
}

#[derive(Debug, Args)]
struct Update {
    /// The repository.
    #[arg(value_name = "REPO")]
    path: PathBuf,
}

impl Proxy {
    /// Does it.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Command::Update(Update { path }) = self.command;
        at(&path, async |repo| {
            let done = update(&repo, Scope::Proxies).await;
            let done = done.map_err(|error| Failure::doing("cannot update", &error))?;
            print_update(&done)?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

const EXAMPLES: &str = "\
Neither git nor git-annex need to be installed but for `git remote` and `git config`.

A repository on the disk of this machine, reached by clients through another one:
  git -C /srv/gateway remote add archive /srv/archive
  git -C /srv/gateway config remote.archive.annex-proxy true
  gannet proxy update /srv/gateway
Clients that have the gateway as `origin` then have a remote `origin-archive`, after `git fetch`.";
