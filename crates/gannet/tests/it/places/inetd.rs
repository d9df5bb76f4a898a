//! A socket file at which each connection gets a program of its own, as from inetd.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Listens until it is dropped; then it waits until all programs have ended, which they do once
/// their clients have gone.
pub(super) struct Inetd {
    path: PathBuf,
    over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Inetd {
    /// Listens at `path`, where nothing is yet, and starts what `prepare` prepares.
    pub(super) fn start(path: &Path, prepare: impl Fn() -> Command + Send + 'static) -> Self {
        let listener = UnixListener::bind(path).expect("listen at a socket");
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let listening = thread::spawn(move || {
            let mut running = Vec::new();
            for connection in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    break;
                }
                let connection = connection.expect("a connection");
                let input = OwnedFd::from(connection.try_clone().expect("a second descriptor"));
                let mut command = prepare();
                command.stdin(input).stdout(OwnedFd::from(connection));
                running.push(command.spawn().expect("start a program"));
            }
            for mut program in running {
                program.wait().expect("wait for a program");
            }
        });
        Self { path: path.to_owned(), over, listening: Some(listening) }
    }
}

impl Drop for Inetd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // So that it looks.
        drop(UnixStream::connect(&self.path));
        if let Some(listening) = self.listening.take() {
            drop(listening.join());
        }
    }
}
