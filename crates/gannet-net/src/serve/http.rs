//! The HTTP door (p2p-http): serves connections, and knows nothing of what keeps the promise
//! behind it.

use std::convert::Infallible;
use std::future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use gannet_core::dropping::RETENTION_SECONDS;
use gannet_core::{Annex, Mode, Result, Uuid};
pub use gannet_wire::http::Login;
use gannet_wire::http::Routes;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use self::answer::Visit;
use self::paced::{LINGER, Pace, Paced};
use self::streams::Streams;
use super::held::{HeldLocks, Room};
use super::shares::Places;

mod answer;
mod fault;
mod get;
mod incoming;
mod keep_locked;
mod outgoing;
mod paced;
mod streams;
#[cfg(test)]
pub(crate) mod tests;

/// What lies behind the door: which places are served, and who may do what.
#[async_trait]
pub trait House: Send + Sync + 'static {
    /// The place that serves `uuid`, already guarded
    /// ([`Guarded`](gannet_core::annex::Guarded)); `None` if no place does.
    ///
    /// # Errors
    /// When there is such a place, but it cannot be used.
    async fn annex(&self, uuid: &Uuid) -> Result<Option<Arc<dyn Annex>>>;

    /// What this login, or the lack of one, allows: what anonymous visitors may do included.
    fn rights(&self, login: Option<&Login>) -> Rights;
}

/// What a visitor may do, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The permitted actions.
    pub mode: Mode,
    /// What became of the login.
    pub standing: Standing,
    /// Whether any login could be accepted: only then is it worth asking for one.
    pub can_login: bool,
}

/// What became of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There was none.
    Anonymous,
    /// User and password are right.
    Accepted,
    /// User or password is wrong: asking again may help.
    Wrong,
}

/// How much is served at once, and how long anybody is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a request, or the begin of a connection, until the end of the
    /// request's head. Default: 30.
    pub header_seconds_max: u32,
    /// How long a connection may stay open between two requests. Default: 600.
    pub keep_alive_seconds_max: u32,
    /// How long a body may make no progress because of the peer, in either direction. Waiting
    /// for `keeplocked` to unlock is not limited. Default: 300.
    pub idle_seconds_max: u32,
    /// Requests being answered, `keeplocked` not counted; more are told to come again (503).
    /// Default: 1024.
    pub requests_max: usize,
    /// Of these, requests that come from one address: a /64 of IPv6 is one address; whoever has
    /// none is not limited so. Default: 768, so that no stranger can take all.
    pub requests_per_address_max: usize,
    /// Open connections; more are told to come again (503). As many requests may be in progress
    /// on all connections of HTTP/2 together: one may need as much as a connection. Default: 4096.
    pub connections_max: usize,
    /// Of these requests on connections of HTTP/2, those of one address. (Whoever accepts
    /// connections limits those.) Default: 1024.
    pub connections_per_address_max: usize,
    /// Locks held for clients. Default: 100, as the reference's `--lockedfiles`.
    pub locks_max: usize,
    /// Locks held for one client, by the uuid that it says it has. Default: 50.
    pub locks_per_client_max: usize,
    /// Locks held for one address, whatever uuids it makes up. Default: 75, so that no stranger
    /// can take all.
    pub locks_per_address_max: usize,
    /// How long a lock holds that no connection keeps. Default: 660. Clients count 600 from the
    /// moment in which they begin `keeplocked`, up to a round trip later than the server
    /// (p2p-http §4.3).
    pub lock_seconds: u32,
    /// Bytes of the head of a request, and of a body in memory at once. Default: 131072; less
    /// than 8192 counts as that.
    pub head_bytes_max: u32,
    /// Requests that share an HTTP/2 connection at once. Default: 128.
    pub streams_max: u32,
    /// Requests that a client of HTTP/2 may take back before they were looked at; more end the
    /// connection. Default: 20.
    pub resets_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_seconds_max: 30,
            keep_alive_seconds_max: 600,
            idle_seconds_max: 300,
            requests_max: 1024,
            requests_per_address_max: 768,
            connections_max: 4096,
            connections_per_address_max: 1024,
            locks_max: 100,
            locks_per_client_max: 50,
            locks_per_address_max: 75,
            lock_seconds: RETENTION_SECONDS,
            head_bytes_max: 128 * 1024,
            streams_max: 128,
            resets_max: 20,
        }
    }
}

impl Limits {
    fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds_max.into())
    }

    fn head_bytes(&self) -> usize {
        usize::try_from(self.head_bytes_max).unwrap_or(usize::MAX)
    }
}

/// Serves the HTTP API, one connection at a time or many at once.
///
/// Dropping it drops the locks that clients hold: their retention stands.
pub struct HttpDoor {
    shared: Arc<Shared>,
    routes: Arc<Routes>,
}

/// What all connections have in common.
struct Shared {
    house: Arc<dyn House>,
    limits: Limits,
    requests: Places,
    streams: Arc<Places>,
    connections: Arc<Semaphore>,
    locks: HeldLocks,
}

impl HttpDoor {
    /// A door into `house`.
    pub fn new(house: Arc<dyn House>, limits: Limits) -> Self {
        let shared = Shared {
            house,
            requests: Places::new(limits.requests_max, limits.requests_per_address_max),
            streams: Arc::new(Places::new(
                limits.connections_max,
                limits.connections_per_address_max,
            )),
            connections: Arc::new(Semaphore::new(
                limits.connections_max.min(Semaphore::MAX_PERMITS),
            )),
            locks: HeldLocks::new(
                Room {
                    total: limits.locks_max,
                    per_client: limits.locks_per_client_max,
                    per_address: limits.locks_per_address_max,
                },
                Duration::from_secs(limits.lock_seconds.into()),
            ),
            limits,
        };
        Self { shared: Arc::new(shared), routes: Arc::default() }
    }

    /// The same door with its paths below `base`, e.g. `/sub/dir` (see [`Routes::below`]).
    #[must_use]
    pub fn below(self, base: &str) -> Self {
        Self { routes: Arc::new(Routes::below(base)), ..self }
    }

    /// Serves one connection, HTTP/1 or HTTP/2, until it is closed. `from` is where the peer is;
    /// `None` if it has no address.
    ///
    /// When `stop` becomes true the requests in flight are finished, and a `keeplocked` gets its
    /// reply: its lock is dropped with the door, not released. Dropping the future breaks the
    /// connection and frees all that its requests hold.
    pub async fn serve<IO>(&self, io: IO, from: Option<IpAddr>, mut stop: watch::Receiver<bool>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.shared.limits;
        let pace = Pace::new(limits);
        let own_pace = Arc::clone(&pace);
        let Ok(_permit) = Arc::clone(&self.shared.connections).try_acquire_owned() else {
            return self.turn_away(io).await;
        };
        let io = Paced::new(io, Arc::clone(&pace));
        let (chores, mut new_chores) = mpsc::unbounded_channel();
        let chores = Chores(chores);
        let visit = Visit {
            shared: Arc::clone(&self.shared),
            routes: Arc::clone(&self.routes),
            pace,
            from,
            chores: chores.clone(),
            stop: stop.clone(),
        };
        let service = service_fn(move |request| {
            let visit = visit.clone();
            async move { Ok::<_, Infallible>(visit.answer(request).await) }
        });
        let mut builder = auto::Builder::new(Streams {
            chores,
            idle: limits.idle(),
            places: Arc::clone(&self.shared.streams),
            from,
        });
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            // Whoever has said all may close that direction, and still wants the reply.
            .half_close(true)
            .max_buf_size(limits.head_bytes().max(BUFFER_BYTES_MIN));
        builder
            .http2()
            .timer(TokioTimer::new())
            // No pings: behind megabytes on their way to a slow reader they come back too late.
            .initial_connection_window_size(UNREAD_BYTES_MAX)
            .initial_stream_window_size(UNREAD_BYTES_MAX)
            .max_concurrent_streams(limits.streams_max)
            .max_pending_accept_reset_streams(limits.resets_max)
            .max_local_error_reset_streams(STREAM_ERRORS_MAX)
            .max_header_list_size(limits.head_bytes_max);
        let connection = builder.serve_connection(TokioIo::new(io), service);
        tokio::pin!(connection);
        let mut running = FuturesUnordered::new();
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!("connection ended: {error}");
                    }
                    return;
                }
                Some(chore) = new_chores.recv() => running.push(chore),
                Some(()) = running.next() => {}
                () = requested(&mut stop), if !stopping => {
                    stopping = true;
                    if own_pace.is_waiting() {
                        return; // for a request that nobody will answer
                    }
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    /// Tells a client to come again (503), whatever it asks for, and closes the connection. Takes
    /// a few seconds at most.
    pub async fn turn_away<IO: AsyncRead + AsyncWrite + Unpin>(&self, io: IO) {
        let pace = Pace::new(&self.shared.limits);
        pace.leave_unread();
        let mut io = Paced::new(io, pace);
        // Whoever does not take even this much is not waited for.
        let turned_away = async {
            io.write_all(TURNED_AWAY).await?;
            io.shutdown().await
        };
        if !matches!(timeout(2 * LINGER, turned_away).await, Ok(Ok(()))) {
            tracing::debug!("one connection too many broke");
        }
    }
}

/// Work that belongs to a connection, and ends with it: it is done by whoever serves that.
#[derive(Clone)]
struct Chores(UnboundedSender<BoxFuture<'static, ()>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Chores {
    fn execute(&self, chore: F) {
        if self.0.send(Box::pin(chore)).is_err() {
            tracing::debug!("work for a connection that is gone");
        }
    }
}

/// Returns when stopping is asked for.
async fn requested(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|&stop| stop).await.is_err() {
        future::pending().await
    }
}

/// hyper takes no less.
const BUFFER_BYTES_MIN: usize = 8192;
/// Streams of HTTP/2 that are reset because the peer broke a rule; more end the connection.
const STREAM_ERRORS_MAX: usize = 128;
/// What may come of the bodies on one connection of HTTP/2 before anybody reads it: enough for
/// ten megabytes a second over a hundred milliseconds.
const UNREAD_BYTES_MAX: u32 = 1 << 20;

const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Retry-After: 1\r\n\
    Connection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 30\r\n\
    \r\n\
    too many connections at once\r\n";
