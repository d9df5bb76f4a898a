//! A key with its content, and the requests that are about it.

use std::ops::Range;

use crate::harness::http::{api, chunk};
use crate::harness::{Body, CLIENT, Request, SERVER, Seeded};
use crate::raw::sha256_key;

use super::files::pattern;

/// A key with the content that it names.
#[derive(Clone)]
pub(super) struct Thing {
    pub(super) key: String,
    pub(super) content: Vec<u8>,
}

impl Thing {
    /// Makes content that nobody has seen, of a length somewhere in `lens`.
    pub(super) fn new(chance: &mut Seeded, lens: Range<u64>) -> Self {
        let len = lens.start + chance.below(lens.end - lens.start);
        let content = pattern(chance.below(u64::MAX), usize::try_from(len).expect("a length"));
        Self { key: sha256_key(&content), content }
    }

    /// Names what the location log of the served repository says of it at `uuid`.
    pub(super) fn at(&self, uuid: &str) -> (Vec<u8>, String) {
        (self.key.as_bytes().to_vec(), uuid.to_owned())
    }

    /// A `put` of all of it.
    pub(super) fn put(&self) -> Request {
        Request::put(self.target("put"), self.content.len() as u64, &self.content)
    }

    /// A `put` of what comes after its first `offset` bytes.
    pub(super) fn put_from(&self, offset: usize) -> Request {
        let target = format!("{}&offset={offset}", self.target("put"));
        let rest = &self.content[offset..];
        Request::put(target, rest.len() as u64, rest)
    }

    /// The begin of a `put`: the head and the first `len` bytes, as they go over the wire.
    pub(super) fn begin_of_put(&self, len: usize) -> Vec<u8> {
        let mut begin = self.put().body(Body::Chunked(Vec::new())).head();
        if len > 0 {
            begin.extend(chunk(&self.content[..len]));
        }
        begin
    }

    /// A `putoffset`.
    pub(super) fn put_offset(&self) -> Request {
        Request::post(self.target("putoffset"))
    }

    /// A `GET` of all of it.
    pub(super) fn get(&self) -> Request {
        let endpoint = format!("key/{}", self.key);
        Request::get(api(SERVER, "v4", &endpoint, &[("clientuuid", CLIENT)]))
    }

    /// A `checkpresent`.
    pub(super) fn check_present(&self) -> Request {
        Request::post(self.target("checkpresent"))
    }

    /// A `remove`.
    pub(super) fn remove(&self) -> Request {
        Request::post(self.target("remove"))
    }

    /// A `lockcontent`.
    pub(super) fn lock(&self) -> Request {
        Request::post(self.target("lockcontent"))
    }

    /// The `keeplocked` that gives a lock back.
    pub(super) fn unlock(id: &str) -> Request {
        let target = api(SERVER, "v4", "keeplocked", &[("lockid", id), ("clientuuid", CLIENT)]);
        Request::post(target)
            .header("Content-Type", "application/json;charset=utf-8")
            .body(Body::Length(b"{\"unlock\":true}\n".to_vec()))
    }

    fn target(&self, endpoint: &str) -> String {
        api(SERVER, "v4", endpoint, &[("key", &self.key), ("clientuuid", CLIENT)])
    }
}

/// Picks one of them.
pub(super) fn pick<'a, T>(chance: &mut Seeded, from: &'a [T]) -> &'a T {
    let at = chance.below(from.len() as u64);
    &from[usize::try_from(at).expect("an index")]
}
