//! The git repository behind a conversation: its services, and what its references show to.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use gannet_core::{Error, Result};
use gannet_net::serve::p2p::{Git, Running, Service, Turn};
use gannet_repo::{References, Repo};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// The git repository that an annex is part of.
pub(super) struct Behind {
    repo: Repo,
    /// Its services may be used.
    services: bool,
    /// Watched once somebody wants to know.
    references: Mutex<Option<References>>,
}

impl Behind {
    pub(super) fn new(repo: Repo, services: bool) -> Self {
        Self { repo, services, references: Mutex::new(None) }
    }
}

#[async_trait]
impl Git for Behind {
    async fn connect(&self, service: Service) -> Result<Option<Box<dyn Running>>> {
        if !self.services {
            return Ok(None);
        }
        let mut git = Command::new("git");
        git.arg(match service {
            Service::UploadPack => "upload-pack",
            Service::ReceivePack => "receive-pack",
        });
        git.arg(self.repo.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let failed = |error| Error::disk("serve git at", self.repo.path(), error);
        let mut child = git.spawn().map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Internal("git has no standard input or output".to_owned()));
        };
        Ok(Some(Box::new(Program { child, input: Some(input), output, said: BytesMut::new() })))
    }

    async fn changed(&self) -> Result<Option<Vec<Bytes>>> {
        let mut references = self.references.lock().await;
        let references = match &mut *references {
            Some(references) => references,
            none => none.insert(self.repo.references().await?),
        };
        let ids = references.changed().await?;
        Ok(Some(ids.into_iter().map(Bytes::from).collect()))
    }
}

/// A program at work. Dropping it tells it to end, by closing what it hears and by a signal.
struct Program {
    child: Child,
    /// Until it does not listen any more.
    input: Option<ChildStdin>,
    output: ChildStdout,
    said: BytesMut,
}

#[async_trait]
impl Running for Program {
    async fn turn(&mut self, said: &mut Bytes) -> Result<Turn> {
        let Self { input, output, said: heard, .. } = self;
        heard.reserve(READ_BYTES);
        loop {
            let input_now = match (&mut *input, said.is_empty()) {
                (Some(input), false) => Some(input),
                (None, false) => {
                    said.clear();
                    return Ok(Turn::Heard);
                }
                (_, true) => None,
            };
            tokio::select! {
                // It may have to say something before it listens on.
                read = output.read_buf(heard) => {
                    return match read {
                        Ok(0) => Ok(Turn::Silent),
                        Ok(_) => Ok(Turn::Said(heard.split().freeze())),
                        Err(error) => Err(Error::disk("hear", "git", error)),
                    };
                }
                written = write(input_now, said) => match written {
                    Ok(len) => {
                        said.advance(len);
                        if said.is_empty() {
                            return Ok(Turn::Heard);
                        }
                    }
                    Err(_) => *input = None,
                },
            }
        }
    }

    async fn end(self: Box<Self>) -> i32 {
        let mut this = *self;
        // What it was told completely it shall finish, as it would if ssh were cut.
        this.input = None;
        if let Ok(Ok(status)) = timeout(GRACE, this.listen_to_the_end()).await {
            return status;
        }
        this.tell_to_end();
        if let Ok(Ok(status)) = timeout(GRACE, this.listen_to_the_end()).await {
            return status;
        }
        if let Err(error) = this.child.kill().await {
            tracing::warn!("cannot end git: {error}");
        }
        KILLED
    }
}

impl Program {
    /// Waits for its end; what it still says is lost.
    async fn listen_to_the_end(&mut self) -> io::Result<i32> {
        self.said.clear();
        while self.output.read_buf(&mut self.said).await.is_ok_and(|len| len > 0) {
            self.said.clear();
        }
        Ok(self.child.wait().await?.code().unwrap_or(KILLED))
    }

    /// Git removes its lock files when it is told so.
    fn tell_to_end(&self) {
        // It has no id any more once it was waited for.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw)
            && let Err(error) = kill_process(pid, Signal::TERM)
        {
            tracing::warn!("cannot end git: {error}");
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.tell_to_end();
    }
}

/// Writes some of it, or waits for ever if nobody listens.
async fn write(input: Option<&mut ChildStdin>, said: &[u8]) -> io::Result<usize> {
    match input {
        Some(input) => input.write(said).await,
        None => std::future::pending().await,
    }
}

/// How long git may take to end by itself, and then by a signal.
const GRACE: Duration = Duration::from_secs(10);
/// The exit code of what a signal ended.
const KILLED: i32 = 128;
const READ_BYTES: usize = 64 * 1024;
