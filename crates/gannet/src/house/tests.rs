use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gannet_core::{
    Asker, AssociatedFile, Content, Key, Lock, PutOffset, Removal, Span, Stored, Timestamp,
};
use tokio::time::advance;

use super::*;
use crate::access::Policy;
use crate::yard::Estate;
use gannet_repo::Glimpse;

/// A place that has nothing but its uuid.
struct Hut(Uuid);

impl fmt::Display for Hut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hut {}", self.0)
    }
}

fn nothing<T>() -> Result<T> {
    Err(Error::Unsupported("only a hut".to_owned()))
}

#[async_trait]
impl Annex for Hut {
    fn uuid(&self) -> &Uuid {
        &self.0
    }
    async fn check_present(&self, _: &Asker, _: &Key) -> Result<bool> {
        nothing()
    }
    async fn get(&self, _: &Asker, _: &Key, _: &AssociatedFile, _: Span) -> Result<Content> {
        nothing()
    }
    async fn put_offset(&self, _: &Asker, _: &Key, _: &AssociatedFile) -> Result<PutOffset> {
        nothing()
    }
    async fn put(&self, _: &Asker, _: &Key, _: &AssociatedFile, _: Content) -> Result<Stored> {
        nothing()
    }
    async fn put_present(&self, _: &Asker, _: &Key, _: &AssociatedFile) -> Result<Stored> {
        nothing()
    }
    async fn remove(&self, _: &Asker, _: &Key) -> Result<Removal> {
        nothing()
    }
    async fn remove_before(&self, _: &Asker, _: &Key, _: Timestamp) -> Result<Removal> {
        nothing()
    }
    async fn timestamp(&self, _: &Asker) -> Result<Timestamp> {
        nothing()
    }
    async fn lock(&self, _: &Asker, _: &Key) -> Result<Option<Lock>> {
        nothing()
    }
}

/// Repositories whose file `config` is their uuid, or `broken`, or `none`; behind those whose
/// `config` says more are the uuids in `behind`. And what was done.
#[derive(Default)]
struct Village {
    opened: AtomicUsize,
    peeked: AtomicUsize,
    flushed: Arc<AtomicUsize>,
    locked_up: AtomicBool,
}

struct Manor {
    flushed: Arc<AtomicUsize>,
    /// A file that lists what is behind it.
    behind: PathBuf,
    /// All that were handed out.
    given: Mutex<Vec<Arc<dyn Annex>>>,
}

#[async_trait]
impl Estate for Manor {
    async fn flush(&self) -> Result<()> {
        self.flushed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn served(&self) -> Result<Vec<Uuid>> {
        let text = fs::read_to_string(&self.behind).unwrap_or_default();
        if text == "secret" {
            return nothing();
        }
        Ok(text.split(' ').filter_map(|uuid| Uuid::parse(uuid.as_bytes()).ok()).collect())
    }

    async fn behind(&self, uuid: &Uuid) -> Result<Option<Arc<dyn Annex>>> {
        Ok(self.served().await?.contains(uuid).then(|| {
            let annex: Arc<dyn Annex> = Arc::new(Hut(uuid.clone()));
            self.given.lock().unwrap().push(Arc::clone(&annex));
            annex
        }))
    }

    fn is_in_use(&self) -> bool {
        self.given.lock().unwrap().iter().any(|annex| Arc::strong_count(annex) > 1)
    }
}

impl Yard for Village {
    fn peek(&self, path: &Path) -> Result<Option<Glimpse>> {
        self.peeked.fetch_add(1, Ordering::SeqCst);
        let config = path.join("config");
        let text = fs::read_to_string(&config).map_err(|e| Error::disk("read", &config, e))?;
        match text.as_str() {
            "broken" => Err(Error::Unsupported("broken".to_owned())),
            "none" => Ok(None),
            text => {
                let (uuid, more) = text.split_once(' ').unwrap_or((text, ""));
                let glimpse = |uuid| Glimpse { uuid, may_be_gateway: !more.is_empty() };
                Ok(Uuid::parse(uuid.as_bytes()).ok().map(glimpse))
            }
        }
    }

    fn signature(&self, path: &Path) -> Result<Option<Signature>> {
        Signature::of(&path.join("config"))
    }

    fn cached_signature(&self, path: &Path) -> Option<Signature> {
        self.signature(path).ok().flatten()
    }

    fn open(&self, path: &Path) -> Result<Opened> {
        if self.locked_up.load(Ordering::SeqCst) {
            return Err(Error::Unsupported("locked up".to_owned()));
        }
        self.opened.fetch_add(1, Ordering::SeqCst);
        let glimpse = self.peek(path)?.ok_or(Error::Unsupported("empty".to_owned()))?;
        let flushed = Arc::clone(&self.flushed);
        let manor = Manor { flushed, behind: path.join("behind"), given: Mutex::default() };
        Ok(Opened { annex: Arc::new(Hut(glimpse.uuid)), repository: Arc::new(manor) })
    }
}

struct Scene {
    root: tempfile::TempDir,
    village: Arc<Village>,
    house: House,
}

impl Scene {
    /// A house that serves what is below a directory with these repositories.
    fn with(repositories: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let grounds = Grounds { directories: vec![root.path().to_owned()], ..Grounds::default() };
        let village = Arc::new(Village::default());
        let access = Access::new(Policy::default(), Vec::new(), [0; 32]).unwrap();
        let house = House::new(grounds, Arc::clone(&village) as Arc<dyn Yard>, access);
        let scene = Self { root, village, house };
        for (path, uuid) in repositories {
            scene.build(path, uuid);
        }
        scene
    }

    fn build(&self, path: &str, uuid: &str) {
        let path = self.root.path().join(path);
        for name in ["objects", "refs"] {
            fs::create_dir_all(path.join(name)).unwrap();
        }
        fs::write(path.join("HEAD"), "").unwrap();
        // Like git: a new file takes the old one's place.
        fs::write(path.join("config.lock"), uuid).unwrap();
        fs::rename(path.join("config.lock"), path.join("config")).unwrap();
    }

    async fn ask(&self, uuid: &str) -> Result<bool> {
        let uuid = Uuid::parse(uuid.as_bytes()).unwrap();
        let annex = self.house.open(&uuid).await?;
        if let Some(annex) = &annex {
            assert_eq!(annex.uuid(), &uuid);
        }
        Ok(annex.is_some())
    }

    async fn serves(&self, uuid: &str) -> bool {
        self.ask(uuid).await.unwrap()
    }

    fn path_of(&self, uuid: &str) -> Option<String> {
        let index = self.house.rooms.index();
        let room = index.by_uuid.get(&Uuid::parse(uuid.as_bytes()).unwrap())?;
        Some(room.path.strip_prefix(self.root.path()).unwrap().to_str().unwrap().to_owned())
    }

    fn peeked(&self) -> usize {
        self.village.peeked.load(Ordering::SeqCst)
    }

    fn opened(&self) -> usize {
        self.village.opened.load(Ordering::SeqCst)
    }

    /// Until looking around is over, and may be done again.
    async fn a_while(&self) {
        let mut progress = self.house.rooms.progress.subscribe();
        while matches!(self.house.rooms.index().looking, Looking::Now) {
            progress.changed().await.unwrap();
        }
        advance(Duration::from_secs(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn repositories_are_found_on_demand_and_opened_once() {
    let scene = Scene::with(&[("a/b/c", "u1"), ("d", "u2"), ("e", "none")]);
    assert_eq!(scene.opened(), 0);
    assert!(scene.serves("u1").await);
    assert!(scene.serves("u1").await);
    assert_eq!(scene.opened(), 1);
    assert!(scene.serves("u2").await);
    assert!(!scene.serves("u3").await);
}

#[tokio::test(start_paused = true)]
async fn everybody_who_asks_at_once_shares_one_look_and_one_opening() {
    let scene = Scene::with(&[("a", "u1"), ("b", "u2")]);
    let asks = (0..50).map(|ask| scene.ask(if ask % 2 == 0 { "u1" } else { "absent" }));
    let answers = join_all(asks).await;
    for (ask, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), ask % 2 == 0);
    }
    assert_eq!(scene.opened(), 1);
    assert_eq!(scene.peeked(), 3, "one glance at each, one while opening");
}

#[tokio::test(start_paused = true)]
async fn unknown_uuids_cost_a_look_only_now_and_then() {
    let scene = Scene::with(&[("a", "u1")]);
    assert!(!scene.serves("u2").await);
    let glances = scene.peeked();
    scene.build("b", "u2");
    for _ in 0..100 {
        assert!(!scene.serves("u2").await);
    }
    assert_eq!(scene.peeked(), glances);
    scene.a_while().await;
    assert!(scene.serves("u2").await);
}

#[test]
fn looking_takes_at_most_a_tenth_of_the_time() {
    assert_eq!(rest(Duration::ZERO), Duration::from_secs(1));
    assert_eq!(rest(Duration::from_millis(99)), Duration::from_secs(1));
    assert_eq!(rest(Duration::from_secs(3)), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn of_two_with_one_uuid_the_first_by_path_is_served() {
    let scene = Scene::with(&[("b", "u1"), ("a-b", "u1"), ("a/z", "u1")]);
    assert!(scene.serves("u1").await);
    assert_eq!(scene.path_of("u1").as_deref(), Some("a/z"));
    fs::remove_dir_all(scene.root.path().join("a")).unwrap();
    scene.a_while().await;
    assert!(scene.serves("u1").await);
    assert_eq!(scene.path_of("u1").as_deref(), Some("a-b"));
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_vanished_or_became_another_is_noticed_at_once() {
    let scene = Scene::with(&[("a", "u1"), ("b", "u2")]);
    assert!(scene.serves("u1").await && scene.serves("u2").await);
    fs::remove_dir_all(scene.root.path().join("a")).unwrap();
    scene.build("b", "u3");
    assert!(!scene.serves("u1").await);
    assert!(!scene.serves("u2").await);
    scene.a_while().await;
    assert!(scene.serves("u3").await);
    assert!(!scene.serves("u2").await);
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_moved_is_found_again() {
    let scene = Scene::with(&[("a", "u1")]);
    assert!(scene.serves("u1").await);
    fs::rename(scene.root.path().join("a"), scene.root.path().join("z")).unwrap();
    scene.a_while().await;
    assert!(scene.serves("u1").await);
    assert_eq!(scene.path_of("u1").as_deref(), Some("z"));
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_was_written_again_keeps_the_repository_open() {
    let scene = Scene::with(&[("a", "u1")]);
    assert!(scene.serves("u1").await);
    scene.build("a", "u1");
    assert!(scene.serves("u1").await);
    assert!(scene.serves("u1").await);
    assert_eq!(scene.opened(), 1);
    assert_eq!(scene.peeked(), 3, "found, opened, looked at again once");
}

#[tokio::test(start_paused = true)]
async fn a_broken_repository_is_an_error_for_itself_only() {
    let scene = Scene::with(&[("a", "u1"), ("b", "u2"), ("c", "broken")]);
    assert!(scene.serves("u1").await && scene.serves("u2").await);
    scene.build("a", "broken");
    assert!(scene.ask("u1").await.is_err());
    scene.a_while().await;
    assert!(!scene.serves("u9").await, "looks around");
    assert!(scene.ask("u1").await.is_err(), "still known");
    assert!(scene.serves("u2").await);
    scene.build("a", "u1");
    assert!(scene.serves("u1").await);
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_failed_is_tried_again() {
    let scene = Scene::with(&[("a", "u1")]);
    scene.village.locked_up.store(true, Ordering::SeqCst);
    assert!(scene.ask("u1").await.is_err());
    scene.village.locked_up.store(false, Ordering::SeqCst);
    assert!(scene.serves("u1").await);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_is_flushed_and_closed() {
    let scene = Scene::with(&[("a", "u1"), ("b", "u2")]);
    let in_use = scene.house.open(&Uuid::parse(b"u2").unwrap()).await.unwrap();
    assert!(scene.serves("u1").await);
    let open = || {
        let index = scene.house.rooms.index();
        let open =
            index.by_uuid.iter().map(|(uuid, room)| (uuid.to_string(), room.opened.initialized()));
        open.collect::<BTreeMap<_, _>>()
    };
    let expect = |a, b| BTreeMap::from([("u1".to_owned(), a), ("u2".to_owned(), b)]);
    scene.house.rooms.close_idle().await;
    assert_eq!(open(), expect(true, true));
    assert_eq!(scene.village.flushed.load(Ordering::SeqCst), 0);
    advance(IDLE_MAX).await;
    scene.house.rooms.close_idle().await;
    assert_eq!(open(), expect(false, true));
    assert_eq!(scene.village.flushed.load(Ordering::SeqCst), 2);
    drop(in_use);
    scene.house.rooms.close_idle().await;
    assert_eq!(open(), expect(false, false));
    assert!(scene.serves("u1").await);
}

#[tokio::test(start_paused = true)]
async fn flushing_reaches_every_open_repository() {
    let scene = Scene::with(&[("a", "u1"), ("b", "u2"), ("c", "u3")]);
    assert!(scene.serves("u1").await && scene.serves("u3").await);
    scene.house.flush().await;
    assert_eq!(scene.village.flushed.load(Ordering::SeqCst), 2);
}

/// Has a gateway serve these, and nothing else.
fn put_behind(scene: &Scene, path: &str, uuids: &str) {
    fs::write(scene.root.path().join(path).join("behind"), uuids).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_gateways_is_served_as_long_as_they_let_it() {
    let scene = Scene::with(&[("gw", "g1 gateway"), ("plain", "p1")]);
    put_behind(&scene, "gw", "n1 n2");
    put_behind(&scene, "plain", "n3");
    assert!(scene.serves("n1").await && scene.serves("n2").await && scene.serves("g1").await);
    assert!(!scene.serves("n3").await, "it is no gateway");
    put_behind(&scene, "gw", "n2 n4");
    assert!(!scene.serves("n1").await, "it is noticed at once that one is gone");
    scene.a_while().await;
    assert!(scene.serves("n4").await && scene.serves("n2").await);
    fs::remove_dir_all(scene.root.path().join("gw")).unwrap();
    assert!(!scene.serves("n2").await);
}

#[tokio::test(start_paused = true)]
async fn of_a_uuid_here_and_behind_a_gateway_the_one_here_is_served() {
    let scene = Scene::with(&[("a", "g1 gateway"), ("b", "n1")]);
    put_behind(&scene, "a", "n1");
    assert!(scene.serves("n1").await);
    assert_eq!(scene.path_of("n1").as_deref(), Some("b"));
    scene.a_while().await;
    fs::remove_dir_all(scene.root.path().join("b")).unwrap();
    assert!(scene.serves("n1").await, "then it is served through the gateway");
    assert_eq!(scene.path_of("n1"), None);
}

#[tokio::test(start_paused = true)]
async fn of_two_gateways_of_one_uuid_the_first_by_path_serves_it() {
    let scene = Scene::with(&[("b", "g2 gateway"), ("a", "g1 gateway")]);
    put_behind(&scene, "a", "n1");
    put_behind(&scene, "b", "n1 n2");
    assert!(scene.serves("n2").await);
    let gateway = |uuid: &str| {
        let index = scene.house.rooms.index();
        index.behind.gateway_of(&Uuid::parse(uuid.as_bytes()).unwrap()).map(Uuid::to_string)
    };
    assert_eq!((gateway("n1"), gateway("n2")), (Some("g1".into()), Some("g2".into())));
    // One that cannot tell keeps what it has, and is asked again.
    put_behind(&scene, "a", "secret");
    scene.a_while().await;
    assert!(!scene.serves("absent").await);
    assert_eq!(gateway("n1").as_deref(), Some("g1"));
    assert!(scene.ask("n1").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_stays_open_while_what_is_behind_it_is_in_use() {
    let scene = Scene::with(&[("gw", "g1 gateway")]);
    put_behind(&scene, "gw", "n1");
    let in_use = scene.house.open(&Uuid::parse(b"n1").unwrap()).await.unwrap();
    let open = || {
        let index = scene.house.rooms.index();
        index.by_uuid.values().any(|room| room.opened.initialized())
    };
    scene.a_while().await;
    advance(IDLE_MAX).await;
    scene.house.rooms.close_idle().await;
    assert!(open());
    drop(in_use);
    scene.house.rooms.close_idle().await;
    assert!(!open());
    assert!(scene.serves("n1").await);
}
