//! Over pipes in memory: the remote on one side, the line door on the other.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gannet_core::annex::Guarded;
use gannet_core::{
    Annex, Asker, AssociatedFile, Error, Mode, PutOffset, Removal, Span, Timestamp, Uuid, Verdict,
};
use gannet_testkit::{
    Asked, Ending, Gate, Journey, Parts, Sample, Stern, TestClock, Verb, annex_keeps_its_promise,
};
use gannet_wire::p2p::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};

use super::dial::Silent;
use super::{Dial, Dialled, LineLimits, LineRemote, Program};
use crate::serve::p2p::{LineDoor, NoGit};

mod dirty;

annex_keeps_its_promise!(over_a_pipe, place(Version::V4, Version::V4));
annex_keeps_its_promise!(of_an_older_client, place(Version::V3, Version::V4));

/// Leads to a door.
struct Pipe {
    stern: Stern,
    mode: Mode,
    newest: Version,
    dialled: AtomicUsize,
    open: Arc<AtomicUsize>,
    /// Breaks each connection after so many bytes to the client.
    cut: AtomicU64,
    /// The server says nothing at all.
    mute: AtomicBool,
    /// But it mutters, without ever coming to the end of a line.
    mutters: AtomicBool,
}

impl Pipe {
    fn new(newest: Version) -> Arc<Self> {
        let uuid = Uuid::parse(b"5e5e5e5e-0000-4000-8000-000000000001").unwrap();
        Arc::new(Self {
            stern: Stern::with(uuid, TestClock::new()),
            mode: Mode::FULL,
            newest,
            dialled: AtomicUsize::new(0),
            open: Arc::default(),
            cut: AtomicU64::new(u64::MAX),
            mute: AtomicBool::new(false),
            mutters: AtomicBool::new(false),
        })
    }

    fn remote(self: &Arc<Self>, newest: Version) -> LineRemote {
        let limits = LineLimits {
            newest,
            connect: Duration::from_secs(20),
            reply: Duration::from_secs(20),
            idle: Duration::from_secs(20),
            ..LineLimits::default()
        };
        self.remote_within(limits)
    }

    fn remote_within(self: &Arc<Self>, limits: LineLimits) -> LineRemote {
        LineRemote::new(self.stern.uuid().clone(), Arc::clone(self) as Arc<dyn Dial>, limits)
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Dial for Pipe {
    async fn dial(&self) -> io::Result<Dialled> {
        self.dialled.fetch_add(1, Ordering::Relaxed);
        let (here, there) = duplex(1 << 16);
        let (input, output) = split(here);
        let (open, cut) = (Arc::clone(&self.open), self.cut.load(Ordering::Relaxed));
        let door = LineDoor {
            annex: Arc::new(Guarded::new(self.stern.clone())),
            asker: Asker { client: Some(client()), ..Asker::with_mode(self.mode) },
            git: Arc::new(NoGit),
            newest: self.newest,
        };
        let mute = self.mute.load(Ordering::Relaxed);
        let mutters = self.mutters.load(Ordering::Relaxed);
        tokio::spawn(async move {
            open.fetch_add(1, Ordering::Relaxed);
            let (hears, mut says) = split(there);
            if mute {
                let mut hears = hears;
                loop {
                    tokio::select! {
                        heard = hears.read_u8() => if heard.is_err() { break },
                        () = tokio::time::sleep(Duration::from_secs(5)), if mutters => {
                            says.write_all(b"x").await.ok();
                        }
                    }
                }
            } else if cut == u64::MAX {
                door.serve(hears, says).await;
            } else {
                let (said, mouth) = tokio::io::simplex(1 << 16);
                let cutting = async {
                    tokio::io::copy(&mut said.take(cut), &mut says).await.ok();
                    says.shutdown().await.ok();
                };
                tokio::select! {
                    _ = door.serve(hears, mouth) => {}
                    () = cutting => {}
                }
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(Dialled { input: Box::new(input), output: Box::new(output), farewell: Box::new(Silent) })
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the end of a pipe")
    }
}

fn place(client: Version, server: Version) -> Parts {
    let pipe = Pipe::new(server);
    let clock = Arc::clone(pipe.stern.test_clock());
    Parts::new(Arc::new(pipe.remote(client)), Some(clock), pipe).far()
}

/// Who asks, as whoever is at the door knows it.
fn client() -> Uuid {
    Uuid::parse(b"c1c1c1c1-0000-4000-8000-000000000002").unwrap()
}

fn asker() -> Asker {
    Asker::with_mode(Mode::FULL)
}

fn file() -> AssociatedFile {
    AssociatedFile(Bytes::from_static(b"a file"))
}

#[tokio::test]
async fn every_pair_of_versions_does_what_it_can() {
    for (client, server) in pairs() {
        let pipe = Pipe::new(server);
        let remote = pipe.remote(client);
        let spoken = client.min(server);
        let (asker, sample) = (asker(), Sample::secure(1, 200_000));
        let key = &sample.key;
        assert!(!remote.check_present(&asker, key).await.unwrap());
        let get = remote.get(&asker, key, &file(), Span::ALL).await;
        assert!(get.is_err(), "{client:?} {server:?}");
        assert_eq!(remote.put_offset(&asker, key, &file()).await.unwrap(), PutOffset::From(0));
        remote.put(&asker, key, &file(), sample.content(0)).await.unwrap();
        assert_eq!(
            remote.put_offset(&asker, key, &file()).await.unwrap(),
            PutOffset::AlreadyHave { plus: vec![] }
        );
        remote.put_present(&asker, key, &file()).await.unwrap();
        let mut got = Vec::new();
        let content = remote.get(&asker, key, &file(), Span::starting_at(7)).await.unwrap();
        let verdict = content.pour(|bytes| {
            got.extend_from_slice(&bytes);
            Ok(())
        });
        assert_eq!(verdict.await.unwrap(), Verdict::Valid);
        assert!(got == sample.bytes[7..]);
        let lock = remote.lock(&asker, key).await.unwrap().unwrap();
        assert_eq!(remote.remove(&asker, key).await.unwrap(), Removal::refused());
        lock.release().await.unwrap();
        let time = remote.timestamp(&asker).await;
        if spoken < Version::V3 {
            assert!(matches!(time, Err(Error::Unsupported(_))), "{time:?}");
            let removal = remote.remove_before(&asker, key, Timestamp { seconds: 9 }).await;
            assert!(matches!(removal, Err(Error::Unsupported(_))), "{removal:?}");
            // The unlocking has no answer; the next removal may be quicker.
            until(async || remote.remove(&asker, key).await.unwrap().removed).await;
        } else {
            let deadline = time.unwrap().plus(10);
            until(async || remote.remove_before(&asker, key, deadline).await.unwrap().removed)
                .await;
        }
        assert_eq!(pipe.stern.content_of(key), None);
    }
}

fn pairs() -> impl Iterator<Item = (Version, Version)> {
    Version::ALL.into_iter().flat_map(|one| Version::ALL.into_iter().map(move |other| (one, other)))
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let pipe = Pipe::new(Version::V4);
    let remote = pipe.remote(Version::V4);
    let sample = Sample::secure(2, 100_000);
    for _ in 0..3 {
        remote.put(&asker(), &sample.key, &file(), sample.content(0)).await.unwrap();
        let content = remote.get(&asker(), &sample.key, &file(), Span::ALL).await.unwrap();
        content.pour(|_| Ok(())).await.unwrap();
        remote.remove(&asker(), &sample.key).await.unwrap();
        remote.put_offset(&asker(), &sample.key, &file()).await.unwrap();
    }
    assert_eq!(pipe.dialled.load(Ordering::Relaxed), 1);
    drop(remote);
    until(async || pipe.open() == 0).await;
}

/// Also what is idle takes no more than it must, however many requests there were.
#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_after_a_while() {
    let pipe = Pipe::new(Version::V4);
    let limits = LineLimits { keep: Duration::from_secs(60), ..LineLimits::default() };
    let remote = pipe.remote_within(limits);
    let sample = Sample::secure(2, 10);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let ask = async || remote.check_present(&asker(), &sample.key).await.unwrap();
    for _ in 0..2 {
        for _ in 0..100 {
            ask().await;
        }
        assert!(tasks() <= 2, "{} tasks", tasks());
        assert_eq!(pipe.open(), 1);
        tokio::time::sleep(Duration::from_secs(30)).await;
        ask().await; // so it is kept longer
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert_eq!(pipe.open(), 1);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!((pipe.open(), tasks()), (0, 0));
    }
    assert_eq!(pipe.dialled.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_allowed() {
    for idle_max in [0, 1, 3, 20] {
        let pipe = Pipe::new(Version::V4);
        let remote = pipe.remote_within(LineLimits { idle_max, ..LineLimits::default() });
        let sample = Sample::secure(2, 10);
        pipe.stern.place(&sample.key, sample.bytes.clone());
        for _ in 0..2 {
            let mut locks = Vec::new();
            for _ in 0..10 {
                locks.push(remote.lock(&asker(), &sample.key).await.unwrap().unwrap());
            }
            until(async || pipe.open() == 10).await;
            for lock in locks {
                lock.release().await.unwrap();
            }
            until(async || pipe.open() == idle_max.min(10)).await;
        }
        let dialled = pipe.dialled.load(Ordering::Relaxed);
        assert_eq!(dialled, 20 - idle_max.min(10), "what is kept is used");
        assert!(!remote.check_present(&asker(), &Sample::secure(1, 9).key).await.unwrap());
        assert_eq!(pipe.dialled.load(Ordering::Relaxed), dialled + usize::from(idle_max == 0));
    }
}

#[tokio::test]
async fn a_connection_that_closed_while_idle_is_not_noticed_by_anybody() {
    let pipe = Pipe::new(Version::V4);
    let remote = pipe.remote(Version::V4);
    let sample = Sample::secure(2, 10);
    // Long enough for the greeting and one answer.
    pipe.cut.store(70, Ordering::Relaxed);
    let present = Sample::secure(3, 10);
    pipe.stern.place(&present.key, present.bytes.clone());
    for _ in 0..20 {
        assert!(!remote.check_present(&asker(), &sample.key).await.unwrap());
        assert!(remote.lock(&asker(), &present.key).await.unwrap().is_some());
    }
    assert!(pipe.dialled.load(Ordering::Relaxed) > 1);
}

#[tokio::test]
async fn who_cannot_be_told_what_to_bypass_is_not_spoken_to_if_that_is_needed() {
    for server in Version::ALL {
        let pipe = Pipe::new(server);
        let limits = LineLimits { oldest: Version::V2, ..LineLimits::default() };
        let (remote, sample) = (pipe.remote_within(limits), Sample::secure(1, 9));
        match remote.check_present(&asker(), &sample.key).await {
            Ok(_) => assert!(server.lists_others()),
            Err(error) => {
                assert!(!server.lists_others(), "{server:?}: {error}");
                assert!(error.to_string().contains("does not speak version 2"), "{error}");
                assert_eq!(pipe.stern.asked(), []);
            }
        }
        until(async || pipe.open() == usize::from(server.lists_others())).await;
    }
}

/// Then it is not asked back by what it asked for.
#[tokio::test]
async fn who_cannot_say_what_to_bypass_is_bypassed() {
    for version in Version::ALL {
        let pipe = Pipe::new(Version::V4);
        pipe.remote(version).check_present(&asker(), &Sample::secure(1, 9).key).await.unwrap();
        let [(heard, _)] = pipe.stern.asked().try_into().unwrap();
        let expected = if version.lists_others() { vec![] } else { vec![client()] };
        assert_eq!(heard.bypass, expected, "{version:?}");
    }
}

#[tokio::test]
async fn bypasses_stay_with_those_who_said_them() {
    let pipe = Pipe::new(Version::V4);
    let remote = pipe.remote(Version::V4);
    let sample = Sample::secure(2, 10);
    let gateway = |name: &str| Uuid::parse(name.as_bytes()).unwrap();
    let lists = [vec![], vec![gateway("g-1")], vec![gateway("g-1"), gateway("g-2")], vec![]];
    for bypass in &lists {
        let asker = Asker { bypass: bypass.clone(), ..asker() };
        remote.check_present(&asker, &sample.key).await.unwrap();
    }
    let heard: Vec<_> = pipe.stern.asked().into_iter().map(|(asker, _)| asker.bypass).collect();
    assert_eq!(heard, lists);
    assert_eq!(pipe.stern.asked()[0].1, Asked::CheckPresent(sample.key));
}

#[tokio::test]
async fn doubts_survive_in_both_directions() {
    for (client, server) in pairs() {
        let pipe = Pipe::new(server);
        let remote = pipe.remote(client);
        let sample = Sample::secure(3, 100_000);
        let journey = Journey::of(&sample.bytes, 0).ending(Ending::Verdict(Verdict::Doubtful));
        let put = remote.put(&asker(), &sample.key, &file(), journey.content()).await;
        assert!(matches!(put, Err(Error::Doubtful)), "{put:?}");
        assert_eq!(pipe.stern.content_of(&sample.key), None);
        pipe.stern.place(&sample.key, sample.bytes.clone());
        pipe.stern.set_faults(|faults| faults.doubtful_gets = true);
        let content = remote.get(&asker(), &sample.key, &file(), Span::ALL).await.unwrap();
        let end = content.pour(|_| Ok(())).await;
        assert!(!matches!(end, Ok(Verdict::Valid)), "{client:?} {server:?}: {end:?}");
    }
}

/// Version 0 cannot say that content changed while it was sent: then its hash is looked at, and
/// for that its beginning, too.
#[tokio::test]
async fn nobody_believes_what_version_0_does_not_vouch_for() {
    let (sample, other) = (Sample::secure(1, 1000), Sample::secure(2, 1000));
    for (version, from) in [(Version::V0, 0), (Version::V0, 300), (Version::V1, 300)] {
        let pipe = Pipe::new(version);
        pipe.stern.place(&sample.key, other.bytes.clone());
        let span = Span::starting_at(from);
        let remote = pipe.remote(Version::V4);
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
    // No hash can tell.
    let sample = Sample::unverifiable(3, 1000);
    let pipe = Pipe::new(Version::V0);
    pipe.stern.place(&sample.key, sample.bytes.clone());
    let span = Span::starting_at(300);
    let content = pipe.remote(Version::V4).get(&asker(), &sample.key, &file(), span).await.unwrap();
    assert_eq!(content.pour(|_| Ok(())).await.unwrap(), Verdict::Valid);
}

#[tokio::test]
async fn a_line_that_breaks_is_no_end() {
    let sample = Sample::secure(5, 1 << 20);
    for cut in [0, 1, 30, 60, 100, 1000, 100_000, 1 << 19, (1 << 20) + 60] {
        let pipe = Pipe::new(Version::V4);
        pipe.stern.place(&sample.key, sample.bytes.clone());
        pipe.cut.store(cut, Ordering::Relaxed);
        let mut received = Vec::new();
        let remote = pipe.remote(Version::V4);
        let outcome = match remote.get(&asker(), &sample.key, &file(), Span::ALL).await {
            Ok(content) => {
                let take = |bytes: Bytes| {
                    received.extend_from_slice(&bytes);
                    Ok(())
                };
                content.pour(take).await
            }
            Err(error) => Err(error),
        };
        assert!(
            matches!(outcome, Err(Error::Interrupted | Error::Remote { .. })),
            "{cut}: {outcome:?}"
        );
        assert!(sample.bytes.starts_with(&received), "{cut}");
        until(async || pipe.open() == 0).await;
    }
}

#[tokio::test]
async fn what_is_dropped_leaves_nothing_open() {
    let pipe = Pipe::new(Version::V4);
    let remote = pipe.remote(Version::V4);
    let sample = Sample::secure(6, 8 << 20);
    pipe.stern.place(&sample.key, sample.bytes.clone());
    drop(remote.get(&asker(), &sample.key, &file(), Span::ALL).await.unwrap());
    until(async || pipe.open() == 0 && pipe.stern.open_gets() == 0).await;
    let other = Sample::secure(7, 1000);
    let journey = Journey::of(&other.bytes, 0).cut(500, Ending::Stuck(Gate::closed()));
    let put = async {
        remote.put(&asker(), &other.key, &file(), journey.content()).await.unwrap();
    };
    tokio::select! {
        () = put => panic!("it has no end"),
        () = until(async || pipe.stern.open_puts() == 1) => {}
    }
    until(async || pipe.open() == 0 && pipe.stern.open_puts() == 0).await;
    drop(remote.lock(&asker(), &sample.key).await.unwrap().unwrap());
    until(async || pipe.open() == 0 && pipe.stern.kept_locks() == 0).await;
    assert_eq!(remote.remove(&asker(), &sample.key).await.unwrap(), Removal::refused());
}

#[tokio::test]
async fn a_refusal_says_which_right_is_lacking() {
    let mut pipe = Pipe::new(Version::V4);
    Arc::get_mut(&mut pipe).unwrap().mode = Mode::READ_ONLY;
    let remote = pipe.remote(Version::V4);
    let sample = Sample::secure(6, 10);
    let put = remote.put(&asker(), &sample.key, &file(), sample.content(0)).await;
    assert!(matches!(put, Err(Error::Forbidden { .. })), "{put:?}");
    assert!(!remote.check_present(&asker(), &sample.key).await.unwrap());
    let remove = remote.remove(&asker(), &sample.key).await;
    assert!(matches!(remove, Err(Error::Forbidden { .. })), "{remove:?}");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_given_up() {
    for mutters in [false, true] {
        let pipe = Pipe::new(Version::V4);
        pipe.mute.store(true, Ordering::Relaxed);
        pipe.mutters.store(mutters, Ordering::Relaxed);
        let remote = pipe.remote(Version::V4);
        let sample = Sample::secure(6, 10);
        let error = remote.check_present(&asker(), &sample.key).await.unwrap_err();
        assert!(error.to_string().contains("did nothing for 20 seconds"), "{error}");
        until(async || pipe.open() == 0).await;
    }
}

#[tokio::test]
async fn strangers_hear_neither_paths_nor_what_places_behind_say() {
    type Make = fn(&str) -> Error;
    let pipe = Pipe::new(Version::V4);
    let remote = pipe.remote(Version::V4);
    let sample = Sample::secure(6, 10);
    let secret = "/srv/secret?password=geheim";
    let errors: [(&str, Make); 3] = [
        ("its log says what", |it| Error::disk("open", it, io::Error::other("broken"))),
        ("the server's log says why", |it| Error::Remote { place: it.into(), why: it.into() }),
        ("cannot do that", |it| Error::Unsupported(it.into())),
    ];
    for (gist, error) in errors {
        pipe.stern.set_faults(|faults| {
            for verb in [Verb::CheckPresent, Verb::Get, Verb::PutOffset, Verb::Remove, Verb::Lock] {
                faults.fail(verb, move || error(secret));
            }
        });
        let (key, file) = (&sample.key, &file());
        for said in [
            remote.check_present(&asker(), key).await.map(drop),
            remote.get(&asker(), key, file, Span::ALL).await.map(drop),
            remote.put_offset(&asker(), key, file).await.map(drop),
            remote.remove(&asker(), key).await.map(drop),
            remote.lock(&asker(), key).await.map(drop),
        ] {
            let said = said.unwrap_err().to_string();
            assert!(said.contains(gist) && !said.contains("secret"), "{said}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_at_once_are_told_so() {
    let pipe = Pipe::new(Version::V4);
    let limits =
        LineLimits { connections_max: 1, gets_max: 1, locks_max: 1, ..LineLimits::default() };
    let remote = pipe.remote_within(limits);
    let sample = Sample::secure(6, 100_000);
    pipe.stern.place(&sample.key, sample.bytes.clone());
    let lock = remote.lock(&asker(), &sample.key).await.unwrap().unwrap();
    let content = remote.get(&asker(), &sample.key, &file(), Span::ALL).await.unwrap();
    let other = remote.get(&asker(), &sample.key, &file(), Span::ALL).await;
    assert!(matches!(other, Err(Error::Overloaded { .. })), "{other:?}");
    // Who reads slowly keeps nobody from asking, nor from storing.
    assert!(remote.check_present(&asker(), &sample.key).await.unwrap());
    let put = Sample::secure(7, 10);
    remote.put(&asker(), &put.key, &file(), put.content(0)).await.unwrap();
    let second = remote.lock(&asker(), &sample.key).await;
    assert!(matches!(second, Err(Error::Overloaded { .. })), "{second:?}");
    drop(content);
    remote.get(&asker(), &sample.key, &file(), Span::ALL).await.unwrap();
    lock.release().await.unwrap();
    assert!(remote.lock(&asker(), &sample.key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_program_tells_why_it_failed_and_is_waited_for() {
    let remote = |script: &str| {
        let program = Program {
            name: "a script".into(),
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![],
            attended: false,
        };
        let uuid = Uuid::parse(b"u-1").unwrap();
        LineRemote::new(uuid, Arc::new(program), LineLimits::default())
    };
    let sample = Sample::secure(6, 10);
    let cases = [
        ("echo no such host >&2; exit 255", "no such host"),
        ("echo Welcome; exec cat", "it said: Welcome"),
        ("echo AUTH-SUCCESS u-2; exec cat", "not u-1"),
        ("exit 3", "the connection was lost"),
    ];
    for (script, why) in cases {
        let error = remote(script).check_present(&asker(), &sample.key).await.unwrap_err();
        assert!(error.to_string().contains(why), "{script}: {error}");
        assert!(error.to_string().starts_with("u-1 at a script: "), "{error}");
    }
    let missing = Program {
        name: "nothing".into(),
        program: "/nonexistent/program".into(),
        arguments: vec![],
        environment: vec![],
        attended: false,
    };
    let uuid = Uuid::parse(b"u-1").unwrap();
    let remote = LineRemote::new(uuid, Arc::new(missing), LineLimits::default());
    let error = remote.check_present(&asker(), &sample.key).await.unwrap_err();
    assert!(error.to_string().contains("/nonexistent/program"), "{error}");
}

async fn until(mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..4000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain");
}
