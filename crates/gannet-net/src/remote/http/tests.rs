//! Over loopback: the remote on one side, the door on the other, and a front that meddles.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gannet_core::annex::Guarded;
use gannet_core::{
    Annex, Asker, AssociatedFile, Error, Mode, PutOffset, Removal, Span, Timestamp, Uuid, Verdict,
};
use gannet_testkit::{
    Asked, Ending, Gate, Journey, Parts, Sample, Stern, TestClock, annex_keeps_its_promise,
};
use gannet_wire::http::{Login, Version};

use self::front::{Front, Meddling};
use super::{AnnexUrl, HttpClient, HttpClientOptions, HttpRemote, Known, Patience, SignIn};
use crate::serve::http::tests::{Access, Shed, U};
use crate::serve::http::{HttpDoor, Limits};

mod believing;
mod front;
mod moving;
mod script;

annex_keeps_its_promise!(over_http, place(Meddling::default(), Version::V4).await);
annex_keeps_its_promise!(over_http_v3, place(Meddling::default(), Version::V3).await);
annex_keeps_its_promise!(
    behind_one_who_redirects_and_wants_a_login,
    place(Meddling { redirect: true, login: true, ..Meddling::default() }, Version::V4).await
);

struct Scene {
    stern: Stern,
    front: Front,
}

impl Scene {
    async fn new(meddling: Meddling) -> Self {
        let uuid = Uuid::parse(U.as_bytes()).unwrap();
        let stern = Stern::with(uuid, TestClock::new());
        let annex = Arc::new(Guarded::new(stern.clone()));
        let access = match meddling.login {
            true => Access { anonymous: Mode::NOTHING, login: Some(Mode::FULL) },
            false => Access::open(),
        };
        let door = HttpDoor::new(Arc::new(Shed { annex, access }), Limits::default());
        let door = if meddling.redirect { door.below("moved") } else { door };
        Self { stern, front: Front::new(door, meddling).await }
    }

    fn remote(&self) -> HttpRemote {
        let login = Login { user: b"rw".to_vec(), password: b"pw".to_vec() };
        self.remote_of(Arc::new(Known(Some(login))))
    }

    fn remote_of(&self, sign_in: Arc<dyn SignIn>) -> HttpRemote {
        let url: AnnexUrl = format!("annex+http://{}/", self.front.address).parse().unwrap();
        let http = HttpClient::new(HttpClientOptions::default()).unwrap();
        let patience = Patience { reply: Duration::from_secs(20), idle: Duration::from_secs(20) };
        HttpRemote::new(self.stern.uuid().clone(), &url, &http, sign_in, patience)
    }
}

async fn place(meddling: Meddling, version: Version) -> Parts {
    let scene = Scene::new(meddling).await;
    let remote = scene.remote().speaking_at_most(version);
    // The door measures retention by the real clock, so there is none that a test may set.
    Parts::new(Arc::new(remote), None, scene).far()
}

fn asker() -> Asker {
    let client = Uuid::parse(b"57e2a000-0000-4000-8000-00000000a5ce").ok();
    Asker { client, ..Asker::with_mode(Mode::FULL) }
}

fn file() -> AssociatedFile {
    AssociatedFile(Bytes::from_static(b"a file"))
}

#[tokio::test]
async fn every_older_version_is_found_and_remembered() {
    for version in Version::ALL {
        let scene = Scene::new(Meddling { newest: Some(version), ..Meddling::default() }).await;
        let remote = scene.remote();
        let (asker, sample) = (asker(), Sample::secure(1, 100_000));
        assert!(!remote.check_present(&asker, &sample.key).await.unwrap());
        assert_eq!(remote.caller.speaks_at_most(), version);
        let offset = remote.put_offset(&asker, &sample.key, &file()).await.unwrap();
        assert_eq!(offset, PutOffset::From(0));
        remote.put(&asker, &sample.key, &file(), sample.content(0)).await.unwrap();
        let offset = remote.put_offset(&asker, &sample.key, &file()).await.unwrap();
        assert_eq!(offset, PutOffset::AlreadyHave { plus: vec![] });
        remote.put_present(&asker, &sample.key, &file()).await.unwrap();
        let lock = remote.lock(&asker, &sample.key).await.unwrap().unwrap();
        assert_eq!(remote.remove(&asker, &sample.key).await.unwrap(), Removal::refused());
        lock.release().await.unwrap();
        let time = remote.timestamp(&asker).await;
        if version < Version::V3 {
            assert!(matches!(time, Err(Error::Unsupported(_))), "{version:?}: {time:?}");
            // A deadline that nobody would look at is refused, not dropped.
            let deadline = Timestamp { seconds: 0 };
            let removal = remote.remove_before(&asker, &sample.key, deadline).await;
            assert!(matches!(removal, Err(Error::Unsupported(_))), "{version:?}: {removal:?}");
            assert!(remote.check_present(&asker, &sample.key).await.unwrap());
            remote.remove(&asker, &sample.key).await.unwrap();
        } else {
            let deadline = time.unwrap().plus(10);
            remote.remove_before(&asker, &sample.key, deadline).await.unwrap();
        }
        assert_eq!(scene.stern.content_of(&sample.key), None, "{version:?}");
        let get = remote.get(&asker, &sample.key, &file(), Span::ALL).await;
        assert!(matches!(get, Err(Error::Missing { .. })), "{version:?}");
    }
}

/// Also by whoever asks first for something that older versions do not have.
#[tokio::test]
async fn what_is_too_new_is_found_out_whatever_is_asked_first() {
    for version in Version::ALL {
        let scene = Scene::new(Meddling { newest: Some(version), ..Meddling::default() }).await;
        let (asker, sample) = (asker(), Sample::secure(1, 100));
        let offset = scene.remote().put_offset(&asker, &sample.key, &file()).await;
        assert_eq!(offset.unwrap(), PutOffset::From(0), "{version:?}");
        let present = scene.remote().put_present(&asker, &sample.key, &file()).await;
        assert!(matches!(present, Err(Error::Missing { .. })), "{version:?}: {present:?}");
        let time = scene.remote().timestamp(&asker).await;
        let is_told = !matches!(time, Err(Error::Unsupported(_)));
        assert_eq!(is_told, version >= Version::V3, "{version:?}: {time:?}");
        let deadline = Timestamp { seconds: 0 };
        let removal = scene.remote().remove_before(&asker, &sample.key, deadline).await;
        let is_judged = !matches!(removal, Err(Error::Unsupported(_)));
        assert_eq!(is_judged, version >= Version::V3, "{version:?}: {removal:?}");
    }
}

/// Version 0 cannot say that content changed while it was sent: then its hash is looked at, and
/// for that its beginning, too.
#[tokio::test]
async fn nobody_believes_what_version_0_does_not_vouch_for() {
    for version in [Version::V0, Version::V1] {
        for from in [0, 300] {
            let scene = Scene::new(Meddling { newest: Some(version), ..Meddling::default() }).await;
            let (remote, sample) = (scene.remote(), Sample::secure(1, 1000));
            let other = Sample::secure(2, 1000);
            scene.stern.place(&sample.key, other.bytes.clone());
            let span = Span::starting_at(from);
            let content = remote.get(&asker(), &sample.key, &file(), span).await.unwrap();
            assert_eq!((content.from, content.len), (from, 1000 - from));
            let mut got = Vec::new();
            let verdict = content.pour(|bytes| {
                got.extend_from_slice(&bytes);
                Ok(())
            });
            let judged = verdict.await.unwrap() == Verdict::Doubtful;
            assert_eq!(judged, version == Version::V0, "from {from}");
            assert!(got == other.bytes.slice(usize::try_from(from).unwrap()..));
        }
    }
}

#[tokio::test]
async fn a_put_is_the_first_thing_that_is_asked() {
    let meddling = Meddling { newest: Some(Version::V2), login: true, redirect: true, cut: None };
    let scene = Scene::new(meddling).await;
    let sample = Sample::secure(2, 300_000);
    scene.remote().put(&asker(), &sample.key, &file(), sample.content(0)).await.unwrap();
    assert_eq!(scene.stern.content_of(&sample.key), Some(sample.bytes));
}

#[tokio::test]
async fn doubts_survive_the_way_there() {
    let scene = Scene::new(Meddling::default()).await;
    let remote = scene.remote();
    for sample in [Sample::secure(3, 100_000), Sample::unverifiable(3, 5), Sample::secure(3, 0)] {
        let journey = Journey::of(&sample.bytes, 0).ending(Ending::Verdict(Verdict::Doubtful));
        let error = remote.put(&asker(), &sample.key, &file(), journey.content()).await;
        assert!(matches!(error, Err(Error::Doubtful)), "{error:?}");
        assert_eq!(scene.stern.content_of(&sample.key), None);
    }
}

#[tokio::test]
async fn doubts_survive_the_way_back() {
    let scene = Scene::new(Meddling::default()).await;
    let remote = scene.remote();
    let sample = Sample::secure(4, 100_000);
    scene.stern.place(&sample.key, sample.bytes.clone());
    scene.stern.set_faults(|faults| faults.doubtful_gets = true);
    let content = remote.get(&asker(), &sample.key, &file(), Span::ALL).await.unwrap();
    let end = content.pour(|_| Ok(())).await;
    assert!(matches!(end, Err(Error::Doubtful)), "{end:?}");
}

#[tokio::test]
async fn a_line_that_breaks_is_no_end() {
    let sample = Sample::secure(5, 1 << 20);
    for cut in [0, 1, 100, 1000, 100_000, 1 << 19] {
        let scene = Scene::new(Meddling { cut: Some(cut), ..Meddling::default() }).await;
        scene.stern.place(&sample.key, sample.bytes.clone());
        let mut received = Vec::new();
        let outcome = match scene.remote().get(&asker(), &sample.key, &file(), Span::ALL).await {
            Ok(content) => {
                content
                    .pour(|bytes| {
                        received.extend_from_slice(&bytes);
                        Ok(())
                    })
                    .await
            }
            Err(error) => Err(error),
        };
        assert!(
            matches!(outcome, Err(Error::Interrupted | Error::Remote { .. })),
            "{cut}: {outcome:?}"
        );
        assert!(sample.bytes.starts_with(&received), "{cut}");
    }
}

#[tokio::test]
async fn a_dropped_get_and_a_dropped_put_leave_nothing_open() {
    let scene = Scene::new(Meddling::default()).await;
    let remote = scene.remote();
    let sample = Sample::secure(6, 8 << 20);
    scene.stern.place(&sample.key, sample.bytes.clone());
    drop(remote.get(&asker(), &sample.key, &file(), Span::ALL).await.unwrap());
    let other = Sample::secure(7, 1000);
    let journey = Journey::of(&other.bytes, 0).cut(500, Ending::Stuck(Gate::closed()));
    let put = async {
        remote.put(&asker(), &other.key, &file(), journey.content()).await.unwrap();
    };
    tokio::select! {
        () = put => panic!("it has no end"),
        () = until(|| scene.stern.open_puts() == 1) => {}
    }
    until(|| scene.stern.open_puts() == 0 && scene.stern.open_gets() == 0).await;
    until(|| scene.front.open.load(Ordering::Relaxed) <= 1).await;
}

#[tokio::test]
async fn a_dropped_lock_closes_its_connection_and_leaves_the_retention() {
    let scene = Scene::new(Meddling::default()).await;
    let remote = scene.remote();
    let sample = Sample::secure(8, 10);
    scene.stern.place(&sample.key, sample.bytes.clone());
    let lock = remote.lock(&asker(), &sample.key).await.unwrap().unwrap();
    let open = scene.front.open.load(Ordering::Relaxed);
    drop(lock);
    until(|| scene.front.open.load(Ordering::Relaxed) < open).await;
    assert_eq!(remote.remove(&asker(), &sample.key).await.unwrap(), Removal::refused());
}

/// Remembers what became of its logins.
#[derive(Default)]
struct Diary {
    passwords: Mutex<Vec<&'static str>>,
    asked: AtomicUsize,
    accepted: AtomicUsize,
    rejected: AtomicUsize,
}

#[async_trait]
impl SignIn for Diary {
    async fn login(&self, challenges: &[String]) -> Option<Login> {
        assert_eq!(challenges, ["Basic realm=\"git-annex\", charset=\"UTF-8\""]);
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        let password = self.passwords.lock().unwrap().pop()?;
        Some(Login { user: b"rw".to_vec(), password: password.into() })
    }
    async fn accepted(&self, _login: &Login) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }
    async fn rejected(&self, _login: &Login) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_login_is_asked_for_once_and_what_became_of_it_is_told() {
    let scene = Scene::new(Meddling { login: true, ..Meddling::default() }).await;
    let diary = Arc::new(Diary::default());
    diary.passwords.lock().unwrap().extend(["pw", "wrong"]);
    let counts = || {
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (read(&diary.asked), read(&diary.accepted), read(&diary.rejected))
    };
    let remote = scene.remote_of(diary.clone());
    let sample = Sample::secure(9, 10);
    let (asker, key) = (asker(), &sample.key);
    let wrong = remote.check_present(&asker, key).await.unwrap_err();
    assert!(wrong.to_string().contains("wrong user or password"), "{wrong}");
    assert_eq!(counts(), (1, 0, 1));
    let asked = std::iter::repeat_with(|| remote.check_present(&asker, key)).take(5);
    for present in futures_util::future::join_all(asked).await {
        assert!(!present.unwrap());
    }
    assert_eq!(counts(), (2, 1, 1));
    assert!(!remote.check_present(&asker, key).await.unwrap());
    let nobody = scene.remote_of(Arc::new(Known::default()));
    let error = nobody.check_present(&asker, key).await.unwrap_err();
    assert!(error.to_string().contains("user and password are needed"), "{error}");
}

#[tokio::test]
async fn who_asks_is_told() {
    let scene = Scene::new(Meddling::default()).await;
    let sample = Sample::secure(1, 1);
    let mut asker = asker();
    asker.bypass = vec![Uuid::parse(b"g-1").unwrap()];
    scene.remote().check_present(&asker, &sample.key).await.unwrap();
    let (heard, what) = scene.stern.asked().pop().unwrap();
    assert_eq!(what, Asked::CheckPresent(sample.key));
    assert_eq!((heard.client, heard.bypass), (asker.client, asker.bypass));
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_the_place() {
    let scene = Scene::new(Meddling::default()).await;
    let url: AnnexUrl = "annex+http://127.0.0.1:1/".parse().unwrap();
    let http = HttpClient::new(HttpClientOptions::default()).unwrap();
    let uuid = scene.stern.uuid().clone();
    let remote =
        HttpRemote::new(uuid, &url, &http, Arc::new(Known::default()), Patience::default());
    let sample = Sample::secure(1, 1);
    let error = remote.check_present(&asker(), &sample.key).await.unwrap_err();
    assert!(error.to_string().contains("annex+http://127.0.0.1:1/"), "{error}");
}

async fn until(condition: impl Fn() -> bool) {
    for _ in 0..4000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain");
}
