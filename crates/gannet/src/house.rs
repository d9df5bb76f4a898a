//! From a uuid to the place that keeps the content: the repositories that are served.
//!
//! Repositories are opened when they are first asked for and closed when nobody asked for a
//! while, so that a thousand idle ones cost a thousand paths and nothing else.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use gannet_core::{Annex, Error, Result, Uuid};
use gannet_net::serve::http::{self, Login, Rights};
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::access::Access;
use crate::yard::{Opened, Signature, Yard};
use behind::Behind;
use survey::{Found, Seen, Survey};

mod behind;
mod scouts;
mod survey;
mod walk;

pub(crate) use walk::repository_around;

/// The repositories that are served, and what whoever asks may do with them.
#[derive(Clone)]
pub(crate) struct House {
    rooms: Arc<Rooms>,
    access: Arc<Access>,
}

/// Where to look for repositories.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grounds {
    /// Repositories that were named.
    pub(crate) named: Vec<PathBuf>,
    /// Directories below which every repository is served.
    pub(crate) directories: Vec<PathBuf>,
}

impl House {
    /// A house that has not looked for its repositories yet.
    pub(crate) fn new(grounds: Grounds, yard: Arc<dyn Yard>, access: Access) -> Self {
        let rooms = Rooms {
            yard,
            survey: Mutex::new(Survey::new(grounds)),
            index: Mutex::default(),
            progress: watch::Sender::new(()),
        };
        Self { rooms: Arc::new(rooms), access: Arc::new(access) }
    }

    /// Looks for repositories in the background, if that may be done again already.
    ///
    /// Whoever asks for a repository meanwhile waits until it is found, or all have been seen.
    pub(crate) fn look_around(&self) {
        self.rooms.look_around(&mut self.rooms.index());
    }

    /// The place with this uuid, open; `None` if it is not served.
    ///
    /// # Errors
    /// When its repository is broken.
    pub(crate) async fn open(&self, uuid: &Uuid) -> Result<Option<Arc<dyn Annex>>> {
        self.rooms.open(uuid).await
    }

    /// Closes, again and again, what nobody uses any more. Never returns.
    pub(crate) async fn tidy_up(&self) {
        let mut ticks = interval(IDLE_MAX / 10);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.rooms.close_idle().await;
        }
    }

    /// Makes durable what the open repositories have noted down and not yet committed.
    pub(crate) async fn flush(&self) {
        let open: Vec<Opened> = {
            let index = self.rooms.index();
            index.by_uuid.values().filter_map(|room| room.opened.get().cloned()).collect()
        };
        join_all(open.iter().map(flush)).await;
    }
}

#[async_trait]
impl http::House for House {
    async fn annex(&self, uuid: &Uuid) -> Result<Option<Arc<dyn Annex>>> {
        self.open(uuid).await
    }

    fn rights(&self, login: Option<&Login>) -> Rights {
        self.access.rights(login)
    }
}

struct Rooms {
    yard: Arc<dyn Yard>,
    /// Held by whoever is looking around, on a thread that may block.
    survey: Mutex<Survey>,
    index: Mutex<Index>,
    /// Marked whenever `index` has learnt something.
    progress: watch::Sender<()>,
}

/// Never held across an await.
#[derive(Default)]
struct Index {
    by_uuid: HashMap<Uuid, Room>,
    /// What is behind gateways.
    behind: Behind,
    looking: Looking,
}

#[derive(Clone, Copy, Debug, Default)]
enum Looking {
    #[default]
    Never,
    Now,
    /// Not again before this time.
    RestingUntil(Instant),
}

/// One repository.
#[derive(Clone)]
struct Room {
    path: Arc<Path>,
    /// What the repository looked like when it was last found to have its uuid.
    signature: Option<Signature>,
    opened: Arc<OnceCell<Opened>>,
    /// Whoever looks at it on its disk, which may never answer, has one.
    looks: Arc<Semaphore>,
    last_used: Instant,
}

impl Rooms {
    async fn open(self: &Arc<Self>, uuid: &Uuid) -> Result<Option<Arc<dyn Annex>>> {
        while let Some((host, room)) = self.find(uuid).await {
            let Some(opened) = self.open_room(&host, &room).await? else { continue };
            if host == *uuid {
                return Ok(Some(opened.annex));
            }
            if let Some(annex) = opened.repository.behind(uuid).await? {
                return Ok(Some(annex));
            }
            self.index().behind.forget(uuid, &host);
        }
        Ok(None)
    }

    /// Opens the repository, if it is still there.
    async fn open_room(&self, uuid: &Uuid, room: &Room) -> Result<Option<Opened>> {
        if self.is_still_there(uuid, room).await? {
            let yard = Arc::clone(&self.yard);
            let open = || room.at_the_disk(move |path| yard.open(path));
            let opened = room.opened.get_or_try_init(open).await?;
            if opened.annex.uuid() == uuid {
                return Ok(Some(opened.clone()));
            }
            // It changed between two glances.
        }
        self.forget(uuid, &room.path);
        Ok(None)
    }

    /// Finds the repository in the index, or the gateway behind which it is, with its uuid, and
    /// looks around if neither is there.
    async fn find(self: &Arc<Self>, uuid: &Uuid) -> Option<(Uuid, Room)> {
        let mut progress = self.progress.subscribe();
        let mut looked = false;
        loop {
            {
                let mut index = self.index();
                if let Some((host, room)) = index.host_of(uuid) {
                    room.last_used = Instant::now();
                    return Some((host, room.clone()));
                }
                let looking = matches!(index.looking, Looking::Now);
                if !looking && (looked || !self.look_around(&mut index)) {
                    return None;
                }
                looked = true;
            }
            progress.changed().await.ok()?;
        }
    }

    /// Whether the repository still has this uuid. Mostly the system knows that by heart, and
    /// asking it is cheaper than the way to another thread.
    async fn is_still_there(&self, uuid: &Uuid, room: &Room) -> Result<bool> {
        let cached = self.yard.cached_signature(&room.path);
        if cached.is_some() && cached == room.signature {
            return Ok(true);
        }
        let yard = Arc::clone(&self.yard);
        let known = room.signature;
        let look = move |path: &Path| {
            let signature = yard.signature(path)?;
            Ok(match signature {
                None => (None, None),
                Some(_) if signature == known => (signature, None),
                Some(_) => (signature, Some(yard.peek(path)?)),
            })
        };
        let signature = match room.at_the_disk(look).await? {
            (None, _) => return Ok(false),
            (_, None) => return Ok(true),
            (signature, Some(Some(peeked))) if peeked.uuid == *uuid => signature,
            _ => return Ok(false),
        };
        if let Some(known) = self.index().by_uuid.get_mut(uuid)
            && known.path == room.path
        {
            known.signature = signature;
        }
        Ok(true)
    }

    fn forget(&self, uuid: &Uuid, path: &Path) {
        let mut index = self.index();
        if let Entry::Occupied(room) = index.by_uuid.entry(uuid.clone())
            && &*room.get().path == path
        {
            tracing::info!(%uuid, path = %path.display(), "the repository is gone");
            room.remove();
        }
    }

    /// Starts to look around. `false` if it is too early for that.
    fn look_around(self: &Arc<Self>, index: &mut Index) -> bool {
        match index.looking {
            Looking::Now => return true,
            Looking::RestingUntil(time) if Instant::now() < time => return false,
            Looking::RestingUntil(_) | Looking::Never => index.looking = Looking::Now,
        }
        let rooms = Arc::clone(self);
        tokio::spawn(async move {
            let began = Instant::now();
            let worker = Arc::clone(&rooms);
            let done = blocking(move || Ok(worker.survey())).await;
            match done {
                Ok(seen) => {
                    rooms.index().by_uuid.retain(|uuid, room| seen.keeps(uuid, &room.path));
                    rooms.look_behind(&seen.gateways).await;
                }
                Err(error) => tracing::warn!("cannot look around: {}", error.chain()),
            }
            let took = began.elapsed();
            {
                let mut index = rooms.index();
                index.looking = Looking::RestingUntil(Instant::now() + rest(took));
                let repositories = index.by_uuid.len();
                tracing::debug!(repositories, ?took, "looked for repositories");
            }
            rooms.progress.send_replace(());
        });
        true
    }

    /// Looks everywhere. What is found is known at once; returns what there is.
    fn survey(&self) -> Seen {
        let mut survey = self.survey.lock().unwrap_or_else(PoisonError::into_inner);
        survey.look(&self.yard, |found| self.learn(found))
    }

    /// Finds out what is behind these repositories, which have to be opened for that.
    async fn look_behind(&self, gateways: &[Uuid]) {
        let look = async |gateway: &Uuid| {
            let room = self.index().by_uuid.get(gateway).cloned();
            let served = async {
                let Some(room) = room else { return Ok(Vec::new()) };
                match self.open_room(gateway, &room).await? {
                    Some(opened) => opened.repository.served().await,
                    None => Ok(Vec::new()),
                }
            };
            let silent = Error::Overloaded { what: "requests for this repository" };
            timeout(LOOK_WAIT_MAX, served).await.unwrap_or(Err(silent))
        };
        let seen = join_all(gateways.iter().map(look)).await;
        self.index().behind.learn(gateways.iter().cloned().zip(seen));
    }

    fn learn(&self, Found { uuid, path, signature }: Found) {
        {
            let mut index = self.index();
            if index.by_uuid.get(&uuid).is_some_and(|room| room.path == path) {
                return;
            }
            let room = Room {
                path,
                signature,
                opened: Arc::default(),
                looks: Arc::new(Semaphore::new(LOOKS_MAX)),
                last_used: Instant::now(),
            };
            index.by_uuid.insert(uuid, room);
        }
        self.progress.send_replace(());
    }

    async fn close_idle(&self) {
        let idle: Vec<(Uuid, Opened)> = {
            let index = self.index();
            let open = index.by_uuid.iter().filter(|(_, room)| room.is_idle());
            open.filter_map(|(uuid, room)| Some((uuid.clone(), room.opened.get()?.clone())))
                .collect()
        };
        for (uuid, opened) in idle {
            // One that hangs must not keep the others open.
            if !timeout(FLUSH_TIME_MAX, flush(&opened)).await.unwrap_or(false) {
                continue;
            }
            drop(opened);
            let mut index = self.index();
            // Somebody may have come while it was flushed.
            if let Some(room) = index.by_uuid.get_mut(&uuid)
                && room.is_idle()
                && room.opened.get().is_some_and(|open| {
                    Arc::strong_count(&open.annex) == 1 && !open.repository.is_in_use()
                })
            {
                tracing::debug!(%uuid, "closing the idle repository");
                room.opened = Arc::default();
            }
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// The repository that has this uuid, else the gateway behind which it is.
    fn host_of(&mut self, uuid: &Uuid) -> Option<(Uuid, &mut Room)> {
        let host = match self.by_uuid.contains_key(uuid) {
            true => uuid.clone(),
            false => self.behind.gateway_of(uuid)?.clone(),
        };
        self.by_uuid.get_mut(&host).map(|room| (host, room))
    }
}

impl Room {
    fn is_idle(&self) -> bool {
        self.last_used.elapsed() >= IDLE_MAX
    }

    /// Looks at it on its disk, with few others at a time.
    ///
    /// # Errors
    /// What `work` reports, and [`Error::Overloaded`] when the disk does not answer the others.
    async fn at_the_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let look = timeout(LOOK_WAIT_MAX, Arc::clone(&self.looks).acquire_owned()).await;
        let Ok(Ok(look)) = look else {
            return Err(Error::Overloaded { what: "requests for this repository" });
        };
        let path = Arc::clone(&self.path);
        blocking(move || {
            let done = work(&path);
            drop(look);
            done
        })
        .await
    }
}

/// Flushes one repository. `false`, and a line in the log, if that failed.
async fn flush(opened: &Opened) -> bool {
    match opened.repository.flush().await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!("cannot flush {}: {}", opened.annex, error.chain());
            false
        }
    }
}

/// How long not to look around again when it took this long: at most a tenth of the time goes
/// into looking for what strangers make up.
fn rest(took: Duration) -> Duration {
    REST_MIN.max(took.saturating_mul(10))
}

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Internal(format!("a thread failed: {error}"))),
    }
}

const REST_MIN: Duration = Duration::from_secs(1);
/// How many threads may look at one repository from here: not more than can be spared if its
/// disk never answers.
const LOOKS_MAX: usize = 4;
/// How long a request waits for one of them.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long an idle repository may take to write down what is left, before others get their turn.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(30);
/// After so long without a request a repository is closed.
const IDLE_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
