//! Every kind of thing that can be wrong is planted, reported, mended, and gone after that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gannet_core::{Annex, Asker, AssociatedFile, Mode};
use gannet_testkit::{Sample, ScratchDir, TestClock};

use super::*;
use crate::journal::Change;
use crate::logs::location::Status;
use crate::{InitOptions, Repo, create};

mod losing;
mod scrub;

/// A repository with one object.
struct Scene {
    _dir: ScratchDir,
    clock: Arc<TestClock>,
    path: PathBuf,
    object: PathBuf,
    sample: Sample,
}

impl Scene {
    async fn new(config: &str) -> Self {
        Self::make(config, true).await
    }

    async fn with_work_tree(config: &str) -> Self {
        Self::make(config, false).await
    }

    async fn make(config: &str, bare: bool) -> Self {
        let dir = ScratchDir::new();
        let clock = TestClock::new();
        let path = dir.path().join("repo");
        let options = InitOptions { description: "scratch".to_owned(), bare, uuid: None };
        create(&path, &options, &*clock).unwrap();
        let file = path.join(if bare { "config" } else { ".git/config" });
        let own = fs::read_to_string(&file).unwrap();
        fs::write(&file, own + config).unwrap();
        let sample = Sample::secure(1, 5000);
        let repo = Repo::open(&path, clock.clone()).unwrap();
        let by = Asker::with_mode(Mode::FULL);
        let content = sample.content(0);
        repo.put(&by, &sample.key, &AssociatedFile::default(), content).await.unwrap();
        repo.flush().await.unwrap();
        let site = Current::look(&path).unwrap().known();
        let object = site.locate(&sample.key).unwrap().path().to_owned();
        Self { _dir: dir, clock, path, object, sample }
    }

    fn annex(&self, name: &str) -> PathBuf {
        let git = if self.path.join(".git").exists() { ".git/annex" } else { "annex" };
        self.path.join(git).join(name)
    }

    fn name(&self) -> String {
        String::from_utf8(self.sample.key.file_name()).unwrap()
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.object.with_file_name(format!("{}{suffix}", self.name()))
    }

    fn plant(&self, path: &Path, text: &str) {
        let dir = path.parent().unwrap();
        fs::create_dir_all(dir).unwrap();
        let mode = dir.metadata().unwrap().permissions().mode();
        set_mode(dir, mode | 0o200);
        fs::write(path, text).unwrap();
        set_mode(dir, mode);
    }

    /// Lets so many hours pass for what is on the disk, which has its times from another clock.
    fn wait(&self, hours: i64) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seconds = i64::try_from(now.as_secs()).unwrap() + hours * 3600;
        self.clock.set_wall(gannet_core::WallTime { seconds, nanos: 0 });
    }

    fn check(&self, repair: bool) -> Vec<Finding> {
        let mut found = Vec::new();
        let options = CheckOptions { repair, scrub: false, grace: Duration::ZERO };
        check(&self.path, self.clock.clone(), options, &mut |event| {
            if let Event::Found(finding) = event {
                found.push(finding.clone());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    /// It is found, stays when it is not to be mended, is mended, and is gone then.
    #[track_caller]
    fn expect_mended(&self, problems: &[Problem]) {
        self.expect_found(problems);
        let mended = self.check(true);
        assert!(mended.iter().all(|finding| finding.outcome == Outcome::Mended), "{mended:#?}");
        // What is mended may be what was the matter with something else.
        assert!(!mended.is_empty());
        assert!(mended.iter().all(|finding| problems.contains(&finding.problem)), "{mended:#?}");
        let left = self.check(false);
        assert!(left.is_empty(), "left: {left:#?}");
    }

    #[track_caller]
    fn expect_found(&self, problems: &[Problem]) {
        let found = self.check(false);
        assert_eq!(kinds(&found), problems, "{found:#?}");
    }

    /// It is found, and left for people to look at.
    #[track_caller]
    fn expect_left(&self, problem: Problem) {
        let left = self.check(true);
        assert_eq!(kinds(&left), [problem], "{left:#?}");
        assert!(matches!(left[0].outcome, Outcome::Left(Some(_))), "{left:#?}");
        self.expect_found(&[problem]);
    }
}

fn kinds(found: &[Finding]) -> Vec<Problem> {
    let mut kinds: Vec<_> = found.iter().map(|finding| finding.problem).collect();
    kinds.sort_unstable();
    kinds
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn status(scene: &Scene) -> Option<Status> {
    let site = Current::look(&scene.path).unwrap().known();
    let session = Git::new(site.settings().place.clone()).session().unwrap();
    journal::recorded(site.settings(), &session, &scene.sample.key, site.uuid()).unwrap()
}

#[tokio::test]
async fn a_healthy_repository_is_clean() {
    for config in
        ["", "[core]\n\tsharedRepository = group\n", "[core]\n\tsharedRepository = 0660\n"]
    {
        let scene = Scene::new(config).await;
        scene.check(true); // it is shared only now
        scene.expect_found(&[]);
    }
}

#[tokio::test]
async fn content_that_is_not_recorded() {
    let scene = Scene::new("").await;
    let site = Current::look(&scene.path).unwrap().known();
    let git = Git::new(site.settings().place.clone());
    let claim = Claim::Is(Status::Missing);
    let change = Change { key: scene.sample.key.clone(), uuid: site.uuid().clone(), claim };
    journal::record(site.settings(), &git, &*scene.clock, &[change]).unwrap();
    scene.expect_mended(&[Problem::Unrecorded]);
    assert_eq!(status(&scene), Some(Status::Present));
    assert!(fs::read_dir(scene.annex("journal")).unwrap().next().is_none(), "not committed");
}

#[tokio::test]
async fn what_is_recorded_but_lost() {
    let scene = Scene::new("").await;
    set_mode(scene.object.parent().unwrap(), 0o755);
    fs::remove_dir_all(scene.object.parent().unwrap()).unwrap();
    scene.expect_mended(&[Problem::Missing]);
    assert_eq!(status(&scene), Some(Status::Missing));
}

#[tokio::test]
async fn content_of_the_wrong_size() {
    let scene = Scene::new("").await;
    set_mode(&scene.object, 0o644);
    fs::write(&scene.object, "short").unwrap();
    set_mode(&scene.object, 0o444);
    scene.expect_mended(&[Problem::WrongSize]);
    assert_eq!(fs::read(scene.annex("bad").join(scene.name())).unwrap(), b"short");
    assert_eq!(status(&scene), Some(Status::Missing));
}

#[tokio::test]
async fn what_is_locked_is_not_set_aside() {
    let scene = Scene::new("").await;
    set_mode(&scene.object, 0o644);
    fs::write(&scene.object, "short").unwrap();
    set_mode(&scene.object, 0o444);
    let until = scene.clock.wall().plus(60).to_string();
    scene.plant(&scene.beside(".rtm"), &until);
    scene.expect_left(Problem::WrongSize);
    assert_eq!(fs::read_to_string(scene.beside(".rtm")).unwrap(), until);
    scene.clock.advance(100);
    scene.check(true);
    scene.expect_found(&[]);
}

#[tokio::test]
async fn an_object_where_nobody_looks() {
    let scene = Scene::new("").await;
    let dir = scene.object.parent().unwrap();
    let elsewhere = scene.annex("objects/000/000");
    fs::create_dir_all(&elsewhere).unwrap();
    set_mode(dir, 0o755);
    fs::rename(dir, elsewhere.join(scene.name())).unwrap();
    scene.expect_mended(&[Problem::Missing, Problem::Misplaced]);
    assert_eq!(fs::read(&scene.object).unwrap(), scene.sample.bytes);
    assert!(!elsewhere.exists(), "not pruned");
    // A second one beside the first.
    scene.plant(&elsewhere.join(scene.name()).join(scene.name()), "whatever");
    scene.expect_mended(&[Problem::Misplaced]);
    assert_eq!(fs::read(&scene.object).unwrap(), scene.sample.bytes);
}

#[tokio::test]
async fn what_is_no_object_is_left() {
    for name in ["note", "000/note", "000/111/note", "000/111/note/file"] {
        let scene = Scene::new("").await;
        scene.plant(&scene.annex("objects").join(name), "whatever");
        scene.expect_left(Problem::Foreign);
    }
    let scene = Scene::new("").await;
    scene.plant(&scene.beside(".orig"), "whatever");
    scene.expect_left(Problem::Foreign);
}

#[tokio::test]
async fn modes() {
    let scene = Scene::new("").await;
    set_mode(&scene.object, 0o644);
    set_mode(scene.object.parent().unwrap(), 0o755);
    scene.expect_mended(&[Problem::Mode, Problem::Mode]);
    let scene = Scene::new("[core]\n\tsharedRepository = group\n").await;
    scene.check(true);
    set_mode(&scene.annex("objects"), 0o755);
    set_mode(scene.object.parent().unwrap().parent().unwrap(), 0o755);
    set_mode(&scene.annex("journal.lck"), 0o644);
    scene.expect_mended(&[Problem::Mode; 3]);
}

#[tokio::test]
async fn locks_and_retentions_that_nobody_uses() {
    let scene = Scene::new("").await;
    scene.plant(&scene.beside(".lck"), "");
    scene.plant(&scene.beside(".rtl"), "");
    scene.plant(&scene.beside(".rtm"), &scene.clock.wall().plus(-3601).to_string());
    scene.expect_mended(&[Problem::StaleLock, Problem::StaleLock, Problem::StaleRetention]);
    scene.plant(&scene.beside(".rtm"), "tomorrow\n");
    scene.expect_mended(&[Problem::StaleRetention]);
    assert_eq!(fs::read(&scene.object).unwrap(), scene.sample.bytes);
}

#[tokio::test]
async fn locks_and_retentions_that_count_are_not_reported() {
    let scene = Scene::new("").await;
    let repo = Repo::open(&scene.path, scene.clock.clone()).unwrap();
    let by = Asker::with_mode(Mode::FULL);
    let lock = repo.lock(&by, &scene.sample.key).await.unwrap().unwrap();
    scene.expect_found(&[]);
    drop(lock); // the retention stands
    assert!(scene.check(true).is_empty());
    assert!(scene.beside(".rtm").exists());
}

#[tokio::test]
async fn a_lock_whose_object_is_gone() {
    let scene = Scene::new("").await;
    let absent = Sample::secure(2, 10);
    let name = String::from_utf8(absent.key.file_name()).unwrap();
    let site = Current::look(&scene.path).unwrap().known();
    let object = site.locate(&absent.key).unwrap();
    scene.plant(&object.dir().join(format!("{name}.lck")), "");
    scene.expect_mended(&[Problem::StaleLock]);
    assert!(!object.dir().exists(), "not pruned");
}

#[tokio::test]
async fn what_transfers_left() {
    let scene = Scene::new("").await;
    let other = Sample::secure(2, 1000);
    let name = String::from_utf8(other.key.file_name()).unwrap();
    scene.plant(&scene.annex("tmp/gannet").join(&name), "partial");
    let from = "c1c1c1c1-0000-4000-8000-000000000002";
    scene.plant(&scene.annex(&format!("transfer/download/{from}/{name}")), "1800000000s\n\n");
    scene.plant(&scene.annex(&format!("transfer/download/{from}/lck.{name}")), "");
    scene.plant(&scene.annex(&format!("transfer/upload/{from}/{name}")), "1800000000s\n\n");
    scene.plant(&scene.annex(&format!("transfer/upload/{from}/lck.{name}")), "");
    // Of content that is here already; the first partial is of some that is not.
    scene.plant(&scene.annex("tmp").join(scene.name()), "leftover");
    let mut expected = vec![Problem::StaleTransfer; 3];
    // The private partial is found for the note and for itself.
    let found = scene.check(false);
    expected.extend(found.iter().map(|f| f.problem).filter(|p| *p == Problem::StalePartial));
    assert!(expected.len() >= 5, "{found:#?}");
    scene.expect_mended(&expected);
    assert_eq!(fs::read(scene.annex("tmp").join(name)).unwrap(), b"partial");
    assert!(!scene.annex("tmp").join(scene.name()).exists());
}

#[tokio::test]
async fn what_a_removal_left() {
    let scene = Scene::new("").await;
    let site = Current::look(&scene.path).unwrap().known();
    let claim = Claim::Is(Status::Missing);
    let git = Git::new(site.settings().place.clone());
    let key = &scene.sample.key;
    journal::record_own(site.settings(), &git, &*scene.clock, key, claim).unwrap();
    let running = crate::trace::Trace::take(&site, key).unwrap().unwrap();
    scene.expect_found(&[Problem::Unrecorded]);
    drop(running);
    scene.plant(&crate::trace::place(&site, key), "");
    scene.expect_mended(&[Problem::Unrecorded, Problem::StaleTransfer]);
    assert_eq!(status(&scene), Some(Status::Present));
}

#[tokio::test]
async fn temporary_files_that_nobody_uses() {
    let scene = Scene::new("").await;
    scene.plant(&scene.annex("othertmp/some"), "whatever");
    scene.plant(&scene.annex("othertmp/dir/some"), "whatever");
    scene.plant(&scene.annex("misctmp/some"), "whatever");
    scene.wait(8 * 24);
    scene.expect_mended(&[Problem::StrayTemporary; 3]);
    scene.plant(&scene.annex("misctmp/some"), "young");
    scene.wait(24);
    scene.expect_found(&[]);
    scene.plant(&scene.annex("tmp/some"), "whatever");
    scene.wait(9 * 24);
    assert!(scene.check(true).iter().all(|finding| finding.problem == Problem::StrayTemporary));
    scene.expect_left(Problem::StrayTemporary);
}

#[tokio::test]
async fn locks_of_git_that_were_forgotten() {
    let scene = Scene::new("").await;
    scene.plant(&scene.path.join("gannet.config"), "x");
    fs::hard_link(scene.path.join("gannet.config"), scene.path.join("config.lock")).unwrap();
    scene.plant(&scene.annex("index.lock"), "");
    let young = scene.check(true);
    assert!(young.iter().any(|finding| finding.problem == Problem::StaleGitLock));
    scene.expect_found(&[]);
    scene.plant(&scene.path.join("refs/heads/some.lock"), "");
    scene.wait(2);
    scene.expect_left(Problem::StaleGitLock);
}

#[tokio::test]
async fn files_of_the_journal() {
    let scene = Scene::new("").await;
    let path =
        gannet_core::place::log_path(gannet_core::place::Levels::Two, &scene.sample.key, ".log");
    let name = String::from_utf8(journal::file_name(&path).into_owned()).unwrap();
    scene.plant(&scene.annex("journal").join(&name), "");
    scene.expect_mended(&[Problem::Unrecorded, Problem::Journal]);
    scene.plant(&scene.annex("journal").join(&name), "\0\0\0\0");
    scene.expect_mended(&[Problem::Unrecorded, Problem::Journal]);
    assert_eq!(status(&scene), Some(Status::Present));
    scene.plant(&scene.annex("journal/_"), "whatever");
    scene.expect_left(Problem::Journal);
}
