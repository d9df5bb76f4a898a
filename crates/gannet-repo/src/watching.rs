//! Notices that references show to something new, by watching their files (p2p-line §6.7).

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gannet_core::{Error, Result};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::blocking::Blocking;
use crate::git::Git;
use crate::settings::Place;

/// Watches the references of a git repository, for as long as it is kept: one descriptor, and no
/// thread.
///
/// Only what happens on this machine is noticed, on network file systems too.
pub struct References {
    inotify: Arc<AsyncFd<OwnedFd>>,
    /// The git directory, and the descriptor by which events tell that it is meant.
    common_dir: PathBuf,
    top: i32,
    git: Arc<Git>,
    blocking: Blocking,
    known: Values,
    /// Something may be new since `known` was read.
    stale: bool,
    /// Directories may have come that are not watched yet.
    unwatched: bool,
}

/// Names of references, and the objects they show to, in hexadecimal.
pub(crate) type Values = BTreeMap<Vec<u8>, String>;

impl References {
    /// Begins to watch. To be called in the runtime. Blocks.
    ///
    /// # Errors
    /// When the system cannot watch so much.
    pub(crate) fn watch(place: Place, blocking: Blocking) -> Result<Self> {
        let common_dir = place.common_dir.clone();
        let failed = |error| Error::disk("watch", &common_dir, error);
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(io::Error::from)
            .and_then(readable)
            .map_err(failed)?;
        // Packed references are written beside their file, which is then replaced.
        let top = add_watch(&inotify, &common_dir, WatchFlags::MOVED_TO | WatchFlags::ONLYDIR)
            .map_err(|error| failed(error.into()))?;
        watch_below(&inotify, &common_dir.join("refs"))?;
        Ok(Self {
            inotify: Arc::new(inotify),
            common_dir,
            top,
            git: Arc::new(Git::new(place)),
            blocking,
            known: Values::new(),
            stale: true,
            unwatched: false,
        })
    }

    /// Waits until some reference shows to another object than when this last returned, and
    /// returns the ids of these objects in hexadecimal, each once. What changes within a few
    /// hundredths of a second is told together; a reference that is gone is nothing new. The
    /// first time it returns at once what all show to, unless there are none.
    ///
    /// Dropping the future loses no change.
    ///
    /// # Errors
    /// When references cannot be read, or watched any more.
    pub async fn changed(&mut self) -> Result<Vec<String>> {
        loop {
            if !self.stale {
                self.wait().await?;
                tokio::time::sleep(TOGETHER).await;
            }
            // What happens from now on is noticed the next time: it is read after this.
            self.drain()?;
            let values = self.read().await?;
            let mut new: Vec<String> = Vec::new();
            for (name, id) in &values {
                if self.known.get(name) != Some(id) && !new.contains(id) {
                    new.push(id.clone());
                }
            }
            self.known = values;
            (self.stale, self.unwatched) = (false, false);
            if !new.is_empty() {
                return Ok(new);
            }
        }
    }

    /// Waits until something may be new.
    async fn wait(&mut self) -> Result<()> {
        while !self.stale {
            let ready = self.inotify.readable().await;
            ready.map_err(|error| Error::disk("watch", &self.common_dir, error))?.retain_ready();
            self.drain()?;
        }
        Ok(())
    }

    /// Reads what references show to, after seeing to it that all of them are watched.
    async fn read(&self) -> Result<Values> {
        let (git, inotify) = (Arc::clone(&self.git), Arc::clone(&self.inotify));
        let unwatched = self.unwatched.then(|| self.common_dir.join("refs"));
        let read = move || {
            if let Some(dir) = unwatched {
                watch_below(&inotify, &dir)?;
            }
            git.session()?.references()
        };
        self.blocking.begin(read).await
    }

    /// Takes down what happened.
    fn drain(&mut self) -> Result<()> {
        let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
        loop {
            let drained: io::Result<()> = self.inotify.try_io(Interest::READABLE, |inotify| {
                let mut events = Reader::new(inotify, &mut buffer);
                loop {
                    let event = events.next()?;
                    let kind = event.events();
                    let name = event.file_name().map_or(&b""[..], CStr::to_bytes);
                    if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
                        (self.stale, self.unwatched) = (true, true);
                    } else if event.wd() == self.top {
                        self.stale |= name == b"packed-refs";
                    } else {
                        self.unwatched |= kind.contains(ReadFlags::ISDIR);
                        self.stale |= !name.ends_with(b".lock");
                    }
                }
            });
            match drained.map_err(|error| (error.kind(), error)) {
                Ok(()) | Err((io::ErrorKind::Interrupted, _)) => {}
                Err((io::ErrorKind::WouldBlock, _)) => return Ok(()),
                Err((_, error)) => return Err(Error::disk("watch", &self.common_dir, error)),
            }
        }
    }
}

#[expect(deprecated, reason = "unsound for what lends its descriptor; this owns it")]
fn readable(inotify: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(inotify, Interest::READABLE)
}

/// Watches a directory and all below it. Those that are watched already stay so.
fn watch_below(inotify: &AsyncFd<OwnedFd>, dir: &Path) -> Result<()> {
    let failed = |error| Error::disk("watch", dir, error);
    let news = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE;
    match add_watch(inotify, dir, news | WatchFlags::ONLYDIR) {
        Ok(_) => {}
        // Git removes directories that are empty.
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed(error.into())),
    }
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            watch_below(inotify, &entry.path())?;
        }
    }
    Ok(())
}

/// What a push changes is told at once, as git-annex does.
const TOGETHER: Duration = Duration::from_millis(50);
const EVENT_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
