//! Clocks that are set forward and back while content is locked.

#![allow(clippy::unwrap_used, reason = "a test says that it failed by panicking")]

use std::sync::Arc;

use gannet_core::{Annex, Asker, AssociatedFile, Clock, Lock, Mode, Removal, WallTime};
use gannet_repo::{InitOptions, Repo, create};
use gannet_testkit::{Sample, ScratchDir, TestClock};

struct Scene {
    _dir: ScratchDir,
    clock: Arc<TestClock>,
    repo: Repo,
    sample: Sample,
}

impl Scene {
    async fn new() -> Self {
        let dir = ScratchDir::new();
        let clock = TestClock::new();
        let path = dir.path().join("repo");
        let options = InitOptions { description: "scratch".to_owned(), bare: true, uuid: None };
        create(&path, &options, &*clock).unwrap();
        let repo = Repo::open(&path, Arc::clone(&clock) as _).unwrap();
        let scene = Self { _dir: dir, clock, repo, sample: Sample::secure(1, 1000) };
        scene.put().await;
        scene
    }

    async fn put(&self) {
        let file = AssociatedFile::default();
        self.repo.put(&anybody(), &self.sample.key, &file, self.sample.content(0)).await.unwrap();
    }

    async fn lock(&self) -> Lock {
        self.repo.lock(&anybody(), &self.sample.key).await.unwrap().unwrap()
    }

    async fn removes(&self) -> bool {
        let removal = self.repo.remove(&anybody(), &self.sample.key).await.unwrap();
        assert!(removal == Removal::done() || removal == Removal::refused());
        removal.removed
    }

    /// Sets the time of day alone.
    fn step(&self, seconds: i64) {
        let wall = self.clock.wall();
        self.clock.set_wall(WallTime { seconds: wall.seconds + seconds, ..wall });
    }
}

#[tokio::test]
async fn a_step_forward_ends_no_retention_early() {
    let scene = Scene::new().await;
    drop(scene.lock().await);
    scene.step(DAY);
    assert!(!scene.removes().await, "whoever locked it counts on it for ten minutes");
    scene.clock.advance(600);
    assert!(!scene.removes().await);
    scene.clock.advance(61);
    assert!(scene.removes().await);
}

#[tokio::test]
async fn a_step_back_makes_a_retention_longer_and_not_shorter() {
    let scene = Scene::new().await;
    drop(scene.lock().await);
    scene.step(-DAY);
    assert!(!scene.removes().await);
    scene.clock.advance(661);
    assert!(!scene.removes().await, "only the time of day survives a crash, so that counts too");
    scene.step(DAY);
    assert!(scene.removes().await);
}

#[tokio::test]
async fn a_lock_that_is_held_stands_and_its_release_frees_whatever_the_clock_does() {
    for steps in [[DAY, 0], [-DAY, 0], [DAY, -DAY], [-DAY, DAY], [DAY, -2 * DAY]] {
        let scene = Scene::new().await;
        let lock = scene.lock().await;
        for step in steps {
            scene.step(step);
            assert!(!scene.removes().await, "{steps:?}");
        }
        lock.release().await.unwrap();
        assert!(scene.removes().await, "{steps:?}");
        // The next one who stores and locks it starts anew.
        scene.put().await;
        scene.lock().await.release().await.unwrap();
        assert!(scene.removes().await, "{steps:?}");
    }
}

#[tokio::test]
async fn whoever_vanished_is_remembered_when_another_releases() {
    for step in [DAY, -DAY] {
        let scene = Scene::new().await;
        let (one, other) = (scene.lock().await, scene.lock().await);
        drop(one);
        scene.step(step);
        other.release().await.unwrap();
        assert!(!scene.removes().await, "{step}");
        scene.clock.advance(600);
        assert!(!scene.removes().await, "{step}");
        scene.clock.advance(61);
        scene.step(-step);
        assert!(scene.removes().await, "{step}");
    }
}

#[tokio::test]
async fn the_time_of_day_says_nothing_about_deadlines() {
    for step in [DAY, -DAY] {
        let scene = Scene::new().await;
        let by = anybody();
        let deadline = scene.repo.timestamp(&by).await.unwrap().plus(60);
        scene.step(step);
        scene.clock.advance(60);
        let late = scene.repo.remove_before(&by, &scene.sample.key, deadline).await.unwrap();
        assert!(!late.removed, "{step}");
        let deadline = scene.repo.timestamp(&by).await.unwrap().plus(60);
        scene.step(-step);
        scene.clock.advance(59);
        let early = scene.repo.remove_before(&by, &scene.sample.key, deadline).await.unwrap();
        assert!(early.removed, "{step}");
    }
}

fn anybody() -> Asker {
    Asker::with_mode(Mode::FULL)
}

const DAY: i64 = 86_400;
