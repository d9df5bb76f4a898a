//! Bad links. Some carry a few bytes at a time only; others break after any number of bytes, in
//! either direction: then what was acknowledged is there, what came is resumed, nothing is made up,
//! and the next request works.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use gannet_core::annex::Guarded;
use gannet_core::{Annex, Asker, AssociatedFile, Error, Mode, PutOffset, Span, Uuid, Verdict};
use gannet_testkit::{Faults, Parts, Sample, Stern, TestClock, Verb, annex_keeps_its_promise};
use tokio::io::{AsyncReadExt, DuplexStream, copy, duplex, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::http::{AnnexUrl, HttpClient, HttpClientOptions, HttpRemote, Known, Patience};
use super::line::{Dial, Dialled, Farewell, LineLimits, LineRemote};
use crate::serve::http::tests::{Access, Shed, U};
use crate::serve::http::{HttpDoor, Limits};
use crate::serve::p2p::{LineDoor, NoGit, Version};

annex_keeps_its_promise!(over_a_line_in_crumbs, in_crumbs(Kind::Line).await);
annex_keeps_its_promise!(over_http_in_crumbs, in_crumbs(Kind::Http).await);

/// Behind a link that carries a few bytes at a time, and a place that reads no more either.
async fn in_crumbs(kind: Kind) -> Parts {
    let scene = Scene::new(kind).await;
    scene.link.crumble();
    scene.stern.set_faults(|faults| faults.piece_bytes = 777);
    let clock = Arc::clone(scene.stern.test_clock());
    // The HTTP door measures retention by the real clock.
    let clock = (kind == Kind::Line).then_some(clock);
    Parts::new(Arc::clone(&scene.remote), clock, scene).far()
}

#[tokio::test]
async fn a_line_may_break_anywhere() {
    breaks_anywhere(Kind::Line).await;
}

#[tokio::test]
async fn http_may_break_anywhere() {
    breaks_anywhere(Kind::Http).await;
}

/// What a place fails to do is an error at the other end of a link, never an answer.
#[tokio::test]
async fn a_place_that_fails_is_believed_nothing() {
    for kind in [Kind::Line, Kind::Http] {
        let scene = Scene::new(kind).await;
        let (remote, asker, file) = (&scene.remote, &scene.asker, &scene.file);
        let (sample, key) = (Sample::secure(7, LEN), Sample::secure(7, LEN).key);
        scene.stern.place(&key, sample.bytes.clone());
        scene.fail(&[Verb::CheckPresent, Verb::Get, Verb::Lock, Verb::Remove, Verb::Timestamp]);
        assert!(remote.check_present(asker, &key).await.is_err(), "{kind:?}");
        assert!(remote.get(asker, &key, file, Span::ALL).await.is_err(), "{kind:?}");
        assert!(!matches!(remote.lock(asker, &key).await, Ok(Some(_))), "{kind:?}");
        assert!(!remote.remove(asker, &key).await.is_ok_and(|it| it.removed), "{kind:?}");
        assert!(remote.timestamp(asker).await.is_err(), "{kind:?}");
        let absent = Sample::secure(8, LEN);
        scene.fail(&[Verb::PutOffset, Verb::Put, Verb::PutPresent]);
        assert!(remote.put_offset(asker, &absent.key, file).await.is_err(), "{kind:?}");
        assert!(remote.put(asker, &absent.key, file, absent.content(0)).await.is_err());
        assert!(remote.put_present(asker, &absent.key, file).await.is_err(), "{kind:?}");
        scene.stern.set_faults(|faults| *faults = Faults::default());
        assert!(remote.check_present(asker, &key).await.unwrap(), "{kind:?}");
        scene.store(&absent, 0).await;
    }
}

async fn breaks_anywhere(kind: Kind) {
    for way in [Way::Up, Way::Down] {
        for bytes in places_to_break() {
            let scene = Scene::new(kind).await;
            let what = format!("{kind:?} {way:?} {bytes}");
            scene.put_is_resumed(way, bytes, &what).await;
            scene.get_is_resumed(way, bytes, &what).await;
            scene.presence_is_not_made_up(way, bytes, &what).await;
            scene.removal_is_not_made_up(way, bytes, &what).await;
            drop(scene.remote);
            until(async || scene.link.open.load(Ordering::Relaxed) == 0).await;
        }
    }
}

/// Often where messages are, and now and then where content is.
fn places_to_break() -> impl Iterator<Item = u64> {
    let long = std::env::var_os("GANNET_LONG").is_some_and(|value| value == "1");
    let (often, seldom) = if long { (3, 997) } else { (41, 19_997) };
    let end = LEN as u64 + 1000;
    let ends = LEN as u64 - 200..LEN as u64 + 600;
    (0..900).step_by(often).chain((900..end).step_by(seldom)).chain(ends.step_by(often))
}

/// What lies beyond a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Line,
    Http,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

struct Scene {
    stern: Stern,
    remote: Arc<dyn Annex>,
    link: Arc<Link>,
    asker: Asker,
    file: AssociatedFile,
}

impl Scene {
    async fn new(kind: Kind) -> Self {
        let uuid = Uuid::parse(U.as_bytes()).unwrap();
        let stern = Stern::with(uuid.clone(), TestClock::new());
        let annex: Arc<dyn Annex> = Arc::new(Guarded::new(stern.clone()));
        let link = Arc::new(match kind {
            Kind::Line => Link::new(move |there| Box::pin(line(Arc::clone(&annex), there))).await,
            Kind::Http => {
                let shed =
                    Shed { annex: Arc::new(Guarded::new(stern.clone())), access: Access::open() };
                let door = Arc::new(HttpDoor::new(Arc::new(shed), Limits::default()));
                let (stop, stopped) = watch::channel(false);
                Link::new(move |there| {
                    let (door, stopped, stop) = (Arc::clone(&door), stopped.clone(), stop.clone());
                    Box::pin(async move {
                        door.serve(there, None, stopped).await;
                        drop(stop);
                    })
                })
                .await
            }
        });
        let remote: Arc<dyn Annex> = match kind {
            Kind::Line => {
                let dial = Arc::new(ToLink(Arc::clone(&link)));
                Arc::new(LineRemote::new(uuid, dial, LineLimits::default()))
            }
            Kind::Http => {
                let url: AnnexUrl = format!("annex+http://{}/", link.address).parse().unwrap();
                let http = HttpClient::new(HttpClientOptions::default()).unwrap();
                let (known, patience) = (Arc::new(Known::default()), Patience::default());
                Arc::new(HttpRemote::new(uuid, &url, &http, known, patience))
            }
        };
        let client = Uuid::parse(b"57e2a000-0000-4000-8000-00000000a5ce").ok();
        let asker = Asker { client, ..Asker::with_mode(Mode::FULL) };
        let file = AssociatedFile(Bytes::from_static(b"a file"));
        Self { stern, remote, link, asker, file }
    }

    fn fail(&self, verbs: &[Verb]) {
        self.stern.set_faults(|faults| {
            for verb in verbs {
                faults.fail(*verb, || Error::Internal("a fault".to_owned()));
            }
        });
    }

    async fn put_is_resumed(&self, way: Way, bytes: u64, what: &str) {
        let sample = Sample::secure(1, LEN);
        self.link.cut(way, bytes);
        let put = self.remote.put(&self.asker, &sample.key, &self.file, sample.content(0)).await;
        match (self.stern.content_of(&sample.key), put.is_ok()) {
            (Some(stored), _) => assert!(stored == sample.bytes, "{what}"),
            (None, acknowledged) => assert!(!acknowledged, "{what}: it is not there"),
        }
        self.link.heal();
        self.expect_use(&sample, what).await;
        // The other end may not have noticed yet; until then it may be busy with the key.
        let arrived = way == Way::Up && (20_000..LEN as u64).contains(&bytes);
        until(async || {
            let offset = self.remote.put_offset(&self.asker, &sample.key, &self.file).await;
            match offset.unwrap_or_else(|error| panic!("{what}: {error}")) {
                PutOffset::AlreadyHave { .. } => true,
                PutOffset::From(0) if arrived => false,
                PutOffset::From(from) => {
                    assert!(from <= sample.len(), "{what}: {from}");
                    let content = sample.content(from);
                    let put = self.remote.put(&self.asker, &sample.key, &self.file, content);
                    put.await.is_ok()
                }
            }
        })
        .await;
        assert!(self.stern.content_of(&sample.key) == Some(sample.bytes), "{what}");
    }

    async fn get_is_resumed(&self, way: Way, bytes: u64, what: &str) {
        let sample = Sample::secure(2, LEN);
        self.stern.place(&sample.key, sample.bytes.clone());
        self.link.cut(way, bytes);
        let mut received = Vec::new();
        let got = self.get(&sample, &mut received).await;
        assert!(sample.bytes.starts_with(&received), "{what}");
        if let Ok(verdict) = got {
            assert!(verdict == Verdict::Valid && sample.bytes == received, "{what}");
        }
        self.link.heal();
        self.expect_use(&sample, what).await;
        assert_eq!(self.get(&sample, &mut received).await.unwrap(), Verdict::Valid, "{what}");
        assert!(sample.bytes == received, "{what}");
    }

    /// Gets what follows the bytes that were received already.
    async fn get(&self, sample: &Sample, received: &mut Vec<u8>) -> Result<Verdict, Error> {
        let span = Span::starting_at(received.len() as u64);
        let content = self.remote.get(&self.asker, &sample.key, &self.file, span).await?;
        let take = |bytes: Bytes| {
            received.extend_from_slice(&bytes);
            Ok(())
        };
        content.pour(take).await
    }

    async fn presence_is_not_made_up(&self, way: Way, bytes: u64, what: &str) {
        let sample = Sample::secure(3, LEN);
        self.stern.place(&sample.key, sample.bytes.clone());
        self.link.cut(way, bytes);
        if let Ok(present) = self.remote.check_present(&self.asker, &sample.key).await {
            assert!(present, "{what}");
        }
        self.link.heal();
        self.expect_use(&sample, what).await;
        self.link.cut(way, bytes);
        match self.remote.lock(&self.asker, &sample.key).await {
            Ok(Some(lock)) => {
                let removal = self.stern.remove(&self.asker, &sample.key).await.unwrap();
                assert!(!removal.removed, "{what}: it was locked");
                // That may not be heard any more.
                drop(lock.release().await);
            }
            Ok(None) => panic!("{what}: it can be locked"),
            Err(_) => {}
        }
        self.link.heal();
        self.expect_use(&sample, what).await;
    }

    async fn removal_is_not_made_up(&self, way: Way, bytes: u64, what: &str) {
        let sample = Sample::secure(4, LEN);
        self.stern.place(&sample.key, sample.bytes.clone());
        self.link.cut(way, bytes);
        if let Ok(removal) = self.remote.remove(&self.asker, &sample.key).await {
            assert!(removal.removed, "{what}: nobody needs it");
            assert_eq!(self.stern.content_of(&sample.key), None, "{what}");
        }
        self.link.heal();
        let removal = self.remote.remove(&self.asker, &sample.key).await;
        assert!(removal.unwrap_or_else(|error| panic!("{what}: {error}")).removed, "{what}");
        assert_eq!(self.stern.content_of(&sample.key), None, "{what}");
    }

    async fn store(&self, sample: &Sample, from: u64) {
        let content = sample.content(from);
        self.remote.put(&self.asker, &sample.key, &self.file, content).await.unwrap();
    }

    /// The first request after a mishap has its answer.
    async fn expect_use(&self, sample: &Sample, what: &str) {
        let present = self.remote.check_present(&self.asker, &sample.key).await;
        present.unwrap_or_else(|error| panic!("{what}: it is of no use any more: {error}"));
    }
}

async fn line(annex: Arc<dyn Annex>, there: DuplexStream) {
    let asker = Asker::with_mode(Mode::FULL);
    let door = LineDoor { annex, asker, git: Arc::new(NoGit), newest: Version::NEWEST };
    let (hears, says) = split(there);
    door.serve(hears, says).await;
}

/// Stands between clients and a door, and breaks connections when it is told to.
struct Link {
    address: SocketAddr,
    /// How many bytes a connection may carry up, and down.
    left: Arc<[AtomicU64; 2]>,
    /// How many bytes are carried at a time.
    step: Arc<AtomicUsize>,
    /// Connections whose door has not ended.
    open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Link {
    async fn new(door: impl Fn(DuplexStream) -> BoxFuture<'static, ()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new([AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX)]);
        let step = Arc::new(AtomicUsize::new(1 << 12));
        let (limits, steps) = (Arc::clone(&left), Arc::clone(&step));
        let open = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&open);
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                let (here, there) = duplex(1 << 16);
                let (serving, counted) = (door(there), Arc::clone(&counted));
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    serving.await;
                    counted.fetch_sub(1, Ordering::Relaxed);
                });
                let step = steps.load(Ordering::Relaxed);
                tokio::spawn(carry(socket, here, Arc::clone(&limits), step));
            }
        });
        Self { address, left, step, open, task }
    }

    /// From now on connections break after so many bytes one way, those that are open too.
    fn cut(&self, way: Way, bytes: u64) {
        self.left[way as usize].store(bytes, Ordering::Relaxed);
    }

    /// From now on new connections carry a few bytes at a time.
    fn crumble(&self) {
        self.step.store(17, Ordering::Relaxed);
    }

    fn heal(&self) {
        self.left.iter().for_each(|left| left.store(u64::MAX, Ordering::Relaxed));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries bytes both ways until one has no more, or may not.
async fn carry(socket: TcpStream, here: DuplexStream, left: Arc<[AtomicU64; 2]>, step: usize) {
    let (from_client, to_client) = socket.into_split();
    let (from_door, to_door) = split(here);
    tokio::select! {
        () = carry_one_way(from_client, to_door, &left[0], step) => {}
        () = carry_one_way(from_door, to_client, &left[1], step) => {}
    }
}

async fn carry_one_way(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    left: &AtomicU64,
    step: usize,
) {
    let mut bytes = vec![0; step];
    while let Ok(len @ 1..) = from.read(&mut bytes).await {
        let may = left.load(Ordering::Relaxed);
        let may = usize::try_from(may).unwrap_or(usize::MAX).min(len);
        if copy(&mut &bytes[..may], &mut to).await.is_err() || may < len {
            return;
        }
        let less = |left: u64| (left != u64::MAX).then(|| left.saturating_sub(len as u64));
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
    }
}

/// Leads to a link.
struct ToLink(Arc<Link>);

#[async_trait]
impl Dial for ToLink {
    async fn dial(&self) -> io::Result<Dialled> {
        let socket = TcpStream::connect(self.0.address).await?;
        socket.set_nodelay(true)?;
        let (input, output) = socket.into_split();
        let farewell = Box::new(Silent);
        Ok(Dialled { input: Box::new(input), output: Box::new(output), farewell })
    }
}

impl fmt::Display for ToLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the other end of {}", self.0.address)
    }
}

struct Silent;

#[async_trait]
impl Farewell for Silent {
    async fn last_words(self: Box<Self>) -> String {
        String::new()
    }
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

const LEN: usize = 100_000;
