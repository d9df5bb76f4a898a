//! Ways to the other end.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::pipe::widen;

/// Makes connections. `Display` says where to, for people.
#[async_trait]
pub trait Dial: fmt::Display + Send + Sync + 'static {
    /// Makes one. Dropping the future, or what it returns, leaves nothing behind.
    ///
    /// # Errors
    /// When that is not possible now.
    async fn dial(&self) -> io::Result<Dialled>;
}

/// A connection that was made.
pub struct Dialled {
    /// What the other end says.
    pub input: Box<dyn AsyncRead + Send + Sync + Unpin>,
    /// What it hears.
    pub output: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    /// What keeps the connection, and dropped lets go of it.
    pub farewell: Box<dyn Farewell>,
}

/// Knows more of why a connection ended than the connection itself.
#[async_trait]
pub trait Farewell: Send + Sync {
    /// What was said of it, in a few lines; empty if nothing was. The connection is closed.
    async fn last_words(self: Box<Self>) -> String;
}

/// A socket of this machine.
#[derive(Clone, Debug)]
pub struct Socket(pub PathBuf);

#[async_trait]
impl Dial for Socket {
    async fn dial(&self) -> io::Result<Dialled> {
        let (input, output) = UnixStream::connect(&self.0).await?.into_split();
        let farewell = Box::new(Silent);
        Ok(Dialled { input: Box::new(input), output: Box::new(output), farewell })
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socket {}", self.0.display())
    }
}

/// Nobody has anything to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silent;

#[async_trait]
impl Farewell for Silent {
    async fn last_words(self: Box<Self>) -> String {
        String::new()
    }
}

/// A program whose standard input and output are the connection, as ssh is.
///
/// It is ended and waited for when the connection is dropped: first by closing its input, and if
/// that does not help within two seconds by killing it, with what it has started itself unless
/// that has left its process group.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where to, for people.
    pub name: String,
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Added to its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// It may ask somebody at the terminal, and shares the fate of those who are there. Otherwise
    /// it is in a process group of its own.
    pub attended: bool,
}

#[async_trait]
impl Dial for Program {
    async fn dial(&self) -> io::Result<Dialled> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if !self.attended {
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("`{}`: {error}", self.program.display()))
        })?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdout.take(), child.stdin.take(), child.stderr.take())
        else {
            return Err(io::Error::other("the program has no standard input or output"));
        };
        widen(&input);
        widen(&output);
        let said = Arc::new(Mutex::new(Vec::new()));
        let (let_go, gone) = oneshot::channel();
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = group.filter(|_| !self.attended);
        tokio::spawn(see_off(child, group, errors, Arc::clone(&said), gone));
        let farewell = Box::new(Running { said, let_go });
        Ok(Dialled { input: Box::new(input), output: Box::new(output), farewell })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A program that runs, until this is dropped.
struct Running {
    /// The end of what it said on standard error.
    said: Arc<Mutex<Vec<u8>>>,
    let_go: oneshot::Sender<oneshot::Sender<()>>,
}

#[async_trait]
impl Farewell for Running {
    async fn last_words(self: Box<Self>) -> String {
        let Self { said, let_go } = *self;
        let (done, ended) = oneshot::channel();
        if let_go.send(done).is_ok() {
            // Whether it was told or dropped: the program has ended.
            ended.await.ok();
        }
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).trim().replace('\n', "; ")
    }
}

/// Listens to what the program says of itself, for as long as it is needed, and then sees to it
/// that it ends, and is waited for.
async fn see_off(
    mut child: Child,
    group: Option<Pid>,
    mut errors: ChildStderr,
    said: Arc<Mutex<Vec<u8>>>,
    gone: oneshot::Receiver<oneshot::Sender<()>>,
) {
    let listening = async {
        let mut bytes = [0; 1024];
        while let Ok(len @ 1..) = errors.read(&mut bytes).await {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend_from_slice(&bytes[..len]);
            let surplus = said.len().saturating_sub(SAID_BYTES_MAX);
            said.drain(..surplus);
        }
    };
    let mut orphans = Orphans(group);
    let ending = async {
        let done = gone.await.ok();
        // Both pipes are closed now, or will be at once.
        let ended = timeout(GRACE, child.wait()).await;
        // Whatever it left behind on purpose may stay.
        let group = orphans.0.take();
        if ended.is_err() {
            let killed = match group {
                // It has not been waited for, so the group is still its own.
                Some(group) => kill_process_group(group, Signal::KILL).map_err(io::Error::from),
                None => child.start_kill(),
            };
            let ended = child.wait().await;
            if let Err(error) = killed.and(ended) {
                tracing::warn!("cannot end a program: {error}");
            }
        }
        done
    };
    let listening = listening.fuse();
    tokio::pin!(ending, listening);
    let done = tokio::select! {
        done = &mut ending => done,
        // It has closed its standard error, but may run on.
        () = &mut listening => ending.await,
    };
    // What it said last may still be in the pipe; a child of its own may hold that open.
    if !listening.is_terminated() {
        timeout(LISTEN, listening).await.ok();
    }
    if let Some(done) = done {
        done.send(()).ok();
    }
}

/// A process group whose leader has not been waited for. Dropping this, as when the runtime ends, kills
/// it: the leader alone would leave what it has started.
struct Orphans(Option<Pid>);

impl Drop for Orphans {
    fn drop(&mut self) {
        if let Some(group) = self.0.take()
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!("cannot end a program: {error}");
        }
    }
}

const SAID_BYTES_MAX: usize = 2048;
const GRACE: Duration = Duration::from_secs(2);
const LISTEN: Duration = Duration::from_millis(100);
