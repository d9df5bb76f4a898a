//! The whole program, seen from outside: real sockets, real repositories, the real git-annex.
//!
//! One binary holds them all, so that it is linked once. `raw` speaks bytes of HTTP of its own
//! making; `client` lets the real git-annex client speak; `places` asks real servers through our
//! own clients; `ssh` puts `gannet shell` in the place of git-annex-shell; `versions` lets every
//! version of the line protocol meet every other; `remotes` has our client behind a real sshd when
//! not all goes well; `special` lets git-annex read what we store on special remotes, and the other way
//! round; `wanted` compares what is wanted, and where; `work` what
//! commands are about; `gateway` reaches what is behind Gannet;
//! `faults` has disks that are full, gone or silent; `harness` is what all stand on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking, in its helpers too"
)]

mod client;
mod faults;
mod gateway;
mod harness;
mod places;
mod raw;
mod remotes;
mod special;
mod ssh;
mod versions;
mod wanted;
mod work;
