//! Repositories on disks of this machine, which may take their time to be opened, or never answer.

use std::path::Path;
use std::sync::Arc;

use gannet_repo::{OpenError, Repo};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::clock::SystemClock;

/// The opening of one repository. However many give up waiting for it, only one thread is at it.
#[derive(Default)]
pub(crate) struct Opening {
    under_way: Mutex<Option<JoinHandle<Result<Repo, OpenError>>>>,
}

impl Opening {
    /// Opens the repository at `path`, or waits for what is at it already. That goes on when the future
    /// is dropped.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub(crate) async fn open(&self, path: &Path) -> Result<Repo, String> {
        let mut under_way = self.under_way.lock().await;
        let opening = under_way.get_or_insert_with(|| {
            let path = path.to_owned();
            tokio::task::spawn_blocking(move || Repo::open(&path, Arc::new(SystemClock)))
        });
        let opened = opening.await;
        *under_way = None;
        match opened {
            Ok(opened) => opened.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::time::Duration;

    use gannet_repo::{InitOptions, create};
    use gannet_testkit::ScratchDir;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_disk_that_says_nothing_is_given_up_and_noticed_when_it_is_back() {
        let dir = ScratchDir::new();
        let path = dir.path().join("repo");
        let options = InitOptions { description: "x".to_owned(), bare: true, uuid: None };
        create(&path, &options, &SystemClock).unwrap();
        // Who reads this waits for somebody who writes.
        let pipe = path.join("config.worktree");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let opening = Opening::default();
        for _ in 0..5 {
            let soon = Duration::from_millis(50);
            assert!(timeout(soon, opening.open(&path)).await.is_err(), "it hangs");
        }
        let away = dir.path().join("pipe");
        fs::rename(&pipe, &away).unwrap();
        // What is read ends once nobody can write any more.
        let write = move || drop(OpenOptions::new().write(true).open(away).unwrap());
        let writer = std::thread::spawn(write);
        opening.open(&path).await.unwrap();
        writer.join().unwrap();
    }
}
