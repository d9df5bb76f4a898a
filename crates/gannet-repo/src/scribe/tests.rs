//! What others made of the log in the minute after it was written is put right.

use std::fs;

use gannet_core::Uuid;
use gannet_testkit::TestClock;

use super::*;
use crate::init::scratch::{Scratch, key};
use crate::logs::location::Status;

struct Scene {
    scratch: Scratch,
    clock: Arc<TestClock>,
    scribe: Scribe,
    uuid: Uuid,
}

impl Scene {
    fn new() -> Self {
        let scratch = Scratch::new(true);
        let clock = TestClock::new();
        let current = Arc::new(Current::look(&scratch.path).unwrap());
        let uuid = current.uuid().clone();
        let scribe = Scribe::new(current, clock.clone(), Blocking::new(2));
        Self { scratch, clock, scribe, uuid }
    }

    /// Content that came, and was recorded and committed.
    async fn store(&self, name: &str) {
        let object = self.scribe.desk.current.known().locate(&key(name)).unwrap();
        fs::create_dir_all(object.dir()).unwrap();
        fs::write(object.path(), "hello\n").unwrap();
        self.scribe.record(&key(name), Claim::AsFound).await.unwrap();
        self.scribe.flush().await.unwrap();
    }

    fn lose(&self, name: &str) {
        let object = self.scribe.desk.current.known().locate(&key(name)).unwrap();
        fs::remove_dir_all(object.dir()).unwrap();
    }

    fn tip(&self) -> String {
        self.scratch.run(&["rev-parse", "git-annex"])
    }

    /// As a git-annex that was killed at the wrong moment leaves it.
    fn move_back_to(&self, tip: &str) {
        self.scratch.run(&["update-ref", "refs/heads/git-annex", tip]);
    }

    fn status(&self, name: &str) -> Option<Status> {
        let session = self.scratch.git.session().unwrap();
        crate::journal::recorded(&self.scratch.settings(), &session, &key(name), &self.uuid)
            .unwrap()
    }

    async fn compare(&self) {
        self.scribe.desk.compare_due().await.unwrap();
    }
}

#[tokio::test]
async fn what_was_lost_from_the_log_is_recorded_again_a_minute_later() {
    let scene = Scene::new();
    let before = scene.tip();
    scene.store("a").await;
    assert_eq!(scene.status("a"), Some(Status::Present));
    scene.move_back_to(&before);
    scene.clock.advance(59);
    scene.compare().await;
    assert_eq!(scene.status("a"), None, "too early: others may be at it");
    scene.clock.advance(1);
    scene.compare().await;
    assert_eq!(scene.status("a"), Some(Status::Present));
    scene.scribe.flush().await.unwrap();
    assert_ne!(scene.tip(), before, "not committed");
    // It is looked at again, in case that it happens again.
    scene.move_back_to(&before);
    scene.clock.advance(60);
    scene.compare().await;
    assert_eq!(scene.status("a"), Some(Status::Present));
}

#[tokio::test]
async fn content_that_went_meanwhile_is_not_counted_on() {
    let scene = Scene::new();
    scene.store("a").await;
    scene.lose("a");
    scene.clock.advance(60);
    scene.compare().await;
    assert_eq!(scene.status("a"), Some(Status::Missing));
}

#[tokio::test]
async fn what_agrees_is_compared_once_and_leaves_nothing() {
    let scene = Scene::new();
    scene.store("a").await;
    let tip = scene.tip();
    assert!(!lock(&scene.scribe.desk.recent).is_empty());
    scene.clock.advance(60);
    scene.compare().await;
    scene.scribe.flush().await.unwrap();
    assert_eq!(scene.tip(), tip);
    assert!(lock(&scene.scribe.desk.recent).is_empty());
}

#[tokio::test]
async fn what_could_not_be_compared_is_compared_later() {
    let scene = Scene::new();
    let before = scene.tip();
    scene.store("a").await;
    scene.move_back_to(&before);
    scene.clock.advance(60);
    let (config, hidden) = (scene.scratch.path.join("config"), scene.scratch.path.join("hidden"));
    fs::rename(&config, &hidden).unwrap();
    scene.scribe.desk.compare_due().await.unwrap_err();
    fs::rename(&hidden, &config).unwrap();
    scene.compare().await;
    assert_eq!(scene.status("a"), None, "it has its time again");
    scene.clock.advance(60);
    scene.compare().await;
    assert_eq!(scene.status("a"), Some(Status::Present));
}

#[tokio::test]
async fn a_task_compares_and_ends_with_the_repository() {
    let scene = Scene::new();
    let before = scene.tip();
    scene.store("a").await;
    scene.move_back_to(&before);
    scene.clock.advance(60);
    let woken = Arc::clone(&scene.scribe.desk.crowded);
    woken.notify_one();
    until(|| scene.status("a") == Some(Status::Present)).await;
    drop(scene.scribe);
    until(|| Arc::strong_count(&woken) == 1).await;
}

#[tokio::test]
async fn the_task_ends_when_nothing_is_left() {
    let scene = Scene::new();
    scene.store("a").await;
    scene.clock.advance(60);
    scene.scribe.desk.crowded.notify_one();
    until(|| !*lock(&scene.scribe.desk.comparing)).await;
    scene.store("b").await;
    assert!(*lock(&scene.scribe.desk.comparing), "nobody comes for what changed after that");
}

async fn until(happened: impl Fn() -> bool) {
    for _ in 0..1000 {
        if happened() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not happen");
}
