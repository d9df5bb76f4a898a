//! What the tests of the whole program stand on: an isolated world, servers in it, repositories
//! to serve, and an HTTP client that can be as rude as it likes.

pub(crate) mod http;
pub(crate) mod moto;
pub(crate) mod patience;
pub(crate) mod repo;
pub(crate) mod server;
pub(crate) mod world;

pub(crate) use http::{Body, Connection, Framing, Piece, Reply, Request};
pub(crate) use moto::Moto;
pub(crate) use patience::{Seeded, eventually, usual_or_long};
pub(crate) use repo::{ABSENT, BIG, CLIENT, EMPTY, HELLO, Repo, SERVER, State};
pub(crate) use server::{Gannet, Reference, Server};
pub(crate) use world::{Finished, User, World};
