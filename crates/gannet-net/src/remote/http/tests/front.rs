//! What stands between a client and a door.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gannet_wire::http::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes, duplex, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::serve::http::HttpDoor;

/// Listens, looks at the first request of each connection, and lets through what it likes.
pub(super) struct Front {
    pub(super) address: SocketAddr,
    /// How many connections are open.
    pub(super) open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

/// What a front does to those who come.
#[derive(Clone, Copy, Default)]
pub(super) struct Meddling {
    /// Newer versions are not known here.
    pub(super) newest: Option<Version>,
    /// Sends everybody to the same place below `/moved`.
    pub(super) redirect: bool,
    /// The door wants a login.
    pub(super) login: bool,
    /// Breaks each connection after so many bytes of replies.
    pub(super) cut: Option<u64>,
}

impl Front {
    pub(super) async fn new(door: HttpDoor, meddling: Meddling) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (door, open) = (Arc::new(door), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&open);
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (door, stopped) = (Arc::clone(&door), stopped.clone());
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    counted.fetch_add(1, Ordering::Relaxed);
                    meddling.meddle(socket, door, stopped).await;
                    counted.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, open, task, _stop: stop }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Meddling {
    async fn meddle(self, mut socket: TcpStream, door: Arc<HttpDoor>, stop: watch::Receiver<bool>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match socket.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let text = String::from_utf8(head).unwrap();
        let target = text.split(' ').nth(1).unwrap();
        if self.redirect && !target.starts_with("/moved/") {
            let reply = format!(
                "HTTP/1.1 307 Moved\r\nLocation: /moved{target}\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            );
            return socket.write_all(reply.as_bytes()).await.unwrap();
        }
        let spoken = |version: &Version| target.contains(&format!("/{}/", version.name()));
        let version = Version::ALL.iter().find(|version| spoken(version));
        if self.newest.is_some_and(|newest| version.is_some_and(|&version| version > newest)) {
            let reply = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return socket.write_all(reply).await.unwrap();
        }
        // Only the first request of a connection is looked at; so there shall be no other that may
        // have begun before it was known where everybody was sent.
        let text = match self.redirect {
            true => text.replacen("\r\n", "\r\nConnection: close\r\n", 1),
            false => text,
        };
        let (mut here, there) = duplex(1 << 16);
        let serving = tokio::spawn(async move { door.serve(there, None, stop).await });
        here.write_all(text.as_bytes()).await.unwrap();
        match self.cut {
            None => {
                // Either end may break, which is what the tests are about.
                copy_bidirectional_with_sizes(&mut socket, &mut here, 1 << 16, 1 << 16).await.ok();
            }
            Some(cut) => {
                let (replies, _requests) = split(here);
                tokio::io::copy(&mut replies.take(cut), &mut socket).await.ok();
            }
        }
        drop(socket);
        serving.abort();
    }
}
