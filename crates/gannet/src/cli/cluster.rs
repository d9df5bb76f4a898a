//! `gannet cluster`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use gannet::gateway::setup::{self, Scope, check_cluster_name, extension};
use gannet_core::{ClusterUuid, Error, Ledger};
use gannet_repo::{Notice, Repo};
use tokio::runtime::Builder;

use super::Failure;
use crate::clock::SystemClock;

mod status;

/// What `gannet cluster` is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Cluster {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the repository the gateway of a new cluster, as `git annex initcluster`.
    ///
    /// The cluster gets a uuid and a description. It has no nodes yet: name some with
    /// `git config remote.R.annex-cluster-node NAME`, then run `gannet cluster update`.
    Init(Init),
    /// Tell clients which nodes clusters have, as `git annex updatecluster`.
    ///
    /// The nodes are the remotes with `annex-cluster-node` in the configuration of the repository,
    /// and those that other gateways of the cluster have. It is written into the git-annex branch,
    /// where clients find it after their next fetch. Uuids of nodes that the configuration does not
    /// have are asked for, over ssh too. To be repeated whenever a node comes, goes or is renamed.
    Update(Update),
    /// Make the repository another gateway of a cluster, as `git annex extendcluster`.
    ///
    /// The cluster has a gateway already, which is a remote of this repository, over ssh or
    /// annex+http; its git-annex branch must have been fetched. Do the same the other way round in
    /// that gateway, so that it knows of this one.
    Extend(Extend),
    /// Look how clusters are: which nodes they have, which can be reached, what is wrong with them
    /// and what to do about it.
    Status(status::Status),
}

#[derive(Debug, Args)]
struct Init {
    /// The repository.
    #[arg(value_name = "REPO")]
    path: PathBuf,
    /// What clients shall call the cluster: after `origin-`, if they call the gateway `origin`.
    name: String,
    /// What people shall know it by, e.g. in `git annex whereis` [default: `cluster` and the name].
    description: Option<String>,
}

#[derive(Debug, Args)]
struct Update {
    /// The repository.
    #[arg(value_name = "REPO")]
    path: PathBuf,
}

#[derive(Debug, Args)]
struct Extend {
    /// The repository.
    #[arg(value_name = "REPO")]
    path: PathBuf,
    /// The remote that is a gateway of the cluster already.
    remote: String,
    /// What that gateway calls the cluster.
    name: String,
}

impl Cluster {
    /// Does it.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Init(init) => init.run(),
            Command::Update(Update { path }) => at(&path, async |repo| {
                update(&repo).await?;
                Ok(ExitCode::SUCCESS)
            }),
            Command::Extend(extend) => extend.run(),
            Command::Status(status) => status.run(),
        }
    }
}

impl Init {
    fn run(self) -> Result<ExitCode, Failure> {
        check_cluster_name(&self.name).map_err(Failure::Usage)?;
        at(&self.path, async |repo| {
            let failed = |error: Error| Failure::doing("cannot create the cluster", &error);
            let remotes = repo.remotes().await.map_err(failed)?;
            if let Some((name, cluster)) = remotes.cluster(&self.name) {
                print(&format!("{}\nThe cluster {name} exists already.\n", cluster.as_uuid()))?;
                return Ok(ExitCode::SUCCESS);
            }
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes)
                .map_err(|error| Failure::Failed(format!("no random numbers: {error}")))?;
            let cluster = ClusterUuid::from_random(bytes);
            let description = self.description.unwrap_or_else(|| format!("cluster {}", self.name));
            let notice = Notice::Description(cluster.clone(), description);
            repo.publish(vec![notice]).await.map_err(failed)?;
            let key = format!("annex.cluster.{}", self.name);
            let value = cluster.as_uuid().to_string();
            repo.configure(vec![(key, value)]).await.map_err(failed)?;
            repo.flush().await.map_err(failed)?;
            let remotes = repo.remotes().await.map_err(failed)?;
            let name = remotes.cluster(&self.name).map_or(&*self.name, |(name, _)| name);
            print(&format!(
                "{uuid}\nName its nodes: git config remote.REMOTE.annex-cluster-node {name}\nThen run: \
                 gannet cluster update {path}\n",
                uuid = cluster.as_uuid(),
                path = self.path.display(),
            ))?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Extend {
    fn run(self) -> Result<ExitCode, Failure> {
        at(&self.path, async |repo| {
            let failed = |error: Error| Failure::doing("cannot extend the cluster", &error);
            repo.merge_fetched().await.map_err(failed)?;
            setup::learn_uuids(&repo).await.map_err(failed)?;
            let (remotes, book) = (repo.remotes().await, repo.book().await);
            let (remotes, book) = (remotes.map_err(failed)?, book.map_err(failed)?);
            let extension = extension(&self.remote, &self.name, &remotes, &book);
            let extension = extension.map_err(Failure::Failed)?;
            if !extension.values.is_empty() {
                repo.configure(extension.values).await.map_err(failed)?;
            }
            print(&format!("{}\n", extension.cluster.as_uuid()))?;
            update(&repo).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

async fn update(repo: &Repo) -> Result<(), Failure> {
    let done = setup::update(repo, Scope::Clusters).await;
    print_update(&done.map_err(|error| Failure::doing("cannot update", &error))?)
}

/// Opens the repository, and does this with it.
///
/// # Errors
/// When it cannot be opened, and whatever is reported.
pub(crate) fn at(
    path: &Path,
    work: impl AsyncFnOnce(Repo) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("cannot start threads", &error))?;
    let entered = runtime.enter();
    let repo = Repo::open(path, Arc::new(SystemClock))
        .map_err(|error| Failure::doing(format!("cannot use `{}`", path.display()), &error))?;
    drop(entered);
    let done = runtime.block_on(work(repo));
    // A disk that hangs must not keep the program from ending.
    runtime.shutdown_background();
    done
}

/// Says what was written, and complains of what could not be.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn print_update(update: &setup::Update) -> Result<(), Failure> {
    let mut said = String::new();
    let mut say = |line: String| {
        said.push_str(&plain(&line));
        said.push('\n');
    };
    for name in &update.merged.merged {
        say(format!("merged {name}"));
    }
    for (name, uuid) in &update.learned.found {
        say(format!("{name} has the uuid {uuid}"));
    }
    for nodes in &update.clusters {
        for node in &nodes.added {
            say(format!("{node} is a node of {} now", nodes.cluster));
        }
        for node in &nodes.removed {
            say(format!("{node} is no node of {} any more", nodes.cluster));
        }
    }
    for name in &update.started {
        say(format!("{name} is served now"));
    }
    for name in &update.stopped {
        say(format!("{name} is not served any more"));
    }
    if said.is_empty() {
        said.push_str("nothing has changed\n");
    }
    for (name, why) in &update.merged.left {
        complain(&format!("{name} is not merged: {why}"));
    }
    for (name, why) in &update.learned.failed {
        complain(&format!("{name} does not tell its uuid: {why}"));
    }
    for setup::Problem { about, what, advice } in &update.refused {
        complain(&format!("{about}: {what}; {advice}"));
    }
    print(&said)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::doing("cannot print", &error))
}

fn complain(text: &str) {
    // Who does not listen is not made to.
    writeln!(std::io::stderr(), "gannet: {}", plain(text)).ok();
}

/// Names are other people's: no control character of theirs reaches the terminal.
fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

const EXAMPLES: &str = "\
A cluster is reached through the repository that is its gateway, under a uuid of its own. What is \
put there goes to all nodes that want it. Neither git nor git-annex need to be installed but for \
`git remote` and `git config`.

A cluster of a repository on this machine and one behind ssh:
  gannet cluster init /srv/gateway mycluster
  git -C /srv/gateway remote add near /srv/near
  git -C /srv/gateway remote add far ssh://backup.example.com/srv/far
  git -C /srv/gateway config remote.near.annex-cluster-node mycluster
  git -C /srv/gateway config remote.far.annex-cluster-node mycluster
  gannet cluster update /srv/gateway
  gannet cluster status /srv/gateway
Clients that have the gateway as `origin` then have a remote `origin-mycluster`, after `git fetch`.

Another gateway of the same cluster, on another machine:
  git -C /srv/second remote add first ssh://one.example.com/srv/gateway
  git -C /srv/second fetch first
  gannet cluster extend /srv/second first mycluster";
