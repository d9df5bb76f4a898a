//! Nothing is lost by mending, and nothing is said to be lost that is not.

use super::*;

#[tokio::test]
async fn the_good_copy_beside_wrong_content_takes_its_place() {
    for place in ["tmp", "tmp/gannet"] {
        let scene = Scene::new("").await;
        set_mode(&scene.object, 0o644);
        fs::write(&scene.object, "short").unwrap();
        set_mode(&scene.object, 0o444);
        fs::create_dir_all(scene.annex(place)).unwrap();
        fs::write(scene.annex(place).join(scene.name()), &scene.sample.bytes).unwrap();
        let mended = scene.check(true);
        assert!(kinds(&mended).contains(&Problem::WrongSize), "{mended:#?}");
        assert!(fs::read(&scene.object).unwrap() == scene.sample.bytes, "{place}");
        assert_eq!(fs::read(scene.annex("bad").join(scene.name())).unwrap(), b"short");
        assert_eq!(status(&scene), Some(Status::Present));
        scene.expect_found(&[]);
    }
}

#[tokio::test]
async fn opening_keeps_what_may_be_the_only_good_copy() {
    let scene = Scene::new("").await;
    let partial = scene.annex("tmp").join(scene.name());
    let lock = scene.annex("transfer/download/c1c1c1c1-0000-4000-8000-000000000002");
    let open = |object: &[u8], left: &[u8]| {
        set_mode(&scene.object, 0o644);
        fs::write(&scene.object, object).unwrap();
        set_mode(&scene.object, 0o444);
        fs::write(&partial, left).unwrap();
        scene.plant(&lock.join(format!("lck.{}", scene.name())), "");
        drop(Repo::open(&scene.path, scene.clock.clone()).unwrap());
        fs::read(&partial).ok()
    };
    let good = &scene.sample.bytes[..];
    let mut damaged = good.to_vec();
    damaged[0] ^= 1;
    assert_eq!(open(b"short", good).as_deref(), Some(good));
    assert_eq!(open(b"short", &good[..100]).as_deref(), Some(&good[..100]));
    assert_eq!(open(&damaged, good).as_deref(), Some(good));
    assert_eq!(open(good, &good[..100]), None, "of no use to anybody");
}

#[tokio::test]
async fn links_of_files_may_be_modified_also_when_thin_was_switched_off() {
    let scene = Scene::with_work_tree("").await;
    let file = scene.path.join("file");
    set_mode(&scene.object, 0o644);
    fs::hard_link(&scene.object, &file).unwrap();
    fs::write(&file, "what somebody wrote").unwrap();
    crate::keys_db::tests::make(&scene.annex(""), &scene.sample.key, &[b"file"]);
    scene.check(true);
    assert_eq!(fs::read(&scene.object).unwrap(), b"what somebody wrote");
    // A link that belongs to no file is none of theirs.
    fs::remove_dir_all(scene.annex("keysdb")).unwrap();
    scene.expect_mended(&[Problem::WrongSize]);
    assert_eq!(fs::read(&file).unwrap(), b"what somebody wrote");
}

#[tokio::test]
async fn without_the_disk_of_its_objects_nothing_is_judged() {
    let scene = Scene::new("").await;
    let (objects, disk) = (scene.annex("objects"), scene.path.join("disk"));
    fs::rename(&objects, &disk).unwrap();
    std::os::unix::fs::symlink(&disk, &objects).unwrap();
    scene.expect_found(&[]);
    let elsewhere = scene.path.join("elsewhere");
    fs::rename(&disk, &elsewhere).unwrap();
    let refused = || {
        let options = CheckOptions { repair: true, scrub: false, grace: Duration::ZERO };
        let clock = scene.clock.clone();
        let error = check(&scene.path, clock, options, &mut |_| ControlFlow::Continue(()));
        let error = error.unwrap_err().to_string();
        assert_eq!(status(&scene), Some(Status::Present));
        error
    };
    let error = refused();
    assert!(error.contains("mounted"), "{error}");
    // Who serves says neither that the content is here nor that it is not.
    let repo = Repo::open(&scene.path, scene.clock.clone()).unwrap();
    let (by, key) = (Asker::with_mode(Mode::FULL), &scene.sample.key);
    assert!(repo.check_present(&by, key).await.is_err());
    assert!(repo.remove(&by, key).await.is_err());
    repo.flush().await.unwrap();
    fs::remove_file(&objects).unwrap();
    let error = refused();
    assert!(error.contains("mounted"), "{error}");
    fs::rename(&elsewhere, &objects).unwrap();
    scene.expect_found(&[]);
}

#[tokio::test]
async fn what_others_recorded_in_a_damaged_journal_file_stays() {
    let scene = Scene::new("").await;
    let site = Current::look(&scene.path).unwrap().known();
    let git = Git::new(site.settings().place.clone());
    let others = ["1", "2"].map(|n| {
        gannet_core::Uuid::parse(format!("c1c1c1c1-0000-4000-8000-00000000000{n}").as_bytes())
            .unwrap()
    });
    let key = &scene.sample.key;
    let record = |uuid: &gannet_core::Uuid| {
        let claim = Claim::Is(Status::Present);
        let change = Change { key: key.clone(), uuid: uuid.clone(), claim };
        journal::record(site.settings(), &git, &*scene.clock, &[change]).unwrap();
    };
    record(&others[0]);
    commit_journal(site.settings(), &git, &*scene.clock).unwrap();
    record(&others[1]);
    let file = fs::read_dir(scene.annex("journal")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&file).unwrap();
    let newest = text.lines().find(|line| line.contains(others[1].as_str())).unwrap();
    // A hole where there were other lines, and others after it, as well as the beginning of one.
    let damaged = format!("{newest}\n1800\0\0\0\0\n\0\0\0\0{newest}\n\0\0\0");
    fs::write(&file, damaged).unwrap();
    let mended = scene.check(true);
    assert!(mended.iter().all(|finding| finding.outcome == Outcome::Mended), "{mended:#?}");
    scene.expect_found(&[]);
    let session = git.session().unwrap();
    for uuid in others.iter().chain([site.uuid()]) {
        let known = journal::recorded(site.settings(), &session, key, uuid).unwrap();
        assert_eq!(known, Some(Status::Present), "{uuid}");
    }
}

/// Somebody is at work on it for a while.
struct Busy {
    tries: std::cell::Cell<u32>,
    ends_well: bool,
}

impl Subject for Busy {
    fn look(&self, _ground: &Ground<'_>) -> Result<Vec<Finding>> {
        let wrong = !(self.ends_well && self.tries.get() == 2);
        let finding = || Finding::new(Problem::Unrecorded, "some", None, "");
        Ok(wrong.then(finding).into_iter().collect())
    }

    fn mend(&self, _ground: &Ground<'_>, _finding: &Finding) -> Result<Mending> {
        self.tries.set(self.tries.get() + 1);
        Ok(Mending::Busy("look again later"))
    }
}

#[tokio::test]
async fn what_others_are_done_with_in_the_end_was_not_wrong() {
    let scene = Scene::new("").await;
    for (ends_well, found) in [(true, 0), (false, 1)] {
        let current = Current::look(&scene.path).unwrap();
        let site = current.known();
        let git = Git::new(site.settings().place.clone());
        let session = git.session().unwrap();
        let hear = &mut |_: Event<'_>| ControlFlow::Continue(());
        let (hear, progress) = (RefCell::new(hear as _), RefCell::default());
        let clock = scene.clock.clone();
        let ground = Ground { current, site, git, session, clock, hear, progress };
        let options = CheckOptions { repair: true, scrub: false, grace: Duration::ZERO };
        let mut patrol = Patrol { ground, options, suspects: Vec::new() };
        patrol.suspect(Busy { tries: std::cell::Cell::new(0), ends_well });
        patrol.settle().unwrap();
        let progress = patrol.ground.progress.into_inner();
        assert_eq!((progress.found, progress.mended), (found, 0));
    }
}

#[tokio::test]
async fn mending_can_be_stopped_while_it_reads() {
    let scene = Scene::new("").await;
    let dir = scene.object.parent().unwrap();
    let elsewhere = scene.annex("objects/000/000");
    fs::create_dir_all(&elsewhere).unwrap();
    set_mode(dir, 0o755);
    fs::rename(dir, elsewhere.join(scene.name())).unwrap();
    let mend = |enough: &dyn Fn(Progress) -> bool| {
        let options = CheckOptions { repair: true, scrub: false, grace: Duration::ZERO };
        check(&scene.path, scene.clock.clone(), options, &mut |event| match event {
            Event::At(progress) if enough(progress) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
        .unwrap()
    };
    assert!(mend(&|progress| progress.bytes > 0).stopped);
    assert!(!scene.object.exists() && elsewhere.join(scene.name()).exists());
    assert_eq!(mend(&|_| false).bytes, 5000);
    assert!(fs::read(&scene.object).unwrap() == scene.sample.bytes);
}

#[tokio::test]
async fn mending_can_be_stopped_while_others_work_on_the_journal() {
    let scene = Scene::new("").await;
    let site = Current::look(&scene.path).unwrap().known();
    let git = Git::new(site.settings().place.clone());
    let claim = Claim::Is(Status::Missing);
    let key = &scene.sample.key;
    journal::record_own(site.settings(), &git, &*scene.clock, key, claim).unwrap();
    let lock = journal::lock(site.settings()).unwrap();
    let options = CheckOptions { repair: true, scrub: false, grace: Duration::ZERO };
    let mut events = 0;
    let end = check(&scene.path, scene.clock.clone(), options, &mut |_| {
        events += 1;
        if events > 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let end = end.unwrap();
    assert!(end.stopped && end.mended == 0, "{end:?}");
    drop(lock);
    scene.expect_mended(&[Problem::Unrecorded]);
}
