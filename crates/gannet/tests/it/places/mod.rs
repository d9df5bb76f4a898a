//! The promise, kept by whatever a client of ours finds at the other end: Gannet or the real
//! git-annex, over HTTP or over a line.
//!
//! What git-annex is known not to keep is listed with each place.

use std::ffi::OsString;
use std::sync::Arc;

use gannet_core::Uuid;
use gannet_net::remote::http::{
    AnnexUrl, HttpClient, HttpClientOptions, HttpRemote, Known, Patience,
};
use gannet_net::remote::line::{LineLimits, LineRemote, Program};
use gannet_testkit::{Parts, annex_keeps_its_promise};

use crate::harness::repo::{CLIENT, Repo, SERVER};
use crate::harness::server::{GANNET, Gannet, Reference, Server};
use crate::harness::world::World;

annex_keeps_its_promise!(over_http, over_http(true));
annex_keeps_its_promise!(over_http_by_git_annex, over_http(false), except [
    // Removing what is locked is a 500 there, or succeeds once the connection is lost.
    a_dropped_lock_keeps_blocking,
    a_lock_blocks_removal_before_a_deadline,
    a_lock_blocks_removal_until_it_is_released,
    a_release_does_not_free_what_another_lock_retains,
    two_locks_need_two_releases,
    // A put that was broken off occupies its key.
    a_dropped_put_is_resumed,
    a_dropped_put_of_an_unverifiable_key_leaves_nothing,
    // Partial content is kept that nobody can verify later, and gaps are closed up.
    a_gap_is_refused,
    an_unverifiable_key_is_stored_whole_or_not_at_all,
    an_unverifiable_key_keeps_no_partial_content,
    doubtful_content_is_not_stored,
    surplus_bytes_leave_nothing_visible,
]);
annex_keeps_its_promise!(over_a_line, over_a_line(&[GANNET, "shell"]), except [
    // Each connection has a process of its own, and none knows which retentions of others were
    // released meanwhile: the content stays until the later one runs out.
    two_locks_need_two_releases,
]);
annex_keeps_its_promise!(over_a_line_by_git_annex, over_a_line(&["git-annex-shell"]), except [
    // Removing what is locked closes the connection, or succeeds once the other one is lost.
    a_dropped_lock_keeps_blocking,
    a_lock_blocks_removal_before_a_deadline,
    a_lock_blocks_removal_until_it_is_released,
    a_release_does_not_free_what_another_lock_retains,
    two_locks_need_two_releases,
    // Partial content is kept that nobody can verify later.
    a_dropped_put_of_an_unverifiable_key_leaves_nothing,
    an_unverifiable_key_is_stored_whole_or_not_at_all,
    an_unverifiable_key_keeps_no_partial_content,
    // What is `INVALID` is stored if its hash is right.
    doubtful_content_is_not_stored,
]);

fn over_http(ours: bool) -> Parts {
    let (world, repo) = scene();
    let server = match ours {
        true => Gannet::serve(&world, &["--wideopen", repo.arg()]),
        false => Reference::serve(&world, repo.path(), &["--wideopen"]),
    };
    Parts::new(Arc::new(remote(&server)), None, (server, repo, world)).far()
}

fn remote(server: &Server) -> HttpRemote {
    let url: AnnexUrl = server.annex_url().parse().expect("a url");
    let http = HttpClient::new(HttpClientOptions::default()).expect("HTTP");
    let sign_in = Arc::new(Known::default());
    HttpRemote::new(uuid(SERVER), &url, &http, sign_in, Patience::default())
}

/// A place at the other end of the standard input and output of a shell like git-annex's.
fn over_a_line(shell: &[&str]) -> Parts {
    let (world, repo) = scene();
    let asked = ["p2pstdio", repo.arg(), CLIENT, "--uuid", SERVER];
    let program = program(&world, &[shell, &asked].concat());
    let remote = LineRemote::new(uuid(SERVER), Arc::new(program), LineLimits::default());
    Parts::new(Arc::new(remote), None, (repo, world)).far()
}

/// A program that has nothing of the environment of this test but what the world has.
pub(crate) fn program(world: &World, argv: &[&str]) -> Program {
    let command = world.command(world.path(), argv[0]);
    let mut arguments: Vec<OsString> = vec!["-i".into()];
    for (name, value) in command.get_envs() {
        let mut setting = name.to_owned();
        setting.push("=");
        setting.push(value.unwrap_or_default());
        arguments.push(setting);
    }
    arguments.extend(argv.iter().map(Into::into));
    Program { name: argv.join(" "), program: "env".into(), arguments, environment: Vec::new() }
}

fn scene() -> (World, Repo) {
    let world = World::new();
    let repo = Repo::create(&world, "repo", SERVER, true);
    (world, repo)
}

pub(crate) fn uuid(text: &str) -> Uuid {
    Uuid::parse(text.as_bytes()).expect("a uuid")
}
