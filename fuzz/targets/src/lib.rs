//! Fuzz targets: functions that take any bytes, do with them what Gannet does with what strangers
//! send or files hold, and panic when something does not hold that must always hold.
//!
//! `cargo xtask fuzz` lets libFuzzer choose the bytes, guided by what they reach (it needs a C++
//! compiler, and nothing but stable Rust: the code is instrumented by a pass of LLVM's that stable
//! compilers have too). `cargo xtask test` runs each target on its seeds and on some thousand
//! changed ones, always the same. Adding a target is a matter of one line in [`TARGETS`].
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a target says by panicking that something is wrong"
)]

mod api;
mod disk;
mod mutate;
mod seeds;
mod wire;
mod wishes;

pub use mutate::Mutator;

/// One thing to be fuzzed.
pub struct Target {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Takes any bytes. Panics when something is wrong.
    pub run: fn(&[u8]),
    /// What to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How often the tests run it on changed seeds.
    pub smoke_runs: u32,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    quick("key", wire::key, seeds::keys),
    quick("uuid", wire::uuid, seeds::words),
    quick("spelling", wire::spelling, seeds::words),
    quick("hash-dirs", wire::hash_dirs, seeds::keys),
    quick("http-request", wire::http_request, seeds::requests),
    quick("http-headers", wire::http_headers, seeds::words),
    quick("http-results", wire::http_results, seeds::words),
    quick("unlock", wire::unlock, seeds::words),
    quick("line-message", wire::line_message, seeds::lines),
    quick("external-lines", wire::external_lines, seeds::lines),
    quick("line-server", wire::line_server, seeds::conversations),
    quick("line-client", wire::line_client, seeds::conversations),
    quick("location-log", gannet_repo::fuzz::location_log, seeds::logs),
    quick("uuid-log", gannet_repo::fuzz::uuid_log, seeds::logs),
    quick("branch-logs", gannet_repo::fuzz::branch_logs, seeds::logs),
    quick("equivalent-log", gannet_repo::fuzz::equivalent_log, seeds::logs),
    quick("pointer-file", gannet_repo::fuzz::pointer_file, seeds::pointers),
    quick("journal-name", gannet_repo::fuzz::journal_name, seeds::words),
    quick("inode-cache", gannet_repo::fuzz::inode_cache, seeds::inode_caches),
    quick("preferred-content", wishes::expressions, wishes::seeds),
    Target { smoke_runs: 300, ..quick("keys-db", disk::keys_db, disk::databases) },
    Target { smoke_runs: 300, ..quick("config", disk::config, seeds::configs) },
    Target { smoke_runs: 25, ..quick("api", api::api, api::sequences) },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

const fn quick(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds, smoke_runs: 3000 }
}
