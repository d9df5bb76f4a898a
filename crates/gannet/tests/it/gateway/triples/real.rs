//! Nodes that are programs of their own, ours and those of git-annex, limited to each version.
//! Their clocks show the same as ours, or are a day ahead, or behind.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;

use gannet::clock::SystemClock;
use gannet_core::Clock;
use gannet_net::remote::http::HttpClient;
use gannet_net::serve::p2p::Version;
use gannet_testkit::TestLedger;

use super::ends::{http, http_client, line};
use super::front::Front;
use super::memory::{front_of, reached};
use super::node::{Body, Ears, Node};
use super::things::Run;
use super::{Between, Maker, Row, Triple, Way, judge};
use crate::gateway::GATEWAY;
use crate::harness::server::GANNET;
use crate::harness::{Gannet, Reference, Repo, World, usual_or_long};
use crate::places::{program, text, uuid};
use crate::versions::Limited;

#[test]
fn triples_with_real_nodes_do_what_their_versions_can() {
    let makers = [Maker::Gannet, Maker::GitAnnex];
    let rows: Vec<_> = thread::scope(|scope| {
        let part = |maker| scope.spawn(move || rows(maker));
        let parts = makers.map(part).map(|part| part.join().expect("a part that came to its end"));
        parts.into_iter().flatten().collect()
    });
    judge(&rows);
    // Makers, nodes, what is between, clients.
    assert_eq!(rows.len(), usual_or_long(2 * 10, 2 * 10 * 2 * 10));
}

fn rows(maker: Maker) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = World::new();
    let repo = Repo::create(&world, "node", NODE, true);
    let inside = gannet_repo::Repo::open(repo.path(), Arc::new(SystemClock)).expect("it opens");
    let repo = Arc::new((repo, inside));
    runtime.block_on(async {
        let shared = http_client();
        let mut rows = Vec::new();
        for (place, way) in Way::all().enumerate() {
            for (other, between) in [Between::Proxy, Between::Cluster].into_iter().enumerate() {
                // Now a proxy, now a cluster.
                if other != usual_or_long(place % 2, other) {
                    continue;
                }
                let node = real(&world, &repo, maker, way, Skew::of(place + other), &shared);
                let clients = Way::all().enumerate();
                // Each client meets some nodes, and each node some clients.
                let chosen = (place + 3) % 10;
                for (number, client) in clients {
                    if number != usual_or_long(chosen, number) {
                        continue;
                    }
                    let limit = Version::V4;
                    let triple = Triple { client, between, limit, maker, node: way };
                    let ledger = TestLedger::new();
                    let middle = front_of(between, &[&node], &ledger, Arc::new(SystemClock));
                    let (client, _port) = reached(middle, client, limit, &shared).await;
                    let run = Run {
                        triple,
                        client,
                        node: &node,
                        ledger,
                        clock: None,
                        gateway: uuid(GATEWAY),
                        number,
                        bytes: 300_000,
                        changing_bytes: changing_bytes(way, triple.client),
                    };
                    rows.push(Row { triple, outcomes: run.outcomes().await });
                }
            }
        }
        rows
    })
}

/// More than whoever is between takes of a content that nobody reads.
fn changing_bytes(node: Way, client: Way) -> usize {
    match (node, client) {
        (Way::Line(_), Way::Line(_)) => 1_500_000,
        (Way::Http(_), _) => 8_000_000,
        (Way::Line(_), Way::Http(_)) => 24_000_000,
    }
}

/// By how many seconds a clock is ahead of ours.
#[derive(Clone, Copy)]
struct Skew(i64);

impl Skew {
    fn of(place: usize) -> Self {
        // There is no time before the start of the machine.
        let behind = SystemClock.boot().seconds.min(100_000) / 2;
        Self([0, 86_400, -i64::try_from(behind).expect("a small number")][place % 3])
    }

    /// What runs a program whose clock is skewed, in words as `sh` reads them.
    fn words(self) -> Vec<String> {
        if self.0 == 0 {
            return Vec::new();
        }
        let root = if rustix::process::geteuid().is_root() { "-T" } else { "-rT" };
        vec!["unshare".to_owned(), root.to_owned(), format!("--boottime={}", self.0)]
    }

    fn command(self, world: &World, repo: &Repo, program: &str) -> Command {
        let words = self.words();
        let Some((first, rest)) = words.split_first() else {
            return world.command(repo.path(), program);
        };
        let mut command = world.command(repo.path(), first);
        command.args(rest).arg(program);
        command
    }
}

/// A node that speaks no newer version than this.
fn real(
    world: &World,
    repo: &Arc<(Repo, gannet_repo::Repo)>,
    maker: Maker,
    far: Way,
    skew: Skew,
    shared: &HttpClient,
) -> Node {
    let body = Body::Disk(Arc::clone(repo));
    let repo = &repo.0;
    let node = uuid(NODE);
    match far {
        Way::Line(newest) => {
            let shell = match maker {
                Maker::GitAnnex => "git-annex-shell".to_owned(),
                Maker::Gannet | Maker::Memory => format!("'{GANNET}' shell"),
            };
            let shell = [skew.words(), vec![shell]].concat().join(" ");
            let limited = Limited::with(world, &shell, newest);
            let words = [text(&limited.program), "p2pstdio", repo.arg(), GATEWAY, "--uuid", NODE];
            let annex = Arc::new(line(&node, program(world, &words), Version::V4));
            let ears = Ears::File { path: limited.heard, read: AtomicUsize::new(0) };
            Node { far, annex, body, ears, _kept: Box::new(()) }
        }
        Way::Http(newest) => {
            let args = ["--bind", "127.0.0.1", "--port", "0", "--wideopen", repo.arg()];
            let server = match maker {
                Maker::GitAnnex => {
                    let command = skew.command(world, repo, "git-annex");
                    Reference::start(command, world, &["--wideopen"], &[])
                }
                Maker::Gannet | Maker::Memory => {
                    let mut command = skew.command(world, repo, GANNET);
                    command.arg("serve").args(args);
                    Gannet::start(world, command)
                }
            };
            let front = Front::start(server.address(), newest);
            let annex = Arc::new(http(&node, front.address(), Version::V4, shared));
            Node { far, annex, body, ears: Ears::Front(front), _kept: Box::new(server) }
        }
    }
}

const NODE: &str = "0de00001-0000-4000-8000-000000000001";
