//! What joins them: pipes and sockets, with a door of ours at the far end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use async_trait::async_trait;
use gannet_core::annex::Guarded;
use gannet_core::{Annex, Asker, Mode, Result, Uuid};
use gannet_net::remote::http::{
    AnnexUrl, HttpClient, HttpClientOptions, HttpRemote, Known, Patience,
};
use gannet_net::remote::line::{Dial, Dialled, Farewell, LineLimits, LineRemote};
use gannet_net::serve::http::{House, HttpDoor, Limits, Login, Rights, Standing};
use gannet_net::serve::p2p::{LineDoor, NoGit, Version};
use tokio::io::{AsyncWrite, DuplexStream, WriteHalf, duplex, split};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::http_version;

/// All that was said on connections, one after the other.
pub(super) type Heard = Arc<Mutex<Vec<u8>>>;

/// A remote that speaks no newer version than this, by whatever way leads there.
pub(super) fn line(uuid: &Uuid, dial: impl Dial, newest: Version) -> LineRemote {
    let limits = LineLimits { newest, ..LineLimits::default() };
    LineRemote::new(uuid.clone(), Arc::new(dial), limits)
}

/// The same at a port of this machine.
pub(super) fn http(
    uuid: &Uuid,
    address: SocketAddr,
    newest: Version,
    http: &HttpClient,
) -> HttpRemote {
    let url: AnnexUrl = format!("annex+http://{address}/").parse().expect("a url");
    let known = Arc::new(Known::default());
    let remote = HttpRemote::new(uuid.clone(), &url, http, known, Patience::default());
    remote.speaking_at_most(http_version(newest))
}

/// What all HTTP remotes on one runtime share: making it takes a while.
pub(super) fn http_client() -> HttpClient {
    HttpClient::new(HttpClientOptions::default()).expect("HTTP")
}

/// Leads to a line door, which speaks no newer version than this.
pub(super) struct Pipe {
    pub(super) annex: Arc<dyn Annex>,
    pub(super) newest: Version,
    pub(super) heard: Heard,
}

#[async_trait]
impl Dial for Pipe {
    async fn dial(&self) -> io::Result<Dialled> {
        let (here, there) = duplex(1 << 16);
        let door = LineDoor {
            annex: Arc::new(Guarded::new(Arc::clone(&self.annex))),
            asker: Asker::with_mode(Mode::FULL),
            git: Arc::new(NoGit),
            newest: self.newest,
        };
        tokio::spawn(async move {
            let (input, output) = split(there);
            door.serve(input, output).await;
        });
        let (input, output) = split(here);
        let output = Ear { output, heard: Arc::clone(&self.heard) };
        Ok(Dialled { input: Box::new(input), output: Box::new(output), farewell: Box::new(Silent) })
    }
}

impl std::fmt::Display for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a pipe to {}", self.annex)
    }
}

struct Silent;

#[async_trait]
impl Farewell for Silent {
    async fn last_words(self: Box<Self>) -> String {
        String::new()
    }
}

/// Writes down what is said.
struct Ear {
    output: WriteHalf<DuplexStream>,
    heard: Heard,
}

impl AsyncWrite for Ear {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.output).poll_write(cx, bytes);
        if let Poll::Ready(Ok(len)) = written {
            self.heard.lock().expect("what was heard").extend_from_slice(&bytes[..len]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_shutdown(cx)
    }
}

/// An HTTP door at a port of this machine, until it is dropped.
pub(super) struct Port {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

impl Port {
    pub(super) async fn open(annex: Arc<dyn Annex>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = watch::channel(false);
        let house = Shed(Arc::new(Guarded::new(annex)));
        let door = Arc::new(HttpDoor::new(Arc::new(house), Limits::default()));
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.expect("a client");
                let (door, stopped) = (Arc::clone(&door), stopped.clone());
                tokio::spawn(async move { door.serve(socket, None, stopped).await });
            }
        });
        Self { address, task, _stop: stop }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A house with one place, in which everybody may do everything.
struct Shed(Arc<dyn Annex>);

#[async_trait]
impl House for Shed {
    async fn annex(&self, uuid: &Uuid) -> Result<Option<Arc<dyn Annex>>> {
        Ok((uuid == self.0.uuid()).then(|| Arc::clone(&self.0)))
    }

    fn rights(&self, _login: Option<&Login>) -> Rights {
        Rights { mode: Mode::FULL, standing: Standing::Anonymous, can_login: false }
    }
}
