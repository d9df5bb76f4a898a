//! Clients that mean harm, and unlucky ones, at the real program: what they may cost in sockets,
//! files and memory, and that nobody else notices.
//!
//! What a connection alone can show is tested beside the door (`serve/http/tests` in
//! `gannet-net`), where hours pass in no time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::harness::http::api;
use crate::harness::{CLIENT, Connection, Gannet, HELLO, Repo, Request, SERVER, Server, World};
use crate::harness::{Reply, eventually};

mod crowds;
mod floods;
mod names;
mod slow;

/// A server that everybody may use for everything, and what it was like before the attack.
struct Scene {
    /// Ends, and shows its log if something failed, before the world does.
    server: Server,
    repo: Repo,
    world: World,
    descriptors: usize,
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let world = World::new();
        let repo = Repo::fixture_bare(&world);
        let server = Gannet::serve(&world, &[&[repo.arg(), "--wideopen"], options].concat());
        assert_eq!(server.send(&get(HELLO)).text(), "hello\n");
        let descriptors = server.descriptors();
        Self { server, repo, world, descriptors }
    }

    /// Fails unless a request is answered soon, while an attack goes on.
    #[track_caller]
    fn assert_serves(&self) {
        let mut connection = self.server.connect();
        connection.set_patience(SOON);
        let reply = connection.exchange(&get(HELLO));
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello\n"));
    }

    /// Fails unless all is as before the attack: requests are answered, nothing is held, and
    /// nothing went wrong in the server itself.
    #[track_caller]
    fn assert_well(&self) {
        self.assert_serves();
        eventually(SOON, || match self.server.descriptors() {
            now if now <= self.descriptors => Ok(()),
            now => Err(format!("{now} descriptors, {} before", self.descriptors)),
        });
        let log = self.server.log();
        let bad = log.lines().find(|line| line.contains("ERROR") || line.contains("panicked"));
        assert_eq!(bad, None);
    }

    /// Every file of the repository, and the directories for notes of transfers.
    fn inventory(&self) -> (BTreeMap<PathBuf, (u64, SystemTime)>, usize) {
        let transfers = self.repo.annex_dir().join("transfer/download");
        let dirs = std::fs::read_dir(transfers).into_iter().flatten().flatten();
        let dirs = dirs.filter(|entry| entry.file_name() != "lck").count();
        (self.repo.inventory(), dirs)
    }

    fn ask(&self, endpoint: &str, key: &str) -> Reply {
        self.server.send(&ask(endpoint, key, CLIENT))
    }
}

fn get(key: &str) -> Request {
    Request::get(api(SERVER, "v4", &format!("key/{key}"), &[("clientuuid", CLIENT)]))
}

fn ask(endpoint: &str, key: &str, client: &str) -> Request {
    Request::post(api(SERVER, "v4", endpoint, &[("key", key), ("clientuuid", client)]))
}

/// Waits until the server has closed the connection, whatever it says before that.
#[track_caller]
fn assert_closes(connection: &mut Connection) {
    connection.set_patience(SOON);
    loop {
        match connection.read_some() {
            Ok(bytes) if bytes.is_empty() => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("not closed: {error}"),
        }
    }
}

/// Much longer than anything takes that is not made to wait.
const SOON: Duration = Duration::from_secs(20);
