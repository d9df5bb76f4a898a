//! `sendkey` and `recvkey`: contents by way of rsync, as clients before 2018 have them, and later
//! ones for gcrypt remotes (p2p-line §11).

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use gannet_core::{Annex, Asker, AssociatedFile, Key};
use gannet_repo::Repo;
use tokio::process::Command;

use super::stdio::{broken, told_to_end};
use super::{Outcome, Refusal};

/// Lets rsync send the content of each key, which the asker may read.
///
/// # Errors
/// When it is absent, or could not be sent.
pub(super) async fn send(repo: &Repo, keys: &[Key]) -> Outcome {
    for key in keys {
        let object = repo.object_file(key).await.map_err(failed)?;
        let object = object.ok_or_else(|| Refusal::new("requested key is not present"))?;
        run(&["--sender"], &object).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets rsync receive the content of each key beside the repository's own, which then takes it as it
/// takes what comes in any other way.
///
/// # Errors
/// When it could not be received, or is not what the key promises; nothing is left then.
pub(super) async fn receive(
    annex: &dyn Annex,
    asker: &Asker,
    repo: &Repo,
    keys: &[Key],
) -> Outcome {
    for key in keys {
        let scratch = repo.scratch_file().await.map_err(failed)?;
        run(&[], scratch.path()).await?;
        let content = scratch.content().await.map_err(failed)?;
        annex.put(asker, key, &AssociatedFile::default(), content).await.map_err(failed)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the server of rsync on standard input and output. What options the client has for it is
/// nobody's business.
async fn run(options: &[&str], file: &Path) -> Result<(), Refusal> {
    let mut rsync = Command::new("rsync");
    rsync.args(["--server", "-t", "--inplace", "-e.Lsf"]).args(options);
    rsync.args([OsStr::new("."), file.as_os_str()]).kill_on_drop(true);
    let mut child =
        rsync.spawn().map_err(|error| Refusal::new(format!("cannot start rsync: {error}")))?;
    let status = tokio::select! {
        status = child.wait() => status.map_err(|error| Refusal::new(error.to_string()))?,
        signal = told_to_end() => {
            child.kill().await.ok();
            return Err(signal.map_or_else(broken, Refusal::new));
        }
    };
    match status.success() {
        true => Ok(()),
        false => Err(Refusal::new(format!("rsync failed: {status}"))),
    }
}

fn failed(error: gannet_core::Error) -> Refusal {
    Refusal::new(error.chain())
}
