//! A special remote, and what it needs around it.

use std::path::PathBuf;

use bytes::Bytes;
use gannet_core::{Mode, Verdict, WallTime};
use gannet_testkit::{Journey, MemoryNotes, Parts, Sample, ScratchDir, TestClock};

use super::Memory;
use crate::remote::special::*;

/// A special remote with a spool, notes and a clock of its own.
pub(crate) struct Setting {
    special: Arc<Special>,
    clock: Arc<TestClock>,
    notes: Arc<MemoryNotes>,
    dir: Arc<ScratchDir>,
}

impl Setting {
    pub(crate) fn over(store: impl Store, chunk: Option<u64>) -> Self {
        Self::new(Arc::new(store), chunk, |_| {})
    }

    /// Over a store of whole files.
    pub(crate) fn over_files(store: impl FileStore, chunk: Option<u64>) -> Self {
        let setting = Self::over(Memory::new(), chunk);
        let spool = setting.special.options.spool.clone();
        let options = setting.special.options.clone();
        let special = Arc::new(Special::new(Arc::new(Whole::new(store, spool)), options));
        Self { special, ..setting }
    }

    /// With so many bytes at most in its spool.
    pub(crate) fn with_spool(store: impl Store, bytes_max: u64) -> Self {
        Self::new(Arc::new(store), None, |options| options.bytes_max = bytes_max)
    }

    /// With so many bytes that stay free.
    pub(crate) fn with_reserve(store: impl Store, reserve_bytes: u64) -> Self {
        Self::new(Arc::new(store), None, |options| options.reserve_bytes = reserve_bytes)
    }

    fn new(
        store: Arc<dyn Store>,
        chunk: Option<u64>,
        tune: impl FnOnce(&mut SpoolOptions),
    ) -> Self {
        let dir = Arc::new(ScratchDir::new());
        let clock = TestClock::new();
        let notes = Arc::new(MemoryNotes::default());
        let mut options =
            SpoolOptions { dir: dir.path().join("spool"), reserve_bytes: 0, bytes_max: 1 << 30 };
        tune(&mut options);
        let options = SpecialOptions {
            uuid: Uuid::parse(b"5bec1a10-0000-4000-8000-000000000001").unwrap(),
            chunk: chunk.and_then(NonZeroU64::new),
            readonly: false,
            spool: Spool::open(options, &*clock).unwrap(),
            notes: Arc::clone(&notes) as Arc<dyn Notes>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
        };
        Self { special: Arc::new(Special::new(store, options)), clock, notes, dir }
    }

    /// For the tests of the promise.
    pub(crate) fn place(self) -> Parts {
        self.place_with(())
    }

    /// The same; `guards` are dropped after it.
    pub(crate) fn place_with(self, guards: impl std::any::Any + Send + Sync) -> Parts {
        Parts::new(self.special, Some(self.clock), (self.dir, guards))
    }

    fn changed(&self, change: impl FnOnce(&mut SpecialOptions)) -> Self {
        let mut options = self.special.options.clone();
        change(&mut options);
        let special = Arc::new(Special::new(Arc::clone(&self.special.store), options));
        let (clock, notes) = (Arc::clone(&self.clock), Arc::clone(&self.notes));
        Self { special, clock, notes, dir: Arc::clone(&self.dir) }
    }

    pub(crate) fn reconfigure(&self, chunk: Option<u64>) -> Self {
        self.changed(|options| options.chunk = chunk.and_then(NonZeroU64::new))
    }

    pub(crate) fn readonly(&self) -> Self {
        self.changed(|options| options.readonly = true)
    }

    /// The same spool, opened as another process would.
    pub(crate) fn reopen(&self) -> Self {
        let spool = SpoolOptions { dir: self.spool_dir(), reserve_bytes: 0, bytes_max: 1 << 30 };
        self.changed(|options| options.spool = Spool::open(spool, &*self.clock).unwrap())
    }

    pub(crate) fn set_wall_seconds(&self, seconds: i64) {
        self.clock.set_wall(WallTime { seconds, nanos: 0 });
    }

    pub(crate) fn spool_dir(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    /// Looks again and again, for what a thread may still be putting away.
    pub(crate) async fn comes_to_spool(&self, files: usize) {
        for _ in 0..1000 {
            if self.spooled() == files {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("there are {} files in the spool", self.spooled());
    }

    /// How many files of content are in the spool.
    pub(crate) fn spooled(&self) -> usize {
        fn files(dir: PathBuf) -> usize {
            let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
            entries
                .flatten()
                .map(|entry| match entry.file_type().unwrap().is_dir() {
                    true => files(entry.path()),
                    false => usize::from(entry.file_name() != "lock"),
                })
                .sum()
        }
        files(self.spool_dir())
    }

    pub(crate) fn annex(&self) -> Arc<Special> {
        Arc::clone(&self.special)
    }

    pub(crate) fn asker(&self) -> Asker {
        Asker::with_mode(Mode::FULL)
    }

    pub(crate) async fn put(&self, sample: &Sample) -> Result<Stored> {
        self.send(&sample.key, Journey::of(&sample.bytes, 0)).await
    }

    pub(crate) async fn send(&self, key: &Key, journey: Journey) -> Result<Stored> {
        let file = AssociatedFile::default();
        self.special.put(&self.asker(), key, &file, journey.content()).await
    }

    pub(crate) async fn present(&self, key: &Key) -> bool {
        self.special.check_present(&self.asker(), key).await.unwrap()
    }

    pub(crate) async fn offset(&self, key: &Key) -> PutOffset {
        self.special.put_offset(&self.asker(), key, &AssociatedFile::default()).await.unwrap()
    }

    pub(crate) async fn get(&self, key: &Key, span: Span) -> Result<Content> {
        self.special.get(&self.asker(), key, &AssociatedFile::default(), span).await
    }

    pub(crate) async fn read(&self, key: &Key, span: Span) -> (Bytes, Verdict) {
        let mut bytes = Vec::new();
        let content = self.get(key, span).await.unwrap();
        let verdict = content.pour(|piece| {
            bytes.extend_from_slice(&piece);
            Ok(())
        });
        let verdict = verdict.await.unwrap();
        (bytes.into(), verdict)
    }

    pub(crate) async fn remove(&self, key: &Key) -> Result<bool> {
        Ok(self.special.remove(&self.asker(), key).await?.removed)
    }

    /// The same, within a minute.
    pub(crate) async fn remove_soon(&self, key: &Key) -> Result<bool> {
        let deadline = self.clock.boot().plus(60);
        Ok(self.special.remove_before(&self.asker(), key, deadline).await?.removed)
    }

    /// The clock, which stands still.
    pub(crate) fn clock(&self) -> Arc<TestClock> {
        Arc::clone(&self.clock)
    }

    /// Whether it was noted that the content is gone.
    pub(crate) fn noted_as_gone(&self, key: &Key) -> bool {
        self.notes.is_gone(&self.special.options.uuid, key)
    }

    pub(crate) async fn noted(&self, key: &Key) -> Vec<Chunks> {
        let SpecialOptions { uuid, notes, .. } = &self.special.options;
        notes.chunks(uuid, key).await.unwrap()
    }

    pub(crate) async fn note(&self, key: &Key, chunks: Chunks) {
        let SpecialOptions { uuid, notes, .. } = &self.special.options;
        notes.note_chunks(uuid, key, chunks).await.unwrap();
    }
}

/// The tests of the promise, but for what needs locks: special remotes have none. Further
/// exceptions may follow.
macro_rules! special_keeps_its_promise {
    ($module:ident, $place:expr $(, $known:ident)*) => {
        gannet_testkit::annex_keeps_its_promise!(
            $module,
            $place,
            except [
                a_lock_blocks_removal_until_it_is_released,
                a_lock_blocks_removal_before_a_deadline,
                two_locks_need_two_releases,
                a_dropped_lock_keeps_blocking,
                a_release_does_not_free_what_another_lock_retains,
                retention_ends_after_ten_minutes,
                a_held_lock_outlives_its_retention,
                $($known,)*
            ]
        );
    };
}
pub(crate) use special_keeps_its_promise;
