//! `p2pstdio`: the line protocol on standard input and output.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::process::ExitCode;
use std::sync::Arc;

use gannet_core::{Annex, Asker};
use gannet_net::serve::p2p::{LineDoor, NoGit, Version};
use rustix::fs::{FileType, fstat};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::signal::unix::{SignalKind, signal};

use super::{Outcome, Refusal};

/// Serves the client until it goes, or a signal comes.
///
/// # Errors
/// When the conversation did not end well.
pub(super) async fn serve(annex: Arc<dyn Annex>, asker: Asker) -> Outcome {
    let door = LineDoor { annex, asker, git: Arc::new(NoGit), newest: Version::NEWEST };
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

/// Waits until the program is told to end, and returns by what.
async fn told_to_end() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    // Whoever takes no notice of it is killed when a file grows too large; so writing fails.
    let _file_too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    Ok(tokio::select! {
        _ = terminate.recv() => "ended by SIGTERM",
        _ = interrupt.recv() => "ended by SIGINT",
        _ = hang_up.recv() => "ended by SIGHUP",
    })
}

fn broken(error: std::io::Error) -> Refusal {
    Refusal::new(format!("standard input and output: {error}"))
}

/// Pipes and sockets, which is what sshd gives, are read without another thread in between.
fn input() -> std::io::Result<Box<dyn AsyncRead + Send + Unpin>> {
    let (kind, copy) = duplicate(std::io::stdin())?;
    Ok(match kind {
        FileType::Fifo => Box::new(Receiver::from_owned_fd(copy)?),
        FileType::Socket => Box::new(socket(copy)?),
        _ => Box::new(tokio::io::stdin()),
    })
}

fn output() -> std::io::Result<Box<dyn AsyncWrite + Send + Unpin>> {
    let (kind, copy) = duplicate(std::io::stdout())?;
    Ok(match kind {
        FileType::Fifo => Box::new(Sender::from_owned_fd(copy)?),
        FileType::Socket => Box::new(socket(copy)?),
        _ => Box::new(tokio::io::stdout()),
    })
}

fn duplicate(file: impl AsFd) -> std::io::Result<(FileType, OwnedFd)> {
    let copy = rustix::io::fcntl_dupfd_cloexec(file, 3)?;
    let kind = FileType::from_raw_mode(fstat(&copy)?.st_mode);
    Ok((kind, copy))
}

fn socket(copy: OwnedFd) -> std::io::Result<UnixStream> {
    let socket = Socket::from(copy);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
