//! Standard input and output without threads, and the signals by which a program is told to end.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as Socket;

use gannet_net::pipe::widen;
use rustix::fs::{FileType, fstat};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::signal::unix::{SignalKind, signal};

use super::Refusal;

/// Standard input. Pipes and sockets, which is what sshd gives, are read without another thread in
/// between.
///
/// # Errors
/// When there is none.
pub(super) fn input() -> std::io::Result<Box<dyn AsyncRead + Send + Unpin>> {
    let (kind, copy) = duplicate(std::io::stdin())?;
    Ok(match kind {
        FileType::Fifo => Box::new(Receiver::from_owned_fd(wide(copy))?),
        FileType::Socket => Box::new(socket(copy)?),
        _ => Box::new(tokio::io::stdin()),
    })
}

/// The same for standard output.
///
/// # Errors
/// When there is none.
pub(super) fn output() -> std::io::Result<Box<dyn AsyncWrite + Send + Unpin>> {
    let (kind, copy) = duplicate(std::io::stdout())?;
    Ok(match kind {
        FileType::Fifo => Box::new(Sender::from_owned_fd(wide(copy))?),
        FileType::Socket => Box::new(socket(copy)?),
        _ => Box::new(tokio::io::stdout()),
    })
}

/// Waits until the program is told to end, and returns by what.
pub(super) async fn told_to_end() -> std::io::Result<&'static str> {
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

/// What to say of standard input and output that cannot be used.
pub(super) fn broken(error: std::io::Error) -> Refusal {
    Refusal::new(format!("standard input and output: {error}"))
}

fn duplicate(file: impl AsFd) -> std::io::Result<(FileType, OwnedFd)> {
    let copy = rustix::io::fcntl_dupfd_cloexec(file, 3)?;
    let kind = FileType::from_raw_mode(fstat(&copy)?.st_mode);
    Ok((kind, copy))
}

fn wide(pipe: OwnedFd) -> OwnedFd {
    widen(&pipe);
    pipe
}

fn socket(copy: OwnedFd) -> std::io::Result<UnixStream> {
    let socket = Socket::from(copy);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
