//! The promise, kept by whatever a client of ours finds at the other end: Gannet or the real
//! git-annex, over HTTP, over a line or by real ssh; and by what is on this disk.
//!
//! What git-annex is known not to keep is listed with each place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gannet::clock::SystemClock;
use gannet::remotes::{Address, Reach};
use gannet_core::{Annex, Uuid};
use gannet_net::remote::http::{HttpClient, HttpClientOptions, Known, Patience};
use gannet_net::remote::line::{LineLimits, Program};
use gannet_net::remote::ssh::{SshCommand, SshOptions};
use gannet_repo::InitOptions;
use gannet_testkit::{Parts, annex_keeps_its_promise};

use self::inetd::Inetd;
use crate::harness::repo::{CLIENT, Repo, SERVER};
use crate::harness::server::{GANNET, Gannet, Reference};
use crate::harness::world::World;
use crate::ssh::Which;
use crate::ssh::sshd::{Login, Sshd};

mod inetd;

annex_keeps_its_promise!(over_http, over_http(true).await);
annex_keeps_its_promise!(over_http_by_git_annex, over_http(false).await, except [
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
annex_keeps_its_promise!(over_a_line, over_a_line(&[GANNET, "shell"]).await, except [
    // Each connection has a process of its own, and none knows which retentions of others were
    // released meanwhile: the content stays until the later one runs out.
    two_locks_need_two_releases,
]);
annex_keeps_its_promise!(over_a_line_by_git_annex, over_a_line(&["git-annex-shell"]).await, except [
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

annex_keeps_its_promise!(at_a_path, at_a_path().await);
annex_keeps_its_promise!(at_a_socket, at_a_socket().await, except [
    // As over a line.
    two_locks_need_two_releases,
]);
annex_keeps_its_promise!(over_ssh, over_ssh(Which::Gannet).await, except [
    // As over a line.
    two_locks_need_two_releases,
]);
annex_keeps_its_promise!(over_ssh_by_git_annex, over_ssh(Which::Reference).await, except [
    // As over a line.
    a_dropped_lock_keeps_blocking,
    a_lock_blocks_removal_before_a_deadline,
    a_lock_blocks_removal_until_it_is_released,
    a_release_does_not_free_what_another_lock_retains,
    two_locks_need_two_releases,
    a_dropped_put_of_an_unverifiable_key_leaves_nothing,
    an_unverifiable_key_is_stored_whole_or_not_at_all,
    an_unverifiable_key_keeps_no_partial_content,
    doubtful_content_is_not_stored,
]);

async fn over_http(ours: bool) -> Parts {
    let (world, repo) = scene();
    let server = match ours {
        true => Gannet::serve(&world, &["--wideopen", repo.arg()]),
        false => Reference::serve(&world, repo.path(), &["--wideopen"]),
    };
    let url = server.annex_url();
    Parts::new(opened(&reach(), &url).await, None, (server, repo, world)).far()
}

/// At the other end of the standard input and output of a shell like git-annex's.
async fn over_a_line(shell: &[&str]) -> Parts {
    let (world, repo) = scene();
    let asked = ["p2pstdio", repo.arg(), CLIENT, "--uuid", SERVER];
    let Program { program, arguments, .. } = program(&world, &[shell, &asked].concat());
    let words = [program].into_iter().chain(arguments).collect();
    let remote =
        reach().open(&Address::Command(words), &uuid(SERVER)).await.expect("a remote").annex;
    Parts::new(remote, None, (repo, world)).far()
}

/// On this disk, and served by this process.
async fn at_a_path() -> Parts {
    let world = World::new();
    let path = quick_repository(&world);
    Parts::new(opened(&reach(), text(&path)).await, None, world)
}

/// At a socket, where programs are started as from inetd.
async fn at_a_socket() -> Parts {
    let world = Arc::new(World::new());
    let (path, socket) = (quick_repository(&world), world.fresh("socket"));
    let there = Arc::clone(&world);
    let inetd = Inetd::start(&socket, move || {
        let mut command = there.command(there.path(), GANNET);
        command.args(["shell", "p2pstdio", text(&path), CLIENT]);
        command
    });
    let remote = opened(&reach(), &format!("unix://{}", text(&socket))).await;
    // The remote closes its connections when it is dropped, which is before all others.
    Parts::new(remote, None, (inetd, world)).far()
}

/// Behind a real sshd.
async fn over_ssh(which: Which) -> Parts {
    let world = World::new();
    let path = match which {
        Which::Gannet => quick_repository(&world),
        Which::Reference => Repo::create(&world, "repo", SERVER, true).path().to_owned(),
    };
    let sshd = Sshd::start(&world, which);
    let login = sshd.admit(&world, "");
    let remote = opened(&by_ssh(&login), &login.url(&path)).await;
    Parts::new(remote, None, (sshd, world)).far()
}

/// How remotes are reached when nothing is said about it.
pub(crate) fn reach() -> Reach {
    Reach {
        client: uuid(CLIENT),
        ssh: SshOptions::default(),
        line: LineLimits::default(),
        http: HttpClient::new(HttpClientOptions::default()).expect("HTTP"),
        sign_in: Arc::new(Known::default()),
        patience: Patience::default(),
    }
}

/// How those are reached whom this login lets in.
pub(crate) fn by_ssh(login: &Login) -> Reach {
    let command = SshCommand::Program(login.ssh.clone().into());
    Reach { ssh: SshOptions { command, ..SshOptions::default() }, ..reach() }
}

/// Opens the remote at `address`, which has the uuid of all repositories here.
pub(crate) async fn opened(reach: &Reach, address: &str) -> Arc<dyn Annex> {
    let address = Address::parse(address.as_bytes(), Path::new("/")).expect("an address");
    reach.open(&address, &uuid(SERVER)).await.expect("a remote").annex
}

/// A bare repository that is there at once.
pub(crate) fn quick_repository(world: &World) -> PathBuf {
    let path = world.join("quick.git");
    let uuid = Some(uuid(SERVER));
    let options = InitOptions { description: "quick".to_owned(), bare: true, uuid };
    gannet_repo::create(&path, &options, &SystemClock).expect("a repository");
    path
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
    Program {
        name: argv.join(" "),
        program: "env".into(),
        arguments,
        environment: Vec::new(),
        attended: false,
    }
}

fn scene() -> (World, Repo) {
    let world = World::new();
    let repo = Repo::create(&world, "repo", SERVER, true);
    (world, repo)
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

pub(crate) fn uuid(text: &str) -> Uuid {
    Uuid::parse(text.as_bytes()).expect("a uuid")
}
