//! Special remotes that Gannet and git-annex both use: what one stores the other reads.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gannet_core::{
    Annex, Asker, AssociatedFile, Clock, Content, Key, Mode, Notes, PutOffset, Span, Uuid, Verdict,
};
use gannet_net::remote::directory::Directory;
use gannet_net::remote::external::{External, ExternalOptions, Patience};
use gannet_net::remote::line::Program;
use gannet_net::remote::special::{Special, SpecialOptions, Spool, SpoolOptions, Store, Whole};
use gannet_testkit::{EXTERNAL_PROGRAM, Ending, Journey, MemoryNotes, Sample, TestClock};

use crate::harness::world::finish;
use crate::harness::{CLIENT, Repo, World};

mod notes;
mod s3;

#[tokio::test]
async fn directories_are_shared_with_git_annex() {
    for chunk in [None, Some(4000)] {
        let scene = Scene::new("type=directory", chunk);
        let special = scene.special(|_| Arc::new(Directory::new(&scene.objects())));
        scene.exchange(&special).await;
    }
}

#[tokio::test]
async fn external_programs_are_shared_with_git_annex() {
    for chunk in [None, Some(4000)] {
        let scene = Scene::new("type=external externaltype=sham", chunk);
        let external = External::new(scene.external(&scene.notes()));
        let special = scene.special(|spool| Arc::new(Whole::new(external, spool.clone())));
        scene.exchange(&special).await;
    }
}

/// A repository with a special remote that is called `there`.
struct Scene {
    world: World,
    repo: Repo,
    chunk: Option<u64>,
    notes: Arc<MemoryNotes>,
    clock: Arc<TestClock>,
}

impl Scene {
    fn new(kind: &str, chunk: Option<u64>) -> Self {
        let scene = Self::begin(chunk);
        let program = scene.world.join("bin/git-annex-remote-sham");
        fs::write(&program, EXTERNAL_PROGRAM).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(scene.objects()).unwrap();
        let directory = format!("directory={}", scene.objects().display());
        let settings: Vec<&str> = kind.split(' ').chain([directory.as_str()]).collect();
        scene.init(&settings, &[]);
        scene
    }

    /// Without the special remote.
    fn begin(chunk: Option<u64>) -> Self {
        let world = World::new();
        let repo = Repo::create(&world, "client", CLIENT, false);
        Self { world, repo, chunk, notes: Arc::default(), clock: TestClock::new() }
    }

    /// Makes it, with these settings and in this environment.
    fn init(&self, settings: &[&str], environment: &[(&str, &str)]) {
        let chunk = self.chunk.map(|bytes| format!("chunk={bytes}B"));
        let mut command = self.world.command(self.repo.path(), "git-annex");
        command.args(["initremote", "there", "encryption=none"]).args(settings).args(chunk);
        finish(command.envs(environment.iter().copied()), PATIENCE).expect_ok();
    }

    /// The same remote as we see it.
    fn special(&self, store: impl FnOnce(&Spool) -> Arc<dyn Store>) -> Special {
        self.special_with(self.uuid(), &self.notes(), store)
    }

    /// One that git-annex need not know.
    fn special_of(&self, uuid: Uuid, store: impl FnOnce(&Spool) -> Arc<dyn Store>) -> Special {
        self.special_with(uuid, &self.notes(), store)
    }

    /// One of which something else takes the notes.
    fn special_with(
        &self,
        uuid: Uuid,
        notes: &Arc<dyn Notes>,
        store: impl FnOnce(&Spool) -> Arc<dyn Store>,
    ) -> Special {
        let spool =
            SpoolOptions { dir: self.world.join("spool"), reserve_bytes: 0, bytes_max: 1 << 30 };
        let spool = Spool::open(spool, &*self.clock).unwrap();
        let options = SpecialOptions {
            uuid,
            chunk: self.chunk.and_then(NonZeroU64::new),
            readonly: false,
            spool: spool.clone(),
            notes: Arc::clone(notes),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        };
        Special::new(store(&spool), options)
    }

    fn notes(&self) -> Arc<dyn Notes> {
        Arc::clone(&self.notes) as Arc<dyn Notes>
    }

    fn external(&self, notes: &Arc<dyn Notes>) -> ExternalOptions {
        let objects = self.objects().into_os_string().into_encoded_bytes();
        ExternalOptions {
            program: Program {
                name: "there".to_owned(),
                program: self.world.join("bin/git-annex-remote-sham").into(),
                arguments: Vec::new(),
                environment: Vec::new(),
                attended: false,
            },
            uuid: self.uuid(),
            config_uuid: self.uuid(),
            name: b"there".to_vec(),
            config: BTreeMap::from([(b"directory".to_vec(), objects)]),
            git_dir: self.repo.git_dir().to_owned(),
            notes: Arc::clone(notes),
            programs_max: 2,
            patience: Patience::default(),
        }
    }

    /// Lets each side store what the other reads, and removes.
    async fn exchange(&self, special: &Special) {
        self.exchange_of(special, &[(1, 0), (2, 7), (3, 4000), (4, 10_001)]).await;
    }

    /// With contents that begin so, and are so large.
    async fn exchange_of(&self, special: &Special, contents: &[(u8, usize)]) {
        let asker = asker();
        let nameless = AssociatedFile::default();
        for &(seed, len) in contents {
            let (key, bytes) = self.add(seed, len);
            let name = format!("file{seed}");
            let path = self.repo.path().join(&name);
            let present = async || special.check_present(&asker, &key).await.unwrap();

            // Ours is found, and found good, and read.
            assert!(!present().await);
            special.put(&asker, &key, &nameless, Content::whole(bytes.clone())).await.unwrap();
            self.annex(&["fsck", "--quiet", "--from", "there", &name]);
            self.annex(&["drop", "--quiet", &name]);
            assert!(fs::read(&path).is_err(), "it is only there now");
            self.annex(&["get", "--quiet", "--from", "there", &name]);
            assert!(fs::read(&path).unwrap() == bytes, "git-annex reads something else");

            // It removes what we stored, and stores what we read.
            self.annex(&["drop", "--quiet", "--from", "there", &name]);
            assert!(!present().await);
            self.annex(&["copy", "--quiet", "--to", "there", &name]);
            assert!(present().await);
            for from in [0, 5] {
                let read = read(special, &key, from).await;
                let from = usize::try_from(from).unwrap().min(len);
                assert!(read == bytes[from..], "we read something else");
            }

            // We remove what it stored.
            assert!(special.remove(&asker, &key).await.unwrap().removed);
            let key = key.to_string();
            let absent =
                self.world.try_annex(self.repo.path(), &["checkpresentkey", &key, "there"]);
            assert_eq!(absent.code, Some(1), "{absent:?}");
        }
    }

    /// Adds a file, if it is not there, and returns its key and content.
    fn add(&self, seed: u8, len: usize) -> (Key, Bytes) {
        let bytes = Sample::secure(seed, len).bytes;
        let name = format!("file{seed}");
        let path = self.repo.path().join(&name);
        if !path.exists() {
            fs::write(path, &bytes).unwrap();
            self.annex(&["add", "--quiet", &name]);
        }
        let key = self.annex(&["lookupkey", &name]);
        (Key::parse(key.trim().as_bytes()).unwrap(), bytes)
    }

    fn uuid(&self) -> Uuid {
        let uuid = self.world.git(self.repo.path(), &["config", "remote.there.annex-uuid"]);
        Uuid::parse(uuid.trim().as_bytes()).unwrap()
    }

    fn objects(&self) -> PathBuf {
        self.world.join("objects")
    }

    fn annex(&self, args: &[&str]) -> String {
        self.world.annex(self.repo.path(), args)
    }
}

fn asker() -> Asker {
    Asker::with_mode(Mode::FULL)
}

/// The content from there on, which is vouched for.
async fn read(special: &Special, key: &Key, from: u64) -> Vec<u8> {
    let nameless = AssociatedFile::default();
    let content = special.get(&asker(), key, &nameless, Span::starting_at(from)).await.unwrap();
    let mut read = Vec::new();
    let verdict = content.pour(|piece: Bytes| {
        read.extend_from_slice(&piece);
        Ok(())
    });
    assert_eq!(verdict.await.unwrap(), Verdict::Valid);
    read
}

const PATIENCE: Duration = Duration::from_secs(120);
