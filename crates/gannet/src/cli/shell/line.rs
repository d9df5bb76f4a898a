//! The line protocol on standard input and output, and the messages of `notifychanges` and of
//! `lockcontent`.

use std::process::ExitCode;
use std::sync::Arc;

use gannet_core::{Annex, Asker, Error, Key};
use gannet_net::serve::p2p::{Git, LineDoor, Version};
use gannet_repo::Repo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stdio::{broken, input, output, told_to_end};
use super::{Outcome, Refusal};

/// Serves the client until it goes, or a signal comes.
///
/// # Errors
/// When the conversation did not end well.
pub(super) async fn serve(annex: Arc<dyn Annex>, asker: Asker, git: Arc<dyn Git>) -> Outcome {
    let door = LineDoor { annex, asker, git, newest: Version::NEWEST };
    let (input, output) = (input().map_err(broken)?, output().map_err(broken)?);
    unless_told_to_end(async {
        let end = door.serve(input, output).await;
        tracing::debug!("{end}");
        match end.is_clean() {
            true => Ok(ExitCode::SUCCESS),
            false => Err(Refusal::new(end.to_string())),
        }
    })
    .await
}

/// Tells the client what references show to, and whatever new they show to, until it goes, or a
/// signal comes.
///
/// # Errors
/// When they cannot be watched.
pub(super) async fn notify(repo: &Repo) -> Outcome {
    let (mut input, mut output) = (input().map_err(broken)?, output().map_err(broken)?);
    let mut references = repo.references().await.map_err(failed)?;
    let mut said = b"READY\n".to_vec();
    let mut heard = [0; 512];
    unless_told_to_end(async {
        loop {
            output.write_all(&said).await.map_err(broken)?;
            output.flush().await.map_err(broken)?;
            said.clear();
            tokio::select! {
                ids = references.changed() => {
                    said = format!("CHANGED {}\n", ids.map_err(failed)?.join(" ")).into_bytes();
                }
                // Nothing that the client says means anything, but its end.
                len = input.read(&mut heard) => {
                    if len.map_err(broken)? == 0 {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
            }
        }
    })
    .await
}

/// Locks the content of a key for a client of before 2018: `OK` tells it so, and with a line it
/// says that it needs that no more. If it goes without one, the content stays locked as it does
/// whenever a connection breaks.
///
/// # Errors
/// When it cannot be told whether the content may be locked.
pub(super) async fn lock(annex: &dyn Annex, asker: &Asker, key: &Key) -> Outcome {
    let (mut input, mut output) = (input().map_err(broken)?, output().map_err(broken)?);
    unless_told_to_end(async {
        let Some(lock) = annex.lock(asker, key).await.map_err(failed)? else {
            return Ok(ExitCode::FAILURE);
        };
        output.write_all(b"OK\n").await.map_err(broken)?;
        output.flush().await.map_err(broken)?;
        let mut heard = [0; 512];
        loop {
            match input.read(&mut heard).await.map_err(broken)? {
                0 => break,
                len if heard[..len].contains(&b'\n') => {
                    lock.release().await.map_err(failed)?;
                    break;
                }
                _ => {}
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

async fn unless_told_to_end(done: impl Future<Output = Outcome>) -> Outcome {
    tokio::select! {
        done = done => done,
        signal = told_to_end() => Err(signal.map_or_else(broken, Refusal::new)),
    }
}

fn failed(error: Error) -> Refusal {
    Refusal::new(error.chain())
}
