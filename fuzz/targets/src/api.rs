//! The whole HTTP API of one scratch repository, driven by arbitrary sequences, beside a model.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gannet_core::annex::Guarded;
use gannet_core::{Annex, AssociatedFile, Clock, Mode, PutOffset, Result, Timestamp, Uuid};
use gannet_net::serve::http::{House, HttpDoor, Limits, Rights, Standing};
use gannet_repo::{InitOptions, Repo};
use gannet_testkit::{Sample, TestClock};
use gannet_wire::http::{Action, Call, DATA_LENGTH, Login, Version, result};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::disk::scratch;

/// Each operation is two bytes: what is done, and with which key.
pub(crate) fn api(bytes: &[u8]) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut scene = Scene::new().await;
        for pair in bytes.chunks_exact(2).take(OPERATIONS_MAX) {
            scene.step(pair[0], pair[1]).await;
        }
        scene.reopen().await;
        for which in 0..KEYS {
            scene.look(which).await;
        }
    });
}

pub(crate) fn sequences() -> Vec<Vec<u8>> {
    vec![
        vec![1, 0, 0, 0, 5, 0, 1, 1, 7, 1, 5, 1, 8, 1, 5, 1],
        vec![2, 0, 3, 0, 0, 0, 4, 1, 1, 1, 11, 0, 0, 0, 6, 0],
        vec![1, 2, 7, 2, 7, 2, 5, 2, 8, 2, 11, 0, 5, 2, 8, 2, 5, 2],
        vec![9, 0, 10, 50, 1, 3, 6, 3, 6, 131, 2, 4, 4, 4, 3, 4],
        (0..=255).collect(),
    ]
}

struct Scene {
    dir: TempDir,
    clock: Arc<TestClock>,
    server: Server,
    samples: Vec<Sample>,
    known: HashMap<usize, Known>,
}

/// What must be so.
#[derive(Default)]
struct Known {
    present: bool,
    /// Ids of locks that are held.
    locks: Vec<Vec<u8>>,
    /// A lock was forsaken since the content was last seen to go: it may be retained.
    retained: bool,
}

/// A door, and the connection to it.
struct Server {
    send: SendRequest<Full<Bytes>>,
    _stop: watch::Sender<bool>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

struct OneRoom(Arc<dyn Annex>);

#[async_trait]
impl House for OneRoom {
    async fn annex(&self, uuid: &Uuid) -> Result<Option<Arc<dyn Annex>>> {
        Ok((uuid == self.0.uuid()).then(|| Arc::clone(&self.0)))
    }
    fn rights(&self, _login: Option<&Login>) -> Rights {
        Rights { mode: Mode::FULL, standing: Standing::Anonymous, can_login: false }
    }
}

impl Scene {
    async fn new() -> Self {
        let (dir, clock) = (scratch(), TestClock::new());
        let options = InitOptions { description: "fuzz".into(), bare: true, uuid: Some(here()) };
        gannet_repo::create(dir.path(), &options, &*clock).expect("a repository");
        let server = Server::start(&dir, &clock).await;
        let samples = (0..KEYS)
            .map(|which| {
                let seed = u8::try_from(which).unwrap();
                match which % 3 {
                    0 => Sample::secure(seed, 1000 * which),
                    1 => Sample::unverifiable(seed, 700),
                    _ => Sample::hashed("MD5E", ".x", Bytes::from(vec![seed; 70_000])),
                }
            })
            .collect();
        Self { dir, clock, server, samples, known: HashMap::new() }
    }

    async fn step(&mut self, what: u8, which: u8) {
        let (which, more) = (usize::from(which) % KEYS, usize::from(which) / KEYS);
        let key = self.samples[which].key.clone();
        match what % 14 {
            0 => self.look(which).await,
            1 => self.put(which, self.samples[which].bytes.clone(), 0, true).await,
            // Cut off in the middle.
            2 => {
                let bytes = &self.samples[which].bytes;
                let part = bytes.slice(..bytes.len() / 2);
                self.put(which, part, 0, false).await;
            }
            // Taken up where it broke.
            3 => {
                let offset = self.offset(which).await;
                let bytes = self.samples[which].bytes.slice(offset..);
                self.put(which, bytes, offset, true).await;
            }
            // Wrong in the last byte, where that can be found out: what is held already is passed
            // over, so an earlier one may do no harm.
            4 if which % 3 != 1 && !self.samples[which].bytes.is_empty() => {
                let mut wrong = self.samples[which].bytes.to_vec();
                *wrong.last_mut().unwrap() ^= 1;
                self.put(which, wrong.into(), 0, false).await;
            }
            // A gap.
            4 => {
                let bytes = self.samples[which].bytes.clone();
                self.put_at(which, bytes, 1 << 40, false).await;
            }
            5 => self.remove(which, None).await,
            6 => {
                let now = self.clock.boot();
                let deadline = match more % 3 {
                    0 => now,
                    1 => now.plus(1),
                    _ => Timestamp { seconds: now.seconds.saturating_sub(1) },
                };
                self.remove(which, Some(deadline)).await;
            }
            7 => self.lock(which).await,
            8 => self.unlock(which).await,
            9 => {
                let time = self.result(Action::GetTimestamp).await;
                assert_eq!(result::timestamp(&time), Ok(self.clock.boot()));
            }
            10 => self.clock.advance(u32::try_from(more).unwrap() * 7),
            11 => self.reopen().await,
            12 => {
                let present = self.known(which).present;
                let action = Action::PutPresent { key, file: AssociatedFile::default() };
                let stored = result::stored(&self.result(action).await).expect("an answer");
                assert_eq!(stored.is_some(), present, "what came another way");
            }
            _ => drop(self.offset(which).await),
        }
    }

    /// Looks from all sides whether a key is as it should be.
    async fn look(&mut self, which: usize) {
        let (sample, present) = (self.samples[which].clone(), self.known(which).present);
        let key = sample.key.clone();
        let action = Action::CheckPresent { key: key.clone() };
        assert_eq!(result::present(&self.result(action).await), Ok(present));
        for offset in [0, 1, sample.bytes.len(), sample.bytes.len() + 9] {
            let action = Action::Get {
                key: key.clone(),
                file: AssociatedFile::default(),
                offset: offset as u64,
            };
            let (status, body) = self.ask(action, Bytes::new()).await;
            if present {
                let from = offset.min(sample.bytes.len());
                assert!(status == 200 && body == sample.bytes.slice(from..), "other content");
            } else {
                assert_eq!(status, 404, "absent content");
            }
        }
    }

    async fn put(&mut self, which: usize, bytes: Bytes, offset: usize, whole: bool) {
        let sent = bytes.len();
        let full = self.samples[which].bytes.len() - offset;
        // What is cut off announces more than it sends.
        let announced = if whole { sent } else { sent.max(full) };
        let good = whole || (sent == full && bytes == self.samples[which].bytes.slice(offset..));
        self.put_announced(which, bytes, offset as u64, announced, good).await;
    }

    async fn put_at(&mut self, which: usize, bytes: Bytes, offset: u64, good: bool) {
        let announced = bytes.len();
        self.put_announced(which, bytes, offset, announced, good).await;
    }

    async fn put_announced(
        &mut self,
        which: usize,
        bytes: Bytes,
        offset: u64,
        announced: usize,
        good: bool,
    ) {
        let key = self.samples[which].key.clone();
        let len = announced as u64;
        let action = Action::Put { key, file: AssociatedFile("a/b".into()), offset, len };
        let (status, body) = self.ask(action, bytes).await;
        assert_eq!(status, 200, "a put has a result: {}", body.escape_ascii());
        let stored = result::stored(&body).expect("an answer").is_some();
        let known = self.known(which);
        assert_eq!(stored, good || known.present, "what is stored of {which}, {len} at {offset}");
        known.present |= good;
    }

    async fn offset(&mut self, which: usize) -> usize {
        let key = self.samples[which].key.clone();
        let answer = self.result(Action::PutOffset { key }).await;
        let (present, len) = (self.known(which).present, self.samples[which].bytes.len());
        match result::put_offset(&answer).expect("an answer") {
            PutOffset::AlreadyHave { .. } => {
                assert!(present, "what is not there is said to be");
                0
            }
            PutOffset::From(offset) => {
                assert!(!present && offset <= len as u64, "offset {offset}");
                usize::try_from(offset).unwrap()
            }
        }
    }

    async fn remove(&mut self, which: usize, deadline: Option<Timestamp>) {
        let key = self.samples[which].key.clone();
        let in_time = deadline.is_none_or(|deadline| self.clock.boot() < deadline);
        let action = match deadline {
            None => Action::Remove { key },
            Some(deadline) => Action::RemoveBefore { key, deadline },
        };
        let removal = result::removal(&self.result(action).await).expect("an answer");
        let known = self.known(which);
        if !known.present {
            assert!(removal.removed, "absent content counts as removed");
        } else if !known.locks.is_empty() || !in_time {
            assert!(!removal.removed, "locked content, or too late");
        } else if !known.retained {
            assert!(removal.removed, "nothing keeps it");
        }
        if removal.removed {
            (known.present, known.retained) = (false, false);
        }
    }

    async fn lock(&mut self, which: usize) {
        let key = self.samples[which].key.clone();
        let locked = result::lock(&self.result(Action::LockContent { key }).await);
        let locked = locked.expect("an answer");
        let known = self.known(which);
        match locked {
            Some(id) => {
                assert!(known.present, "absent content cannot be locked");
                known.locks.push(id);
            }
            // There are only so many.
            None => assert!(!known.present || known.locks.len() >= 5, "what is there is lockable"),
        }
    }

    async fn unlock(&mut self, which: usize) {
        let Some(lock_id) = self.known(which).locks.pop() else { return };
        let body = Bytes::from_static(b"{\"unlock\":true}\n");
        let (status, body) = self.ask(Action::KeepLocked { lock_id }, body).await;
        assert_eq!((status, result::lock(&body)), (200, Ok(None)));
    }

    /// Lets the server forget all that it does not have on the disk.
    async fn reopen(&mut self) {
        self.server.stop().await;
        self.server = Server::start(&self.dir, &self.clock).await;
        for known in self.known.values_mut() {
            known.retained |= !known.locks.is_empty();
            known.locks.clear();
        }
    }

    fn known(&mut self, which: usize) -> &mut Known {
        self.known.entry(which).or_default()
    }

    async fn result(&mut self, action: Action) -> Bytes {
        let (status, body) = self.ask(action, Bytes::new()).await;
        assert_eq!(status, 200, "{}", body.escape_ascii());
        body
    }

    async fn ask(&mut self, action: Action, body: Bytes) -> (u16, Bytes) {
        let call = Call {
            server: here(),
            version: Some(Version::V4),
            client: Uuid::parse(b"c1c1c1c1-0000-4000-8000-000000000002").ok(),
            bypass: Vec::new(),
            head_only: false,
            action,
        };
        let written = call.write();
        let mut request = hyper::Request::builder()
            .method(written.method)
            .uri(written.target)
            .header("Host", "h");
        if let Some(len) = written.data_length {
            request = request.header(DATA_LENGTH, len);
        }
        let request = request.body(Full::new(body)).expect("a request");
        self.server.send.ready().await.expect("a connection");
        let reply = self.server.send.send_request(request).await.expect("a reply");
        let status = reply.status().as_u16();
        (status, reply.into_body().collect().await.expect("a body").to_bytes())
    }
}

impl Server {
    async fn start(dir: &TempDir, clock: &Arc<TestClock>) -> Self {
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        let repo = Repo::open(dir.path(), clock).expect("the repository opens");
        let house = OneRoom(Arc::new(Guarded::new(repo)));
        let door = HttpDoor::new(Arc::new(house), Limits::default());
        let (here, there) = tokio::io::duplex(1 << 16);
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(async move { door.serve(there, None, stopped).await });
        let (send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(here)).await.expect("a connection");
        // It breaks when the server is stopped.
        let talking = tokio::spawn(async move { drop(connection.await) });
        Self { send, _stop: stop, tasks: [serving, talking] }
    }

    async fn stop(&mut self) {
        for task in &mut self.tasks {
            task.abort();
            // Aborted: all that it held is free now.
            drop(task.await);
        }
    }
}

fn here() -> Uuid {
    Uuid::parse(b"5e5e5e5e-0000-4000-8000-000000000001").expect("a uuid")
}

const KEYS: usize = 6;
const OPERATIONS_MAX: usize = 40;
