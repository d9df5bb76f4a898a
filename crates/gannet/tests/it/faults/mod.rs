//! Faults of disks, repositories and limits, and real ones: mounts that fill up, turn read-only or
//! never answer, limits of the system, directories that go away. Each ends in a clear error or in
//! a success later on; what was acknowledged stays, and other repositories notice nothing.

use std::time::Duration;

use crate::harness::http::api;
use crate::harness::{CLIENT, HELLO, Reply, Repo, Request, Seeded, Server, World};
use crate::raw::sha256_key;

mod git;
mod gone;
mod hung;
mod limits;
pub(crate) mod secluded;
mod space;

/// A content with its key.
struct Sample {
    key: String,
    content: Vec<u8>,
}

impl Sample {
    /// The same for the same `seed`.
    fn new(seed: u64, len: usize) -> Self {
        let content = Seeded::new(seed).bytes(len);
        Self { key: sha256_key(&content), content }
    }
}

/// One of the repositories that a server serves, as a client sees it.
#[derive(Clone, Copy)]
struct Place<'a> {
    server: &'a Server,
    uuid: &'a str,
}

impl Place<'_> {
    fn put(&self, sample: &Sample) -> Reply {
        self.put_from(sample, 0)
    }

    fn put_from(&self, sample: &Sample, from: usize) -> Reply {
        let content = &sample.content[from..];
        self.server.send(&Request::put(
            self.put_target(sample, from),
            content.len() as u64,
            content,
        ))
    }

    fn put_target(&self, sample: &Sample, from: usize) -> String {
        let offset = from.to_string();
        let parameters =
            [("key", sample.key.as_str()), ("clientuuid", CLIENT), ("offset", offset.as_str())];
        api(self.uuid, "v4", "put", &parameters)
    }

    fn ask(&self, endpoint: &str, key: &str) -> Reply {
        let parameters = [("key", key), ("clientuuid", CLIENT)];
        self.server.send(&Request::post(api(self.uuid, "v4", endpoint, &parameters)))
    }

    fn get(&self, key: &str) -> Reply {
        self.server.send(&Request::get(format!("/git-annex/{}/key/{key}", self.uuid)))
    }

    #[track_caller]
    fn put_offset(&self, sample: &Sample) -> usize {
        let offset = self.ask("putoffset", &sample.key).member("offset");
        usize::try_from(offset.as_u64().expect("an offset")).expect("a small offset")
    }

    #[track_caller]
    fn has(&self, key: &str) -> bool {
        self.ask("checkpresent", key).member("present") == true
    }

    #[track_caller]
    fn assert_stores(&self, sample: &Sample) {
        assert_eq!(self.put(sample).member("stored"), true);
        self.assert_serves(sample);
    }

    #[track_caller]
    fn assert_serves(&self, sample: &Sample) {
        let reply = self.get(&sample.key);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.body == sample.content, "other content came");
    }

    #[track_caller]
    fn assert_removes(&self, key: &str) {
        assert_eq!(self.ask("remove", key).member("removed"), true);
        assert!(!self.has(key));
    }
}

/// A second repository, which must not notice what happens to the first.
struct Bystander {
    repo: Repo,
    next: std::cell::Cell<u64>,
}

impl Bystander {
    fn new(world: &World) -> Self {
        let repo = Repo::create(world, "bystander", BYSTANDER, true);
        repo.set_content(world, HELLO, b"hello\n");
        Self { repo, next: std::cell::Cell::new(1000) }
    }

    /// Uses it in every way.
    #[track_caller]
    fn assert_well(&self, server: &Server) {
        let place = Place { server, uuid: BYSTANDER };
        self.next.set(self.next.get() + 1);
        let sample = Sample::new(self.next.get(), 5000);
        assert_eq!(place.get(HELLO).text(), "hello\n");
        place.assert_stores(&sample);
        place.assert_removes(&sample.key);
    }
}

/// Fails unless the server said what is wrong, with this status and no path.
#[track_caller]
fn assert_refused(reply: &Reply, status: u16) {
    let text = reply.text();
    assert_eq!(reply.status, status, "{text}");
    assert!(!text.trim().is_empty() && !text.contains("/tmp"), "{text}");
}

const BYSTANDER: &str = "5e5e5e5e-0000-4000-8000-00000000b1d5";
const SOON: Duration = Duration::from_secs(20);
