//! A store in memory.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use gannet_core::Piece;
use gannet_testkit::Gate;

use crate::remote::special::*;

/// Objects that are forgotten when the last clone is dropped.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    objects: BTreeMap<Key, Bytes>,
    asked: BTreeMap<&'static str, usize>,
    sent: u64,
    vague: bool,
    down: bool,
    puts_left: Option<usize>,
    removals_left: Option<usize>,
    when_removed: Option<Box<dyn Fn() + Send>>,
    pause: Option<Pause>,
}

/// Where somebody will be made to wait.
#[derive(Clone)]
pub(crate) struct Pause {
    verb: &'static str,
    name: Key,
    /// Lets somebody through once this is reached.
    pub(crate) reached: Arc<Gate>,
    /// What is waited for there.
    pub(crate) leave: Arc<Gate>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One that does not tell sizes.
    pub(crate) fn vague() -> Self {
        let store = Self::default();
        store.inside().vague = true;
        store
    }

    /// Names and sizes of all objects.
    pub(crate) fn objects(&self) -> Vec<(Key, usize)> {
        self.inside().objects.iter().map(|(key, bytes)| (key.clone(), bytes.len())).collect()
    }

    /// How often a verb was used.
    pub(crate) fn asked(&self, verb: &'static str) -> usize {
        self.inside().asked.get(verb).copied().unwrap_or_default()
    }

    /// How many bytes were read.
    pub(crate) fn sent(&self) -> u64 {
        self.inside().sent
    }

    pub(crate) fn fail_puts_after(&self, puts: usize) {
        self.inside().puts_left = Some(puts);
    }

    pub(crate) fn fail_removals_after(&self, removals: usize) {
        self.inside().removals_left = Some(removals);
    }

    /// Does that whenever an object was removed.
    pub(crate) fn when_removed(&self, hook: impl Fn() + Send + 'static) {
        self.inside().when_removed = Some(Box::new(hook));
    }

    /// Whoever puts or removes the object of this name next waits before he does.
    pub(crate) fn pause(&self, verb: &'static str, name: Key) -> Pause {
        let pause = Pause { verb, name, reached: Gate::closed(), leave: Gate::closed() };
        self.inside().pause = Some(pause.clone());
        pause
    }

    async fn wait(&self, verb: &'static str, name: &Key) {
        let waits = |pause: &mut Pause| pause.verb == verb && pause.name == *name;
        let pause = self.inside().pause.take_if(waits);
        if let Some(pause) = pause {
            pause.reached.let_through(1);
            pause.leave.pass().await;
        }
    }

    /// Somebody else removes an object.
    pub(crate) fn forget(&self, name: &Key) {
        self.inside().objects.remove(name);
    }

    pub(crate) fn break_down(&self) {
        self.inside().down = true;
    }

    pub(crate) fn damage(&self) {
        for bytes in self.inside().objects.values_mut() {
            let mut damaged = bytes.to_vec();
            damaged[0] ^= 1;
            *bytes = damaged.into();
        }
    }

    /// Keeps what another store does, too.
    pub(crate) fn copy_from(&self, other: &Self) {
        let objects = other.inside().objects.clone();
        self.inside().objects.extend(objects);
    }

    pub(crate) fn shorten(&self) {
        for bytes in self.inside().objects.values_mut() {
            bytes.truncate(bytes.len() - 1);
        }
    }

    fn ask(&self, verb: &'static str) -> Result<MutexGuard<'_, Inside>> {
        let mut inside = self.inside();
        *inside.asked.entry(verb).or_default() += 1;
        match inside.down {
            true => Err(broken()),
            false => Ok(inside),
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn find(&self, name: &Key) -> Result<Option<Found>> {
        let inside = self.ask("find")?;
        let bytes = |bytes: &Bytes| (!inside.vague).then_some(bytes.len() as u64);
        Ok(inside.objects.get(name).map(|object| Found { bytes: bytes(object) }))
    }

    async fn get(&self, name: &Key, _: Option<u64>, span: Span) -> Result<Content> {
        let mut inside = self.ask("get")?;
        let missing = || Error::Missing { key: name.clone() };
        let object = inside.objects.get(name).ok_or_else(missing)?.clone();
        let (from, len) = span.within(object.len() as u64);
        inside.sent += len;
        let place = |offset| usize::try_from(offset).unwrap();
        let part = object.slice(place(from)..place(from + len));
        Ok(Content { total: object.len() as u64, from, ..Content::whole(part) })
    }

    async fn put(&self, name: &Key, source: &Source) -> Result<()> {
        self.wait("put", name).await;
        if let Some(left) = &mut self.ask("put")?.puts_left {
            *left = left.checked_sub(1).ok_or_else(broken)?;
        }
        let mut pieces = source.content().pieces;
        let mut object = Vec::new();
        while let Some(Piece::Bytes(bytes)) = pieces.next().await.transpose()? {
            object.extend_from_slice(&bytes);
        }
        assert_eq!(object.len() as u64, source.bytes());
        self.inside().objects.insert(name.clone(), object.into());
        Ok(())
    }

    async fn remove(&self, name: &Key, permission: &Permission) -> Result<bool> {
        self.wait("remove", name).await;
        let mut inside = self.ask("remove")?;
        if !permission.holds() {
            return Ok(false);
        }
        if let Some(left) = &mut inside.removals_left {
            *left = left.checked_sub(1).ok_or_else(broken)?;
        }
        if inside.objects.remove(name).is_some()
            && let Some(hook) = &inside.when_removed
        {
            hook();
        }
        Ok(true)
    }
}

#[async_trait]
impl FileStore for Memory {
    async fn find(&self, name: &Key) -> Result<bool> {
        Ok(Store::find(self, name).await?.is_some())
    }

    async fn fetch(&self, name: &Key, to: &Path) -> Result<()> {
        let object = self.get(name, None, Span::ALL).await?;
        let mut file = std::fs::File::create_new(to).unwrap();
        object
            .pour(|bytes| {
                file.write_all(&bytes).unwrap();
                Ok(())
            })
            .await?;
        Ok(())
    }

    async fn put(&self, name: &Key, from: &Path, guard: Guard) -> Result<()> {
        let file = std::fs::File::open(from).unwrap();
        let bytes = file.metadata().unwrap().len();
        Store::put(self, name, &Source::whole(file.into(), from.to_owned(), bytes, guard)).await
    }

    async fn remove(&self, name: &Key, permission: &Permission) -> Result<bool> {
        Store::remove(self, name, permission).await
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

fn broken() -> Error {
    Error::Remote { place: "memory".to_owned(), why: "it is broken".to_owned() }
}
