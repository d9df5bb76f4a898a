//! The door, asked in raw HTTP.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gannet_core::annex::Guarded;
use gannet_core::{Annex, Error, Mode, Result, Uuid};
use tokio::io::duplex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::fake::Fake;
use self::raw::Client;
use super::{House, HttpDoor, Limits, Login, Rights, Standing};

mod access;
mod fake;
mod flood;
mod gets;
mod hostile;
mod http2;
mod limits;
mod locks;
mod plain;
mod puts;
mod raw;
mod results;
mod stern;
mod tcp;

pub(crate) const U: &str = "5e5e5e5e-0000-4000-8000-000000000001";
const C: &str = "c1c1c1c1-0000-4000-8000-000000000002";
const BROKEN: &str = "b0b0b0b0-0000-4000-8000-000000000003";

/// A door with a fake behind it.
struct Scene {
    fake: Arc<Fake>,
    door: Arc<HttpDoor>,
    stop: watch::Sender<bool>,
}

impl Scene {
    /// Everybody may do everything.
    fn new() -> Self {
        Self::with(Limits::default(), Access::open())
    }

    fn with(limits: Limits, access: Access) -> Self {
        let fake = Arc::new(Fake::new());
        let house =
            Shed { annex: Arc::new(Guarded::new(Arc::clone(&fake) as Arc<dyn Annex>)), access };
        let door = Arc::new(HttpDoor::new(Arc::new(house), limits));
        Self { fake, door, stop: watch::channel(false).0 }
    }

    fn connect(&self) -> Client {
        self.connect_with(1 << 16).0
    }

    /// A connection that holds so many bytes in each direction, and the task that serves it.
    fn connect_with(&self, buffer: usize) -> (Client, JoinHandle<()>) {
        self.connect_from(None, buffer)
    }

    fn connect_from(&self, from: Option<IpAddr>, buffer: usize) -> (Client, JoinHandle<()>) {
        let (here, there) = duplex(buffer);
        let (door, stop) = (Arc::clone(&self.door), self.stop.subscribe());
        let task = tokio::spawn(async move { door.serve(there, from, stop).await });
        (Client::new(here), task)
    }

    /// Status and body of the reply to one request on a new connection.
    async fn ask(&self, request: &str) -> (u16, String) {
        let mut client = self.connect();
        client.ask(request).await
    }
}

/// A house with one place.
pub(crate) struct Shed {
    pub(crate) annex: Arc<dyn Annex>,
    pub(crate) access: Access,
}

pub(crate) struct Access {
    pub(crate) anonymous: Mode,
    /// What `rw:pw` may do, if logins are accepted at all.
    pub(crate) login: Option<Mode>,
}

impl Access {
    pub(crate) fn open() -> Self {
        Self { anonymous: Mode::FULL, login: None }
    }
}

#[async_trait::async_trait]
impl House for Shed {
    async fn annex(&self, uuid: &Uuid) -> Result<Option<Arc<dyn Annex>>> {
        match uuid.as_str() {
            U => Ok(Some(Arc::clone(&self.annex))),
            BROKEN => Err(Error::Internal("secret".into())),
            _ => Ok(None),
        }
    }

    fn rights(&self, login: Option<&Login>) -> Rights {
        let (anonymous, can_login) = (self.access.anonymous, self.access.login.is_some());
        let known = |login: &&Login| login.user == b"rw" && login.password == b"pw";
        match (login, login.filter(known).and(self.access.login)) {
            (_, Some(mode)) => {
                Rights { mode: mode.union(anonymous), standing: Standing::Accepted, can_login }
            }
            (Some(_), None) => Rights { mode: anonymous, standing: Standing::Wrong, can_login },
            (None, None) => Rights { mode: anonymous, standing: Standing::Anonymous, can_login },
        }
    }
}

/// A call of an endpoint on a key, e.g. `POST /git-annex/U/v4/remove?key=K&clientuuid=C`.
fn post(version: usize, endpoint: &str, key: &str) -> String {
    format!("POST /git-annex/{U}/v{version}/{endpoint}?key={key}&clientuuid={C}")
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
