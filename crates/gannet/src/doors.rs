//! Between the street and the house: listening, TLS, and how many may come in.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gannet_net::serve::http::HttpDoor;
use gannet_net::serve::shares::{Share, Shares, host_of};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod unix;

/// Lets clients in. Copies share the limit.
#[derive(Clone)]
pub(crate) struct Doorman {
    http: Arc<HttpDoor>,
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
    by_address: Arc<Shares<IpAddr>>,
    goodbyes: Arc<Semaphore>,
    handshake_max: Duration,
}

/// How many clients are let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// In all.
    pub(crate) connections: usize,
    /// From one address. Whoever has none, behind a unix socket, is not limited so.
    pub(crate) connections_per_address: usize,
}

/// Where clients arrive.
pub(crate) enum Listener {
    /// At an address and port.
    Tcp(TcpListener),
    /// At a file.
    Unix(unix::Socket),
}

enum Client {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream),
}

impl Doorman {
    /// Lets a few more clients in at once than there may be, so that `http` can tell these few to
    /// come back. Each has `handshake_max` to start TLS.
    pub(crate) fn new(
        http: HttpDoor,
        tls: Option<TlsAcceptor>,
        capacity: Capacity,
        handshake_max: Duration,
    ) -> Self {
        let places = capacity.connections.saturating_add(TURNED_AWAY_MAX);
        Self {
            http: Arc::new(http),
            tls,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            by_address: Shares::new(capacity.connections_per_address),
            goodbyes: Arc::new(Semaphore::new(TURNED_AWAY_MAX)),
            handshake_max,
        }
    }

    /// Lets clients in at `listener` until `stop`, and returns when the last has left.
    ///
    /// Dropping the future shows them all out.
    pub(crate) async fn attend(self, listener: Listener, mut stop: watch::Receiver<bool>) {
        let mut guests = JoinSet::new();
        let stopping = stop.clone();
        let mut complained: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => break,
                Some(left) = guests.join_next() => note_failure(left),
                (place, accepted) = self.accept(&listener) => match accepted {
                    Ok(client) => match self.share_of(&client) {
                        Some(share) => {
                            let (doorman, stop) = (self.clone(), stopping.clone());
                            guests.spawn(async move {
                                doorman.receive(client, stop).await;
                                drop((place, share));
                            });
                        }
                        None => self.turn_away(client, &mut guests),
                    },
                    Err(error) if is_the_client_s(&error) => {
                        tracing::debug!(%error, "a client left before it was let in");
                    }
                    Err(error) => {
                        // No descriptors, say: at once it would fail again.
                        if complained.is_none_or(|last| last.elapsed() >= COMPLAINTS_APART) {
                            complained = Some(Instant::now());
                            tracing::warn!(%error, "cannot let a client in");
                        }
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        while let Some(left) = guests.join_next().await {
            note_failure(left);
        }
    }

    /// Lets nobody in without a place: the system's queue is the one that has room to wait.
    async fn accept(
        &self,
        listener: &Listener,
    ) -> (Option<OwnedSemaphorePermit>, io::Result<Client>) {
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let accepted = match listener {
            Listener::Tcp(listener) => {
                listener.accept().await.map(|(stream, peer)| Client::Tcp(stream, peer.ip()))
            }
            Listener::Unix(socket) => socket.accept().await.map(Client::Unix),
        };
        (place, accepted)
    }

    /// What a client takes of what its address may have; `None` if that is used up.
    fn share_of(&self, client: &Client) -> Option<Option<Share<IpAddr>>> {
        match client {
            Client::Unix(_) => Some(None),
            Client::Tcp(_, ip) => self.by_address.take(&host_of(*ip)).map(Some),
        }
    }

    /// Sends away one client too many of one address. It does not get a place meanwhile, and no
    /// handshake: it could take them from all others.
    fn turn_away(&self, client: Client, guests: &mut JoinSet<()>) {
        tracing::debug!("one connection too many from one address");
        let goodbye = Arc::clone(&self.goodbyes).try_acquire_owned();
        let (Ok(goodbye), None, Client::Tcp(stream, _)) = (goodbye, &self.tls, client) else {
            return;
        };
        let http = Arc::clone(&self.http);
        guests.spawn(async move {
            http.turn_away(stream).await;
            drop(goodbye);
        });
    }

    async fn receive(&self, client: Client, stop: watch::Receiver<bool>) {
        let (stream, from) = match client {
            Client::Tcp(stream, ip) => (stream, Some(ip)),
            Client::Unix(stream) => return self.http.serve(stream, None, stop).await,
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let Some(tls) = &self.tls else { return self.http.serve(stream, from, stop).await };
        let mut stopping = stop.clone();
        let greeted = tokio::select! {
            greeted = timeout(self.handshake_max, tls::greet(tls, stream)) => greeted,
            _ = stopping.wait_for(|&stop| stop) => return,
        };
        match greeted {
            Ok(Ok(tls::Greeted::Secure(stream))) => self.http.serve(*stream, from, stop).await,
            Ok(Ok(tls::Greeted::Plain(stream))) => say_goodbye(stream, SPEAK_TLS).await,
            Ok(Err(error)) => tracing::debug!(%error, "no TLS came about"),
            Err(_) => tracing::debug!("no TLS came about in time"),
        }
    }
}

/// Gives a short answer to somebody who cannot be served, whatever they ask for.
async fn say_goodbye(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &'static str) {
    let conversation = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing while a request still arrives would reset the connection, and with it the
        // answer.
        let mut unread = [0; 1024];
        while stream.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    match timeout(GOODBYE_TIME_MAX, conversation).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client left early"),
    }
}

/// Whether accepting failed because of the client, and may be tried again at once.
fn is_the_client_s(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn note_failure(left: Result<(), tokio::task::JoinError>) {
    if let Err(error) = left {
        tracing::error!(%error, "a connection failed");
    }
}

const SPEAK_TLS: &str = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2\r\n\
    Content-Type: text/plain\r\nContent-Length: 21\r\nConnection: close, upgrade\r\n\r\n\
    this port speaks TLS\n";
/// Clients that are told at once that there are too many.
const TURNED_AWAY_MAX: usize = 64;
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(2);
/// How often to say that nobody can be let in.
const COMPLAINTS_APART: Duration = Duration::from_secs(60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_goodbye_is_a_whole_answer() {
        let (head, body) = SPEAK_TLS.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        let (mut here, there) = tokio::io::duplex(8192);
        let goodbye = tokio::spawn(say_goodbye(there, SPEAK_TLS));
        here.write_all(&[b'x'; 5000]).await.unwrap();
        let mut heard = String::new();
        here.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, SPEAK_TLS);
        drop(here);
        goodbye.await.unwrap();
    }
}
