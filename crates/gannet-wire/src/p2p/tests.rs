//! The line protocol: messages, decoding, both sides, and what git-annex was seen to say.

mod arbitrary;
mod decoding;
mod messages;
mod mishaps;
mod pair;
mod recorded;
mod replay_client;
mod replay_server;
mod together;
mod turns;
