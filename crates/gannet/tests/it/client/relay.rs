//! A relay between client and server, on a port of its own: it counts the bytes, writes down the
//! requests, and can be made slow.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A running relay; dropping it ends it.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What travelled since the last time somebody asked.
#[derive(Debug)]
pub(crate) struct Travelled {
    /// Bytes from clients to the server.
    pub(crate) up: u64,
    /// Bytes from the server to clients.
    pub(crate) down: u64,
    /// `METHOD TARGET` of each request.
    pub(crate) requests: Vec<String>,
}

struct Shared {
    server: Mutex<SocketAddr>,
    /// Both ends of every connection that is not over.
    connections: Mutex<Vec<TcpStream>>,
    up: AtomicU64,
    down: AtomicU64,
    requests: Mutex<Vec<String>>,
    /// 0: as fast as it goes.
    bytes_per_second_max: AtomicU64,
    ended: AtomicBool,
}

impl Relay {
    /// Starts a relay to `server`.
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen");
        let address = listener.local_addr().expect("ask for the port");
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            connections: Mutex::default(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            requests: Mutex::default(),
            bytes_per_second_max: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &theirs));
        Self { address, shared }
    }

    /// Returns the url that a git-annex remote has in `annexUrl`.
    pub(crate) fn annex_url(&self) -> String {
        format!("annex+http://{}/git-annex/", self.address)
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes new connections to another server, e.g. the same one started again.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        *self.shared.server.lock().expect("the address of the server") = server;
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        for connection in self.shared.connections.lock().expect("the connections").drain(..) {
            drop(connection.shutdown(Shutdown::Both)); // it may be gone already
        }
    }

    /// Lets no connection carry more than that in either direction; 0 lifts the limit.
    pub(crate) fn limit(&self, bytes_per_second_max: u64) {
        self.shared.bytes_per_second_max.store(bytes_per_second_max, Ordering::Relaxed);
    }

    /// Returns the bytes that went up and down so far.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.shared.up.load(Ordering::Relaxed), self.shared.down.load(Ordering::Relaxed))
    }

    /// Returns what travelled, and starts to count anew.
    pub(crate) fn take(&self) -> Travelled {
        Travelled {
            up: self.shared.up.swap(0, Ordering::Relaxed),
            down: self.shared.down.swap(0, Ordering::Relaxed),
            requests: std::mem::take(&mut *self.shared.requests.lock().expect("the requests")),
        }
    }
}

impl Travelled {
    /// Counts the requests whose `METHOD TARGET` contains `part`.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.requests.iter().filter(|request| request.contains(part)).count()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address)); // wakes the accepting thread
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok(client) = client else { continue };
        let Ok(server) = TcpStream::connect(shared.server()) else { continue };
        shared.remember([&client, &server]);
        let both = (client.try_clone(), server.try_clone());
        let (Ok(client_again), Ok(server_again)) = both else { continue };
        let (up, down) = (Arc::clone(shared), Arc::clone(shared));
        thread::spawn(move || {
            pass(client, server, |bytes| up.went_up(bytes), &up.bytes_per_second_max);
        });
        thread::spawn(move || {
            let count = |bytes: &[u8]| add(&down.down, bytes);
            pass(server_again, client_again, count, &down.bytes_per_second_max);
        });
    }
}

/// Passes bytes until one side ends; an end is passed on as an end, a broken side breaks both.
fn pass(mut from: TcpStream, mut to: TcpStream, count: impl Fn(&[u8]), limit: &AtomicU64) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 {
            drop(to.shutdown(Shutdown::Write)); // it may be gone already
            return;
        }
        count(&buffer[..read]);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        if let limit @ 1.. = limit.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_nanos(read as u64 * 1_000_000_000 / limit));
        }
    }
    drop(from.shutdown(Shutdown::Both)); // either may be gone already
    drop(to.shutdown(Shutdown::Both));
}

impl Shared {
    /// Keeps the ends of a connection for cutting it, and lets go of those that are over.
    fn remember(&self, ends: [&TcpStream; 2]) {
        let mut connections = self.connections.lock().expect("the connections");
        connections.retain(|connection| connection.peer_addr().is_ok());
        connections.extend(ends.into_iter().flat_map(TcpStream::try_clone));
    }

    fn server(&self) -> SocketAddr {
        *self.server.lock().expect("the address of the server")
    }

    /// A client waits for a reply before its next request, so a head begins what is read.
    fn went_up(&self, bytes: &[u8]) {
        add(&self.up, bytes);
        if bytes.starts_with(b"GET ") || bytes.starts_with(b"POST ") {
            let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let line = line.strip_suffix(" HTTP/1.1").unwrap_or(&line).to_owned();
            self.requests.lock().expect("the requests").push(line);
        }
    }
}

fn add(count: &AtomicU64, bytes: &[u8]) {
    count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
}
