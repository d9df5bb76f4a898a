//! The line protocol on standard input and output, and the messages of `notifychanges`.

use std::process::ExitCode;
use std::sync::Arc;

use gannet_core::{Annex, Asker};
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
    tokio::select! {
        end = door.serve(input, output) => {
            tracing::debug!("{end}");
            match end.is_clean() {
                true => Ok(ExitCode::SUCCESS),
                false => Err(Refusal::new(end.to_string())),
            }
        }
        signal = told_to_end() => Err(signal.map_or_else(broken, Refusal::new)),
    }
}

/// Tells the client what references show to, and whatever new they show to, until it goes, or a
/// signal comes.
///
/// # Errors
/// When they cannot be watched.
pub(super) async fn notify(repo: &Repo) -> Outcome {
    let failed = |error: gannet_core::Error| Refusal::new(error.chain());
    let (mut input, mut output) = (input().map_err(broken)?, output().map_err(broken)?);
    let mut references = repo.references().await.map_err(failed)?;
    let mut said = b"READY\n".to_vec();
    let mut heard = [0; 512];
    let told_to_end = told_to_end();
    tokio::pin!(told_to_end);
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
            signal = &mut told_to_end => {
                return Err(signal.map_or_else(broken, Refusal::new));
            }
        }
    }
}
