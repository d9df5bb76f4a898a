//! External special remotes: programs that store and fetch files (remotes §10).

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gannet_core::{Error, Key, Notes, Result, Uuid};
use gannet_wire::external::{Reply, Request};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::running::{Running, Trouble};
use super::line::Program;
use super::special::{FileStore, Guard, Permission};

mod running;

/// Programs that speak the external special remote protocol, one request at a time each.
///
/// As many are started as requests come at once, up to a limit; those that are idle are used
/// again. One that said what makes no sense, or nothing for too long, or whose request was given
/// up, is ended. All are waited for.
pub struct External {
    options: Arc<ExternalOptions>,
    idle: Mutex<Vec<Running>>,
    slots: Semaphore,
}

/// Which program, and what it may ask for.
#[derive(Clone)]
pub struct ExternalOptions {
    /// The program: `git-annex-remote-` and the type of the remote, as a rule.
    pub program: Program,
    /// The uuid of the remote.
    pub uuid: Uuid,
    /// The uuid of its settings: another one if it is the same as another remote (`--sameas`).
    pub config_uuid: Uuid,
    /// What git calls the remote.
    pub name: Vec<u8>,
    /// Its settings, as they stand in `remote.log`.
    pub config: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The git directory of the repository in front of it.
    pub git_dir: PathBuf,
    /// What that repository notes of it.
    pub notes: Arc<dyn Notes>,
    /// How many programs may run at once.
    pub programs_max: usize,
    /// For how long a program may say nothing.
    pub patience: Patience,
}

/// For how long a program may say nothing before it is ended.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// While it begins, or answers a question.
    pub answer: Duration,
    /// While it moves a file.
    pub transfer: Duration,
    /// And for how long a request waits for others to be done.
    pub turn: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self { answer: minutes(5), transfer: minutes(60), turn: minutes(1) }
    }
}

impl External {
    /// Nothing is started before there is something to do.
    #[must_use]
    pub fn new(options: ExternalOptions) -> Self {
        let slots = Semaphore::new(options.programs_max.max(1));
        Self { options: Arc::new(options), idle: Mutex::default(), slots }
    }

    /// What a program says using it costs (`GETCOST`). `None` if it does not know.
    ///
    /// # Errors
    /// When no program can tell.
    pub async fn cost(&self) -> Result<Option<u64>> {
        match self.ask(&Request::GetCost, None, None).await? {
            Some(Reply::Cost(cost)) => Ok(Some(cost)),
            _ => Ok(None),
        }
    }

    /// Asks one of the programs, if the permission still holds when it is ready. `guard` is kept
    /// until the program is done, or has ended.
    async fn ask(
        &self,
        request: &Request,
        guard: Option<Guard>,
        permission: Option<&Permission>,
    ) -> Result<Option<Reply>> {
        let slot = timeout(self.options.patience.turn, self.slots.acquire()).await;
        let Ok(Ok(_slot)) = slot else {
            return Err(Error::Overloaded { what: "requests for this special remote" });
        };
        let mut asked = false;
        loop {
            let idle = self.idle().pop();
            let fresh = idle.is_none();
            let mut running = match idle {
                Some(running) => running,
                None => Running::start(&self.options).await?,
            };
            if permission.is_some_and(|permission| !permission.holds()) {
                self.idle().push(running);
                return match asked {
                    false => Ok(None),
                    true => Err(self.failed("removing", b"it ended when it was asked to")),
                };
            }
            match running.ask(request, guard.clone()).await {
                Ok(reply) => {
                    self.idle().push(running);
                    return Ok(Some(reply));
                }
                // It ended while it was idle.
                Err(Trouble::Gone { heard: false }) if !fresh => asked = true,
                Err(trouble) => return Err(running.end(trouble).await),
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Running>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, doing: &str, why: &[u8]) -> Error {
        let why = match why {
            b"" => "it does not say why".into(),
            why => String::from_utf8_lossy(why),
        };
        Error::Remote { place: self.to_string(), why: format!("{doing} failed: {why}") }
    }
}

#[async_trait]
impl FileStore for External {
    async fn find(&self, name: &Key) -> Result<bool> {
        let request = Request::CheckPresent(name.clone());
        // What no program can be told of none has.
        if request.line().is_err() {
            return Ok(false);
        }
        match self.ask(&request, None, None).await? {
            Some(Reply::Success) => Ok(true),
            Some(Reply::Failure(_)) => Ok(false),
            Some(Reply::Unknown(why)) => Err(self.failed("looking for content", &why)),
            _ => Err(self.failed("looking for content", b"")),
        }
    }

    async fn fetch(&self, name: &Key, to: &Path) -> Result<()> {
        let request = Request::Retrieve(name.clone(), to.as_os_str().as_bytes().to_vec());
        if Request::CheckPresent(name.clone()).line().is_err() {
            return Err(Error::Missing { key: name.clone() });
        }
        match self.ask(&request, None, None).await? {
            Some(Reply::Success) => Ok(()),
            Some(Reply::Failure(why)) => Err(self.failed("fetching", &why)),
            _ => Err(self.failed("fetching", b"")),
        }
    }

    async fn put(&self, name: &Key, from: &Path, guard: Guard) -> Result<()> {
        let request = Request::Store(name.clone(), from.as_os_str().as_bytes().to_vec());
        if let Err(why) = request.line() {
            return Err(Error::Refused { key: name.clone(), why: why.to_string() });
        }
        match self.ask(&request, Some(guard), None).await? {
            Some(Reply::Success) => Ok(()),
            Some(Reply::Failure(why)) => Err(self.failed("storing", &why)),
            _ => Err(self.failed("storing", b"")),
        }
    }

    async fn remove(&self, name: &Key, permission: &Permission) -> Result<bool> {
        let request = Request::Remove(name.clone());
        if request.line().is_err() {
            return Ok(permission.holds());
        }
        match self.ask(&request, Some(permission.guard()), Some(permission)).await? {
            Some(Reply::Success) => Ok(true),
            Some(Reply::Failure(why)) => Err(self.failed("removing", &why)),
            Some(_) => Err(self.failed("removing", b"")),
            None => Ok(false),
        }
    }
}

impl fmt::Display for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.program.fmt(f)
    }
}

#[cfg(test)]
mod tests;
