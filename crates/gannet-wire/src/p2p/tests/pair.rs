//! A client and a server with nothing between them but two runs of bytes.

use std::mem;

use bytes::Bytes;
use gannet_core::{Uuid, Verdict};

use super::super::client::{self, Client};
use super::super::server::{self, Server};
use super::super::*;

/// What the server's driver does about a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Answer(Answer),
    Content(Bytes, Verdict),
}

/// What the server's driver saw of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Request(Request),
    Data(Vec<u8>, Option<Verdict>),
    Unlock,
    Forsake,
    Close(server::Close),
}

pub(super) struct Pair {
    pub(super) client: Client,
    pub(super) server: Server,
    pub(super) to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// So many bytes at most are handed over at once.
    stride: usize,
    arriving: Vec<u8>,
    pub(super) replies: Vec<Reply>,
    pub(super) seen: Vec<Seen>,
}

impl Pair {
    pub(super) fn new(client: Version, server: Version, stride: usize) -> Self {
        let uuid = uuid();
        let (server, to_client) = Server::greeting(&uuid, server);
        let mut pair = Self {
            client: Client::new(client, Some(uuid.clone())),
            server,
            to_server: Vec::new(),
            to_client: to_client.to_vec(),
            stride,
            arriving: Vec::new(),
            replies: Vec::new(),
            seen: Vec::new(),
        };
        assert_eq!(pair.run(), [client::Event::Ready { server: uuid }]);
        pair
    }

    /// Hands bytes to and fro until nobody says anything; returns what the client's driver saw.
    pub(super) fn run(&mut self) -> Vec<client::Event> {
        let mut events = Vec::new();
        loop {
            for part in mem::take(&mut self.to_server).chunks(self.stride) {
                self.server.feed(part);
                self.serve();
            }
            for part in mem::take(&mut self.to_client).chunks(self.stride) {
                self.client.feed(part);
                self.listen(&mut events);
            }
            if self.to_server.is_empty() && self.to_client.is_empty() {
                return events;
            }
        }
    }

    /// The server hangs up.
    pub(super) fn cut(&mut self) -> Vec<client::Event> {
        let mut events = self.run();
        self.client.finish();
        self.listen(&mut events);
        events
    }

    fn listen(&mut self, events: &mut Vec<client::Event>) {
        while let Some(event) = self.client.pull() {
            match (events.last_mut(), event) {
                (_, client::Event::Say(bytes)) => self.to_server.extend(bytes),
                (Some(client::Event::Data(before)), client::Event::Data(data)) => {
                    *before = [&before[..], &data[..]].concat().into();
                }
                (_, event) => events.push(event),
            }
        }
    }

    fn serve(&mut self) {
        while let Some(event) = self.server.pull() {
            match event {
                server::Event::Say(bytes) => self.to_client.extend(bytes),
                server::Event::Request(request) => {
                    let is_put = matches!(request, Request::Put { .. });
                    self.seen.push(Seen::Request(request));
                    if !is_put {
                        self.reply();
                    }
                }
                server::Event::Data(data) => self.arriving.extend(data),
                server::Event::End(verdict) => {
                    self.seen.push(Seen::Data(mem::take(&mut self.arriving), verdict));
                    self.reply();
                }
                server::Event::Unlock => self.seen.push(Seen::Unlock),
                server::Event::Forsake => self.seen.push(Seen::Forsake),
                server::Event::Close(why) => self.seen.push(Seen::Close(why)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn reply(&mut self) {
        match self.replies.remove(0) {
            Reply::Answer(answer) => self.to_client.extend(self.server.answer(answer).unwrap()),
            Reply::Content(content, verdict) => {
                let len = content.len() as u64;
                self.to_client.extend(self.server.answer(Answer::Content { len }).unwrap());
                for piece in content.chunks(self.stride) {
                    let piece = Bytes::copy_from_slice(piece);
                    self.to_client.extend(self.server.pass(piece).unwrap());
                }
                self.to_client.extend(self.server.end(verdict).iter().flatten());
            }
        }
    }
}

pub(super) fn uuid() -> Uuid {
    Uuid::parse(b"5e5e5e5e-0000-4000-8000-000000000001").unwrap()
}
