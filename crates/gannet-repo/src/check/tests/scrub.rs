//! All content is read, once, however often that is interrupted.

use gannet_core::Key;
use gannet_core::place::{Levels, log_path};

use super::*;

/// What a scrub found, and how far it came.
struct Scrubbed {
    found: Vec<Finding>,
    end: Progress,
}

impl Scene {
    fn scrub(&self, repair: bool) -> Scrubbed {
        self.scrub_until(repair, |_| false)
    }

    fn scrub_until(&self, repair: bool, mut enough: impl FnMut(Progress) -> bool) -> Scrubbed {
        let mut found = Vec::new();
        let options = CheckOptions { repair, scrub: true, grace: Duration::ZERO };
        let end = check(&self.path, self.clock.clone(), options, &mut |event| match event {
            Event::At(progress) if enough(progress) => ControlFlow::Break(()),
            Event::At(_) => ControlFlow::Continue(()),
            Event::Found(finding) => {
                found.push(finding.clone());
                ControlFlow::Continue(())
            }
        });
        Scrubbed { found, end: end.unwrap() }
    }

    async fn put(&self, sample: &Sample) -> PathBuf {
        let repo = Repo::open(&self.path, self.clock.clone()).unwrap();
        let by = Asker::with_mode(Mode::FULL);
        let content = sample.content(0);
        repo.put(&by, &sample.key, &AssociatedFile::default(), content).await.unwrap();
        repo.flush().await.unwrap();
        self.object_of(&sample.key)
    }

    fn object_of(&self, key: &Key) -> PathBuf {
        let site = Current::look(&self.path).unwrap().known();
        site.locate(key).unwrap().path().to_owned()
    }

    fn place(&self) -> Option<String> {
        fs::read_to_string(self.annex("gannet.scrub")).ok()
    }
}

/// One bit is another.
fn damage(object: &Path) -> Vec<u8> {
    let mut bytes = fs::read(object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    set_mode(object, 0o644);
    fs::write(object, &bytes).unwrap();
    set_mode(object, 0o444);
    bytes
}

#[tokio::test]
async fn damaged_content_is_found_and_set_aside() {
    let scene = Scene::new("").await;
    let damaged = damage(&scene.object);
    scene.expect_found(&[]); // not by a look from outside
    let scrubbed = scene.scrub(false);
    assert_eq!(kinds(&scrubbed.found), [Problem::Damaged]);
    assert_eq!(scrubbed.found[0].key, Some(scene.sample.key.clone()));
    assert_eq!((status(&scene), scene.object.exists()), (Some(Status::Present), true));
    let scrubbed = scene.scrub(true);
    assert_eq!(kinds(&scrubbed.found), [Problem::Damaged]);
    assert_eq!(scrubbed.found[0].outcome, Outcome::Mended);
    assert_eq!((status(&scene), scene.object.exists()), (Some(Status::Missing), false));
    assert!(fs::read(scene.annex("bad").join(scene.name())).unwrap() == damaged);
    assert_eq!(scene.scrub(false).found, []);
    scene.put(&scene.sample).await; // as good as new
    assert_eq!(scene.scrub(false).found, []);
}

#[tokio::test]
async fn damaged_content_that_is_locked_stays_until_it_is_not() {
    let scene = Scene::new("").await;
    damage(&scene.object);
    scene.plant(&scene.beside(".rtm"), &scene.clock.wall().plus(60).to_string());
    let scrubbed = scene.scrub(true);
    assert!(
        matches!(&scrubbed.found[0].outcome, Outcome::Left(Some(why)) if why.contains("later"))
    );
    assert_eq!((status(&scene), scene.object.exists()), (Some(Status::Present), true));
    scene.clock.advance(100);
    assert_eq!(scene.scrub(true).found[0].outcome, Outcome::Mended);
}

#[tokio::test]
async fn a_scrub_goes_on_where_it_was_stopped() {
    let scene = Scene::new("").await;
    let others: Vec<_> = (2..10).map(|seed| Sample::secure(seed, 5000)).collect();
    for sample in &others {
        scene.put(sample).await;
    }
    // Not hours into a scrub, but in the middle of the third object.
    let first = scene.scrub_until(false, |progress| progress.bytes > 10_000);
    assert!(first.end.stopped && first.end.part < 10_000, "{:?}", first.end);
    assert!(scene.place().is_some());
    scene.expect_found(&[]); // the note is no stray
    let second = scene.scrub(false);
    assert_eq!(second.end.bytes, 7 * 5000, "{:?}", second.end);
    assert_eq!((second.end.stopped, second.end.part), (false, 10_000));
    assert_eq!(scene.place(), None);
    assert_eq!(scene.scrub(false).end.bytes, 9 * 5000, "not from the beginning");
}

#[tokio::test]
async fn a_scrub_that_is_killed_has_written_down_how_far_it_was() {
    let scene = Scene::new("").await;
    for seed in 2..6 {
        scene.put(&Sample::secure(seed, 5000)).await;
    }
    let mut places = Vec::new();
    scene.scrub_until(false, |progress| {
        if progress.bytes > 0 {
            places.push(scene.place());
            scene.clock.advance(if progress.bytes == 15_000 { 3 } else { 6 });
        }
        false
    });
    places.dedup();
    assert_eq!(places.len(), 4, "{places:?}"); // none, and after the first, the second, the fourth
    // An odd place, or one that is gone, is as good as any.
    for place in ["", "\n", "nonsense", "zzz/zzz/zzz\n", "000\n"] {
        scene.plant(&scene.annex("gannet.scrub"), place);
        let read = scene.scrub(false).end.bytes;
        let expected = if place.starts_with('z') { 0 } else { 25_000 };
        assert_eq!((read, scene.place()), (expected, None), "{place:?}");
    }
}

#[tokio::test]
async fn what_changes_while_it_is_read_is_not_judged() {
    let scene = Scene::new("").await;
    let large = Sample::secure(2, 600_000);
    let object = scene.put(&large).await;
    let mut changed = false;
    let scrubbed = scene.scrub_until(true, |progress| {
        let now = progress.bytes > 5000 && !changed;
        if now {
            set_mode(&object, 0o644);
            fs::write(&object, &large.bytes).unwrap();
            let file = fs::File::options().write(true).open(&object).unwrap();
            file.set_len(0).unwrap();
            changed = true;
        }
        false
    });
    assert!(changed);
    assert!(!kinds(&scrubbed.found).contains(&Problem::Damaged), "{:?}", scrubbed.found);
    assert!(object.exists());
}

#[tokio::test]
async fn what_proves_nothing_is_not_read() {
    let scene = Scene::new("").await;
    let size_only = Sample::unverifiable(2, 3000);
    damage(&scene.put(&size_only).await);
    let scrubbed = scene.scrub(true);
    assert_eq!((kinds(&scrubbed.found), scrubbed.end.bytes), (Vec::new(), 5000));
}

#[tokio::test]
async fn what_was_found_behind_a_url_must_be_what_was_found_there_before() {
    let scene = Scene::new("").await;
    let other = Sample::secure(2, 3000);
    let url = Sample::named("VURL-s3000--http://example.com/", other.bytes.clone());
    let object = scene.put(&url).await;
    let path = log_path(Levels::Two, &url.key, ".log.ek");
    let name = String::from_utf8(journal::file_name(&path).into_owned()).unwrap();
    let equivalent = String::from_utf8(other.key.as_bytes().to_vec()).unwrap();
    scene.plant(&scene.annex("journal").join(name), &format!("1800000000s 1 {equivalent}\n"));
    let scrubbed = scene.scrub(false);
    assert_eq!((kinds(&scrubbed.found), scrubbed.end.bytes), (Vec::new(), 8000));
    damage(&object);
    let scrubbed = scene.scrub(true);
    assert_eq!(kinds(&scrubbed.found), [Problem::Damaged]);
    assert!(!object.exists());
}

#[tokio::test]
async fn the_good_copy_beside_damaged_content_takes_its_place() {
    let scene = Scene::new("").await;
    damage(&scene.object);
    let partial = scene.annex("tmp").join(scene.name());
    fs::write(&partial, &scene.sample.bytes).unwrap();
    scene.expect_left(Problem::StalePartial);
    assert!(fs::read(&partial).unwrap() == scene.sample.bytes);
    scene.scrub(true);
    assert!(fs::read(&scene.object).unwrap() == scene.sample.bytes);
    assert_eq!((scene.scrub(false).found, status(&scene)), (Vec::new(), Some(Status::Present)));
}
