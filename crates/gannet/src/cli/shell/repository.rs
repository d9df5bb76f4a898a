//! The commands that are about a repository.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use gannet::gateway::{Bounds, Gateway};
use gannet_core::annex::Guarded;
use gannet_core::{Annex, Asker, Error, Key, Ledger, Uuid};
use gannet_net::serve::p2p::NoGit;
use gannet_repo::{Identity, InitOptions, OpenError, Repo, create, identify};
use tokio::runtime::{Builder, Runtime};

use super::git::Behind;
use super::order::{Task, Verb};
use super::rules::Rules;
use super::{Outcome, Refusal, line, paths, rsync};
use crate::clock::SystemClock;

/// Does what the task says, as far as the rules allow it.
///
/// # Errors
/// Why it was not done.
pub(super) fn serve(task: Task, rules: &Rules) -> Outcome {
    let (path, identity) = find(Path::new(&task.dir))?;
    let other = other_uuid(&task, &identity)?;
    match task.command {
        _ if other.is_some() => {}
        Verb::ConfigList => return config_list(&task, rules, &path, identity),
        Verb::GcryptSetup => {
            return Err(Refusal::new("gannet does not serve gcrypt repositories"));
        }
        _ => {}
    }
    if identity.uuid.is_none() {
        return Err(Refusal::new(format!("`{}` is not a git-annex repository", path.display())));
    }
    let runtime = runtime()?;
    let entered = runtime.enter();
    let repo = Repo::open(&path, Arc::new(SystemClock)).map_err(|error| unusable(&error))?;
    drop(entered);
    let done = runtime.block_on(async {
        let gateway = Gateway::new(repo.clone(), Bounds::default());
        let done = match &other {
            None => ask(&task, rules, &repo).await,
            Some(uuid) => ask_behind(&task, rules, &repo, &gateway, uuid).await,
        };
        if let Err(error) = gateway.flush().await {
            tracing::warn!("not everything is committed yet: {}", error.chain());
        }
        done
    });
    // Nothing is waited for that only reads.
    runtime.shutdown_background();
    done
}

async fn ask(task: &Task, rules: &Rules, repo: &Repo) -> Outcome {
    let annex = Arc::new(Guarded::new(repo.clone()));
    let mut asker = Asker::with_mode(rules.mode());
    match task.command {
        Verb::P2pStdio => {
            asker.client = task.client()?;
            let git = Arc::new(Behind::new(repo.clone(), rules.permit_any_git().is_ok()));
            line::serve(annex, asker, git).await
        }
        Verb::NotifyChanges => {
            task.expect_no_arguments()?;
            line::notify(repo).await
        }
        Verb::InAnnex => match all_present(annex.as_ref(), &asker, &task.keys()?).await? {
            true => Ok(ExitCode::SUCCESS),
            false => Ok(ExitCode::FAILURE),
        },
        Verb::LockContent => match &task.keys()?[..] {
            [key] => line::lock(annex.as_ref(), &asker, key).await,
            _ => Err(Refusal::new("specify exactly one key")),
        },
        Verb::DropKey => {
            if !task.force {
                return Err(Refusal::new(
                    "dropkey can cause data loss; use --force if you're sure you want to do this",
                ));
            }
            for key in task.keys()? {
                match annex.remove(&asker, &key).await {
                    Ok(removal) if removal.removed => {}
                    Ok(_) => return Err(Refusal::new("the content is in use, or locked")),
                    Err(error) => return Err(Refusal::new(error.chain())),
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::SendKey => rsync::send(repo, &task.keys()?).await,
        Verb::RecvKey => rsync::receive(annex.as_ref(), &asker, repo, &task.keys()?).await,
        // Done before the repository was opened.
        Verb::ConfigList | Verb::GcryptSetup => Err(Refusal::new("bad parameters")),
    }
}

/// Does it for what is behind the repository, under a uuid that is not its own.
async fn ask_behind(
    task: &Task,
    rules: &Rules,
    repo: &Repo,
    gateway: &Gateway,
    uuid: &Uuid,
) -> Outcome {
    let failed = |error: Error| Refusal::new(error.chain());
    let Some(annex) = gateway.behind(uuid).await.map_err(failed)? else {
        let book = repo.book().await.map_err(failed)?;
        return Err(match book.descriptions.get(uuid) {
            Some(name) => Refusal::new(format!("not configured to proxy for repository {name}")),
            None => unexpected(uuid.as_str(), Some(repo.uuid())),
        });
    };
    match task.command {
        Verb::P2pStdio => {
            let mut asker = Asker::with_mode(rules.mode());
            asker.client = task.client()?;
            line::serve(annex, asker, Arc::new(NoGit)).await
        }
        // The git repository is that of the gateway in any case.
        Verb::NotifyChanges => ask(task, rules, repo).await,
        command => Err(Refusal::new(format!("Cannot proxy {} command.", command.name()))),
    }
}

/// # Errors
/// With an exit code of its own, when that cannot be told.
async fn all_present(annex: &dyn Annex, asker: &Asker, keys: &[Key]) -> Result<bool, Refusal> {
    for key in keys {
        match annex.check_present(asker, key).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => return Err(Refusal { code: 100, text: error.chain() }),
        }
    }
    Ok(true)
}

/// Tells uuid and gcrypt-id, after having initialised the repository if it has a git-annex branch
/// or the client wants that.
fn config_list(task: &Task, rules: &Rules, path: &Path, found: Identity) -> Outcome {
    task.expect_no_arguments()?;
    let mut uuid = found.uuid;
    if uuid.is_none() && (task.autoinit || found.has_annex_branch) {
        let options = InitOptions { description: String::new(), bare: false, uuid: None };
        rules.permit_init()?;
        let opened = Repo::open(path, Arc::new(SystemClock));
        uuid = Some(match opened {
            Ok(repo) => repo.uuid().clone(),
            Err(OpenError::NotAnnex { .. }) => {
                create(path, &options, &SystemClock).map_err(|error| unusable(&error))?
            }
            Err(error) => return Err(unusable(&error)),
        });
    }
    let uuid = uuid.as_ref().map_or("", |uuid| uuid.as_str());
    let gcrypt = found.gcrypt_id.unwrap_or_default();
    std::io::stdout()
        .write_all(format!("annex.uuid={uuid}\ncore.gcrypt-id={gcrypt}\n").as_bytes())
        .map_err(|error| Refusal::new(error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}

/// Finds the repository at `dir`, or at `dir.git`.
fn find(dir: &Path) -> Result<(PathBuf, Identity), Refusal> {
    match identify(dir) {
        Err(error @ OpenError::NotGit { .. }) => {
            let bare = paths::with_dot_git(dir);
            let found = identify(&bare).map_err(|_| unusable(&error))?;
            Ok((bare, found))
        }
        found => Ok((dir.to_owned(), found.map_err(|error| unusable(&error))?)),
    }
}

/// The uuid that is wanted, if the repository has another.
///
/// # Errors
/// When nothing can have it.
fn other_uuid(task: &Task, found: &Identity) -> Result<Option<Uuid>, Refusal> {
    let Some(wanted) = &task.uuid else { return Ok(None) };
    if found.uuid.as_ref().is_some_and(|uuid| wanted == uuid.as_str()) {
        return Ok(None);
    }
    match (&found.uuid, Uuid::parse(wanted.as_bytes())) {
        (Some(_), Ok(uuid)) => Ok(Some(uuid)),
        (own, _) => Err(unexpected(&wanted.to_string_lossy(), own.as_ref())),
    }
}

fn unexpected(wanted: &str, own: Option<&Uuid>) -> Refusal {
    let found = match own {
        Some(uuid) => format!("UUID {uuid}"),
        None => "uninitialized repository".to_owned(),
    };
    Refusal::new(format!("expected repository UUID {wanted} but found {found}"))
}

fn unusable(error: &OpenError) -> Refusal {
    Refusal::new(match error {
        OpenError::Failed(error) => error.chain(),
        error => error.to_string(),
    })
}

/// One thread serves one client well; disks are waited for by others.
fn runtime() -> Result<Runtime, Refusal> {
    Builder::new_current_thread()
        .max_blocking_threads(DISK_THREADS)
        .enable_all()
        .build()
        .map_err(|error| Refusal::new(format!("cannot start threads: {error}")))
}

/// As many as a repository has at work at once, and some for standard input and output.
const DISK_THREADS: usize = 16;
