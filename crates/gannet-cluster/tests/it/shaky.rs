//! A stern place behind a way on which everything can happen.

use std::collections::BTreeSet;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gannet_core::{
    Annex, Asker, AssociatedFile, Content, Error, Key, Lock, Piece, PutOffset, Removal, Result,
    Span, Stored, Timestamp, Uuid,
};
use gannet_testkit::{Stern, TestClock};
use tokio::time::sleep;

use crate::scene::{Scene, described, remote};

/// A stern place behind a way on which everything can happen. Clones are the same.
#[derive(Clone)]
pub(crate) struct Shaky {
    pub(crate) stern: Stern,
    way: Arc<Way>,
}

struct Way {
    state: Mutex<State>,
    alive: Arc<()>,
}

#[derive(Default)]
struct State {
    mood: Mood,
    unknown: BTreeSet<Vec<u8>>,
}

/// What happens on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mood {
    /// Nobody gets there.
    pub(crate) down: bool,
    /// Nobody hears anything from there.
    pub(crate) hangs: bool,
    /// Each answer takes this long.
    pub(crate) slow: Duration,
    /// Each piece of content takes this long.
    pub(crate) slow_pieces: Duration,
    /// It says this of whether content is present.
    pub(crate) lies: Option<bool>,
    /// Puts end after so many bytes.
    pub(crate) puts: Option<(u64, Mishap)>,
    /// Gets end after so many bytes.
    pub(crate) gets: Option<(u64, Mishap)>,
    /// Contents that are read have a wrong byte.
    pub(crate) corrupt: bool,
    /// Contents disappear when they are to be read.
    pub(crate) vanishes: bool,
    /// What is stored or removed is so, but the answer is lost.
    pub(crate) mute: bool,
    /// So much passes on this clock while it says what its own clock shows.
    pub(crate) time_passes: Option<(Arc<TestClock>, u32)>,
}

impl Mood {
    /// Nothing happens.
    pub(crate) fn is_good(&self) -> bool {
        let Self {
            down, hangs, slow, slow_pieces, lies, puts, gets, corrupt, vanishes, mute, ..
        } = self;
        let bad = *down || *hangs || *corrupt || *vanishes || *mute;
        let slow = !slow.is_zero() || !slow_pieces.is_zero();
        !bad && !slow && lies.is_none() && puts.is_none() && gets.is_none()
    }

    /// Whoever asks gets an answer, if he waits.
    pub(crate) fn answers(&self) -> bool {
        !self.down && !self.hangs
    }
}

/// How a transfer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    Killed,
    Full,
    Hangs,
}

impl Shaky {
    pub(crate) fn new(stern: Stern) -> Self {
        Self { stern, way: Arc::new(Way { state: Mutex::default(), alive: Arc::new(()) }) }
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.state().mood = mood;
    }

    pub(crate) fn mood(&self) -> Mood {
        self.state().mood.clone()
    }

    /// How many requests and contents of its there are.
    pub(crate) fn alive(&self) -> usize {
        Arc::strong_count(&self.way.alive) - 1
    }

    /// Whether somebody who acted on `key` cannot know what came of it.
    pub(crate) fn is_unknown(&self, key: &Key) -> bool {
        self.state().unknown.contains(key.as_bytes())
    }

    /// It is known again.
    pub(crate) fn forget(&self, key: &Key) {
        self.state().unknown.remove(key.as_bytes());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.way.state.lock().expect("a state")
    }

    async fn reach(&self) -> Result<(Mood, Arc<()>)> {
        let alive = Arc::clone(&self.way.alive);
        let mood = self.mood();
        sleep(mood.slow).await;
        if mood.hangs {
            pending::<()>().await;
        }
        if mood.down { Err(remote("cannot connect")) } else { Ok((mood, alive)) }
    }

    /// Something happened, and whoever asked for it hears of it, unless he goes away meanwhile.
    async fn tell<T>(&self, mood: &Mood, key: &Key, what: Result<T>) -> Result<T> {
        let what = what?;
        let news = self.state().unknown.insert(key.as_bytes().to_vec());
        sleep(mood.slow).await;
        if mood.mute {
            return Err(remote("the connection broke"));
        }
        if news {
            self.state().unknown.remove(key.as_bytes());
        }
        Ok(what)
    }
}

/// Puts each node of a scene behind a shaky way, as expensive as before.
pub(crate) fn behind_shaky_ways(scene: &Scene) -> Vec<Shaky> {
    let shaky: Vec<_> = scene.nodes.iter().cloned().map(Shaky::new).collect();
    let mut nodes = described(&scene.nodes);
    for (node, shaky) in nodes.iter_mut().zip(&shaky) {
        node.annex = Arc::new(shaky.clone());
    }
    scene.cluster.set_nodes(&nodes);
    shaky
}

fn mishap(mishap: Mishap) -> Error {
    match mishap {
        Mishap::Killed | Mishap::Hangs => Error::Interrupted,
        Mishap::Full => Error::NoSpace { needed: 2, free: 1 },
    }
}

/// The same content, but for what happens to it on the way.
fn on_the_way(
    content: Content,
    pause: Duration,
    ends: Option<(u64, Mishap)>,
    corrupt: bool,
    alive: Arc<()>,
) -> Content {
    let Content { total, from, len, pieces } = content;
    let way = (pieces, 0_u64, alive, false);
    let pieces = stream::unfold(way, move |(mut pieces, passed, alive, over)| async move {
        if over {
            return None;
        }
        sleep(pause).await;
        if let Some((after, how)) = ends
            && passed >= after
        {
            if how == Mishap::Hangs {
                pending::<()>().await;
            }
            return Some((Err(mishap(how)), (pieces, passed, alive, true)));
        }
        match pieces.next().await? {
            Ok(Piece::Bytes(bytes)) => {
                let mut bytes = bytes.to_vec();
                if corrupt {
                    bytes[0] ^= 1;
                }
                let passed = passed + bytes.len() as u64;
                Some((Ok(Piece::Bytes(Bytes::from(bytes))), (pieces, passed, alive, false)))
            }
            piece => Some((piece, (pieces, passed, alive, false))),
        }
    });
    Content { total, from, len, pieces: pieces.boxed() }
}

#[async_trait]
impl Annex for Shaky {
    fn uuid(&self) -> &Uuid {
        self.stern.uuid()
    }

    async fn check_present(&self, asker: &Asker, key: &Key) -> Result<bool> {
        let (mood, _alive) = self.reach().await?;
        let present = self.stern.check_present(asker, key).await?;
        Ok(mood.lies.unwrap_or(present))
    }

    async fn get(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        span: Span,
    ) -> Result<Content> {
        let (mood, alive) = self.reach().await?;
        if mood.vanishes && self.stern.content_of(key).is_some() {
            self.state().unknown.insert(key.as_bytes().to_vec());
            self.stern.remove(asker, key).await?;
        }
        let content = self.stern.get(asker, key, file, span).await?;
        Ok(on_the_way(content, mood.slow_pieces, mood.gets, mood.corrupt, alive))
    }

    async fn put_offset(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
    ) -> Result<PutOffset> {
        let (_mood, _alive) = self.reach().await?;
        self.stern.put_offset(asker, key, file).await
    }

    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        content: Content,
    ) -> Result<Stored> {
        let (mood, alive) = self.reach().await?;
        let content = on_the_way(content, mood.slow_pieces, mood.puts, false, alive);
        let stored = self.stern.put(asker, key, file, content).await;
        self.tell(&mood, key, stored).await
    }

    async fn put_present(&self, asker: &Asker, key: &Key, file: &AssociatedFile) -> Result<Stored> {
        let (_mood, _alive) = self.reach().await?;
        self.stern.put_present(asker, key, file).await
    }

    async fn remove(&self, asker: &Asker, key: &Key) -> Result<Removal> {
        let (mood, _alive) = self.reach().await?;
        let removal = self.stern.remove(asker, key).await;
        self.tell(&mood, key, removal).await
    }

    async fn remove_before(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Timestamp,
    ) -> Result<Removal> {
        let (mood, _alive) = self.reach().await?;
        let removal = self.stern.remove_before(asker, key, deadline).await;
        self.tell(&mood, key, removal).await
    }

    async fn timestamp(&self, asker: &Asker) -> Result<Timestamp> {
        let (mood, _alive) = self.reach().await?;
        let now = self.stern.timestamp(asker).await?;
        if let Some((clock, seconds)) = mood.time_passes {
            clock.advance(seconds);
            self.stern.test_clock().advance(seconds);
        }
        Ok(now)
    }

    async fn lock(&self, asker: &Asker, key: &Key) -> Result<Option<Lock>> {
        self.stern.lock(asker, key).await
    }
}

impl fmt::Display for Shaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the way to {}", self.stern)
    }
}
