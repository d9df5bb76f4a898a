//! A party that speaks HTTP of its own making.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::thing::Thing;
use super::Fate;
use crate::harness::{Body, Connection, Piece, Reply, Repo, Request, Seeded, Server};

/// A party with keys of its own, which nobody else touches.
pub(in super::super) struct HttpParty {
    own: Vec<Owned>,
    chance: Seeded,
    connection: Option<Connection>,
}

/// The server went away in the middle of a request, so it seemed.
#[derive(Debug, thiserror::Error)]
#[error("the server went away: {0}")]
pub(in super::super) struct Broken(#[from] io::Error);

struct Owned {
    thing: Thing,
    fate: Fate,
    /// Whether a change that nobody acknowledged was the last: then the location log may lag behind.
    lags: bool,
    hold: Hold,
}

/// Whether the party holds a lock.
#[derive(Debug, PartialEq, Eq)]
enum Hold {
    Free,
    /// The server said so, and gave it this id.
    Acknowledged(String),
    /// Nobody acknowledged the last attempt to take it or to give it back.
    Unknown,
}

impl HttpParty {
    /// A party with `count` keys, whose contents have lengths in `lens`.
    pub(in super::super) fn new(seed: u64, count: usize, lens: Range<u64>) -> Self {
        let mut chance = Seeded::new(seed);
        let owned = |_| Owned {
            thing: Thing::new(&mut chance, lens.clone()),
            fate: Fate::Absent,
            lags: false,
            hold: Hold::Free,
        };
        Self { own: (0..count).map(owned).collect(), chance, connection: None }
    }

    /// Returns its keys, and what is certain of each.
    pub(in super::super) fn certain(&self) -> impl Iterator<Item = (&Thing, Fate)> {
        self.own.iter().map(|own| (&own.thing, own.fate))
    }

    /// Returns the keys whose location log need not say yet what is on the disk.
    pub(in super::super) fn lagging(&self) -> impl Iterator<Item = &str> {
        self.own.iter().filter(|own| own.lags).map(|own| own.thing.key.as_str())
    }

    /// Does one thing with one key, and fails unless the server answers as it must.
    ///
    /// # Errors
    /// When the server went away meanwhile.
    pub(in super::super) fn step(&mut self, server: SocketAddr) -> Result<(), Broken> {
        let at = usize::try_from(self.chance.below(self.own.len() as u64)).expect("an index");
        match self.chance.below(10) {
            0..3 => self.put(server, at),
            3 => self.put_in_two_parts(server, at),
            4 | 5 => self.look(server, at),
            6 | 7 => self.remove(server, at),
            8 => self.lock_or_unlock(server, at),
            _ => self.abort_get(server, at),
        }
    }

    /// Looks at every key of a server that was started again, and fails if anything that was
    /// acknowledged before is not so, or a lock is not respected. All is certain afterwards, and
    /// locks have run out.
    pub(in super::super) fn recover(&mut self, server: &Server, repo: &Repo) {
        self.connection = None;
        for own in &mut self.own {
            let key = &own.thing.key;
            let there = server.send(&own.thing.check_present()).member("present") == true;
            assert!(own.fate.allows(there), "{key} was {:?}, and present is {there}", own.fate);
            own.lags |= own.fate == Fate::Unknown;
            own.fate = Fate::of(there);
            expect_content(&server.send(&own.thing.get()), own);
            if let Hold::Acknowledged(_) = own.hold {
                let removed = server.send(&own.thing.remove()).member("removed");
                assert_eq!(removed, false, "the lock of {key} was lost");
                assert!(repo.state(key).present, "{key} was removed in spite of its lock");
            }
            if repo.locks(key).rtm {
                repo.expire_retention(key);
            }
            own.hold = Hold::Free;
        }
    }

    /// Gives back what it has locked and stores everything.
    pub(in super::super) fn settle(&mut self, server: &Server) {
        for own in &mut self.own {
            if let Hold::Acknowledged(id) = std::mem::replace(&mut own.hold, Hold::Free) {
                assert_eq!(server.send(&Thing::unlock(&id)).member("locked"), false);
            }
            let stored = server.send(&own.thing.put()).member("stored");
            assert_eq!(stored, true, "{} at last", own.thing.key);
            own.acknowledged(Fate::Present);
        }
    }

    fn put(&mut self, server: SocketAddr, at: usize) -> Result<(), Broken> {
        let own = &mut self.own[at];
        if own.fate == Fate::Absent {
            own.fate = Fate::Unknown;
        }
        let request = own.thing.put();
        let end = Instant::now() + SETTLE;
        // An upload that was broken off before may be noticed a little late on a busy machine.
        while self.ask(server, &request, "stored")? != true {
            assert!(Instant::now() < end, "nobody else touches {}", self.own[at].thing.key);
            std::thread::sleep(Duration::from_millis(50));
        }
        self.own[at].acknowledged(Fate::Present);
        Ok(())
    }

    /// Breaks off an upload, and later resumes it where the server says.
    fn put_in_two_parts(&mut self, server: SocketAddr, at: usize) -> Result<(), Broken> {
        let thing = &self.own[at].thing;
        let len = thing.content.len();
        let part = usize::try_from(self.chance.below(len as u64)).expect("a part");
        let begin = thing.begin_of_put(part);
        let mut connection = Connection::try_tcp(server)?;
        // A server that has the content already need not listen to the end.
        connection.write(&begin).ok();
        drop(connection);
        // What is half there is not there.
        self.look(server, at)?;
        if self.own[at].fate == Fate::Absent && self.chance.below(2) == 0 {
            let thing = self.own[at].thing.clone();
            let reply = self.exchange(server, &thing.put_offset())?;
            let offset = reply.member("offset").as_u64().expect("an offset");
            let offset = usize::try_from(offset).expect("an offset");
            assert!(offset <= len, "{offset} of {len} bytes are there of {}", thing.key);
            self.own[at].fate = Fate::Unknown;
            let stored = self.ask(server, &thing.put_from(offset), "stored")?;
            assert_eq!(stored, true, "{} from {offset}", thing.key);
            self.own[at].acknowledged(Fate::Present);
        }
        Ok(())
    }

    fn look(&mut self, server: SocketAddr, at: usize) -> Result<(), Broken> {
        let own = &self.own[at];
        let (check, get) = (own.thing.check_present(), own.thing.get());
        let there = self.ask(server, &check, "present")? == true;
        let reply = self.exchange(server, &get)?;
        let own = &mut self.own[at];
        assert!(own.fate.allows(there), "{} was {:?}: {there}", own.thing.key, own.fate);
        own.fate = Fate::of(there);
        expect_content(&reply, own);
        Ok(())
    }

    fn remove(&mut self, server: SocketAddr, at: usize) -> Result<(), Broken> {
        let own = &mut self.own[at];
        let request = own.thing.remove();
        if own.hold == Hold::Free {
            own.fate = if own.fate == Fate::Absent { Fate::Absent } else { Fate::Unknown };
        }
        let removed = self.ask(server, &request, "removed")?;
        let own = &mut self.own[at];
        match own.hold {
            Hold::Free => {
                assert_eq!(removed, true, "nobody else touches {}", own.thing.key);
                own.acknowledged(Fate::Absent);
            }
            Hold::Acknowledged(_) | Hold::Unknown => {
                assert_eq!(removed, false, "the lock of {} was not respected", own.thing.key);
            }
        }
        Ok(())
    }

    fn lock_or_unlock(&mut self, server: SocketAddr, at: usize) -> Result<(), Broken> {
        let held = self.own.iter().position(|own| own.hold != Hold::Free);
        if let Some(held) = held {
            let own = &mut self.own[held];
            let Hold::Acknowledged(id) = std::mem::replace(&mut own.hold, Hold::Unknown) else {
                return Ok(());
            };
            let locked = self.ask(server, &Thing::unlock(&id), "locked")?;
            assert_eq!(locked, false, "{} was to be unlocked", self.own[held].thing.key);
            self.own[held].hold = Hold::Free;
            return Ok(());
        }
        if self.own[at].fate != Fate::Present {
            return Ok(());
        }
        self.own[at].hold = Hold::Unknown;
        let request = self.own[at].thing.lock();
        let reply = self.exchange(server, &request)?;
        let own = &mut self.own[at];
        assert_eq!(reply.member("locked"), true, "{} is there to be locked", own.thing.key);
        let id = reply.member("lockid").as_str().expect("the id of a lock").to_owned();
        own.hold = Hold::Acknowledged(id);
        Ok(())
    }

    /// Asks for content and goes away in the middle of it.
    fn abort_get(&mut self, server: SocketAddr, at: usize) -> Result<(), Broken> {
        let mut connection = Connection::try_tcp(server)?;
        connection.send(&self.own[at].thing.get())?;
        connection.head_of_reply("GET")?;
        Ok(())
    }

    fn ask(
        &mut self,
        server: SocketAddr,
        request: &Request,
        member: &str,
    ) -> Result<Value, Broken> {
        Ok(self.exchange(server, request)?.member(member))
    }

    fn exchange(&mut self, server: SocketAddr, request: &Request) -> Result<Reply, Broken> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::try_tcp(server)?,
        };
        let reply = connection.try_exchange(request)?;
        if !reply.complete {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        // What was announced but not wanted is read up to a mebibyte, else the connection ends.
        let long = matches!(&request.body, Body::Chunked(pieces) if bytes_in(pieces) > MEBIBYTE);
        self.connection = (!long).then_some(connection);
        Ok(reply)
    }
}

impl Owned {
    fn acknowledged(&mut self, fate: Fate) {
        self.fate = fate;
        self.lags = false;
    }
}

fn bytes_in(pieces: &[Piece]) -> usize {
    let len = |piece: &Piece| if let Piece::Bytes(bytes) = piece { bytes.len() } else { 0 };
    pieces.iter().map(len).sum()
}

/// Fails unless the reply to a `GET` fits what is certain.
fn expect_content(reply: &Reply, own: &Owned) {
    let key = &own.thing.key;
    match own.fate {
        Fate::Present => {
            assert_eq!(reply.status, 200, "{key} is there: {}", reply.text());
            assert!(reply.body == own.thing.content, "{key} has other content");
        }
        _ => assert_eq!(reply.status, 404, "{key} is not there"),
    }
}

const MEBIBYTE: usize = 1 << 20;

/// How long a key may be busy with what its only user has broken off.
const SETTLE: Duration = Duration::from_secs(20);
