//! What stands before an HTTP server: it lets no newer version through than it is to, writes down
//! what is asked for, and can hold a content back in its middle.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use gannet_net::serve::p2p::Version;
use socket2::{Domain, Socket, Type};

/// A front, until it is dropped.
pub(super) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    newest: Version,
    heard: Mutex<Vec<String>>,
    holding: Mutex<bool>,
    released: Condvar,
    ended: AtomicBool,
}

impl Front {
    pub(super) fn start(server: SocketAddr, newest: Version) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            server,
            newest,
            heard: Mutex::default(),
            holding: Mutex::new(false),
            released: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if theirs.ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&theirs);
                // Whoever goes away in the middle is no concern of ours.
                thread::spawn(move || client.and_then(|client| shared.pass(client)).ok());
            }
        });
        Self { address, shared }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first lines of all requests that were let through since this was asked last.
    pub(super) fn take_heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.heard.lock().expect("what was heard"))
    }

    /// Holds contents back in their middle, or lets go of them.
    pub(super) fn hold(&self, hold: bool) {
        *self.shared.holding.lock().expect("whether it is held") = hold;
        self.shared.released.notify_all();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.hold(false);
        drop(TcpStream::connect(self.address)); // wakes the accepting thread
    }
}

impl Shared {
    /// One request on each connection, so that each can be looked at.
    fn pass(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte)?;
            head.extend_from_slice(&byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let (first, rest) = head.split_once("\r\n").expect("a first line");
        if self.is_too_new(first) {
            client.write_all(NOT_FOUND)?;
            client.shutdown(Shutdown::Write)?;
            std::io::copy(&mut client, &mut std::io::sink())?;
            return Ok(());
        }
        self.heard.lock().expect("what was heard").push(first.to_owned());
        let mut server = narrow(self.server)?;
        let others = |line: &&str| !line.to_lowercase().starts_with("connection:");
        let rest: Vec<_> = rest.split("\r\n").filter(others).collect();
        write!(server, "{first}\r\nConnection: close\r\n{}", rest.join("\r\n"))?;
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        let up = thread::spawn(move || {
            let copied = std::io::copy(&mut from, &mut to);
            drop(to.shutdown(if copied.is_ok() { Shutdown::Write } else { Shutdown::Both }));
        });
        let down = self.down(&mut server, &mut client);
        for end in [&server, &client] {
            drop(end.shutdown(Shutdown::Both)); // it may be gone already
        }
        up.join().expect("the way up");
        down
    }

    fn is_too_new(&self, line: &str) -> bool {
        let version = line.split('/').find_map(|part| part.strip_prefix('v')?.parse::<u64>().ok());
        version.is_some_and(|version| version > self.newest.number())
    }

    fn down(&self, server: &mut TcpStream, client: &mut TcpStream) -> std::io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        let mut passed = 0;
        loop {
            let len = server.read(&mut buffer)?;
            if len == 0 {
                return Ok(());
            }
            // Not every server tells the client, too, that it closes the connection.
            let line = match passed {
                0 => buffer[..len].iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1),
                _ => 0,
            };
            client.write_all(&buffer[..line])?;
            if line > 0 {
                client.write_all(b"Connection: close\r\n")?;
            }
            client.write_all(&buffer[line..len])?;
            passed += len;
            if passed > HELD_BYTES {
                let holding = self.holding.lock().expect("whether it is held");
                drop(self.released.wait_while(holding, |holding| *holding));
            }
        }
    }
}

/// A connection that holds little of what nobody reads.
fn narrow(server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(16 * 1024)?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

const HELD_BYTES: usize = 64 * 1024;
const NOT_FOUND: &[u8] =
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
