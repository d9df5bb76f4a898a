//! All triples of ours, in memory: 1,000 of them, or 200 where it has to go fast.

use std::sync::Arc;
use std::thread;

use gannet_cluster::{Cluster, Gateway, Limits, Node as Described, Proxy};
use gannet_core::{Annex, Clock, ClusterUuid, Timestamp};
use gannet_net::remote::http::HttpClient;
use gannet_net::serve::p2p::Version;
use gannet_testkit::{Stern, TestClock, TestLedger};

use super::ends::{Heard, Pipe, Port, http, http_client, line};
use super::front::Front;
use super::node::{Body, Ears, Node};
use super::things::Run;
use super::{Between, Maker, Row, Triple, Way, judge};
use crate::gateway::GATEWAY;
use crate::harness::usual_or_long;
use crate::places::uuid;

#[test]
fn all_triples_of_ours_do_what_their_versions_can() {
    let rows = thread::scope(|scope| {
        let part = |between| scope.spawn(move || rows(between));
        let parts = [Between::Proxy, Between::Cluster].map(part);
        let rows = parts.map(|part| part.join().expect("a part that came to its end"));
        rows.into_iter().flatten().collect::<Vec<_>>()
    });
    judge(&rows);
    let limits = limits().len();
    assert_eq!(rows.len(), 10 * limits * 10 * 2, "clients, limits, nodes; proxy and cluster");
}

/// What Gannet in the middle is limited to.
fn limits() -> &'static [Version] {
    usual_or_long(&[Version::V4], &Version::ALL)
}

fn rows(between: Between) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let shared = http_client();
        let mut rows = Vec::new();
        for &limit in limits() {
            for way in Way::all() {
                // Ahead of ours, or behind it.
                let seconds = if rows.len() % 20 < 10 { 500 } else { 90_000 };
                let node = in_memory(way, limit, seconds, &shared).await;
                for (number, client) in Way::all().enumerate() {
                    let triple = Triple { client, between, limit, maker: Maker::Memory, node: way };
                    let middle = Middle::new(between, &node, TestClock::new());
                    let (client, _port) =
                        reached(Arc::clone(&middle.annex), client, limit, &shared).await;
                    let run = Run {
                        triple,
                        client,
                        node: &node,
                        ledger: middle.ledger,
                        clock: Some(middle.clock),
                        gateway: uuid(GATEWAY),
                        number,
                        bytes: 40_000,
                        changing_bytes: 50_000,
                    };
                    rows.push(Row { triple, outcomes: run.outcomes().await });
                }
            }
        }
        rows
    })
}

/// A node in memory whose clock shows so many seconds.
async fn in_memory(way: Way, limit: Version, seconds: u64, shared: &HttpClient) -> Node {
    let clock = TestClock::new();
    clock.set_boot(Timestamp { seconds });
    let stern = Stern::with(uuid(NODE), clock);
    let far = way.limited(limit);
    match way {
        Way::Line(newest) => {
            let heard = Heard::default();
            let annex = Arc::new(stern.clone());
            let pipe = Pipe { annex, newest, heard: Arc::clone(&heard) };
            let annex = Arc::new(line(&uuid(NODE), pipe, limit));
            Node {
                far,
                annex,
                body: Body::Memory(stern),
                ears: Ears::Pipe(heard),
                _kept: Box::new(()),
            }
        }
        Way::Http(newest) => {
            let port = Port::open(Arc::new(stern.clone())).await;
            let front = Front::start(port.address, newest);
            let annex = Arc::new(http(&uuid(NODE), front.address(), limit, shared));
            Node {
                far,
                annex,
                body: Body::Memory(stern),
                ears: Ears::Front(front),
                _kept: Box::new(port),
            }
        }
    }
}

/// Gannet in the middle.
pub(super) struct Middle {
    pub(super) annex: Arc<dyn Annex>,
    pub(super) ledger: Arc<TestLedger>,
    pub(super) clock: Arc<TestClock>,
}

impl Middle {
    fn new(between: Between, node: &Node, clock: Arc<TestClock>) -> Self {
        let ledger = TestLedger::new();
        let annex = front_of(between, &[node], &ledger, clock.clone());
        Self { annex, ledger, clock }
    }
}

/// Gannet before these nodes, of which a proxy can have only one.
pub(super) fn front_of(
    between: Between,
    nodes: &[&Node],
    ledger: &Arc<TestLedger>,
    clock: Arc<dyn Clock>,
) -> Arc<dyn Annex> {
    let described = |node: &&Node| Described {
        uuid: node.uuid().clone(),
        name: "node".to_owned(),
        cost: 100.0,
        read_only: false,
        gateway: None,
        annex: Arc::clone(&node.annex),
    };
    let mut nodes: Vec<_> = nodes.iter().map(described).collect();
    match between {
        Between::Proxy => {
            let node = nodes.pop().expect("a node");
            Arc::new(Proxy::new(node, uuid(GATEWAY), ledger.clone(), clock))
        }
        Between::Cluster => {
            let gateway = Gateway {
                cluster: ClusterUuid::from_random([0xc1; 16]),
                name: "mycluster".to_owned(),
                uuid: uuid(GATEWAY),
                ledger: ledger.clone(),
                clock,
                limits: Limits::default(),
            };
            Arc::new(Cluster::new(gateway, &nodes))
        }
    }
}

/// The same as a client reaches it.
pub(super) async fn reached(
    annex: Arc<dyn Annex>,
    client: Way,
    limit: Version,
    shared: &HttpClient,
) -> (Arc<dyn Annex>, Option<Port>) {
    let uuid = annex.uuid().clone();
    match client {
        Way::Line(newest) => {
            let pipe = Pipe { annex, newest: limit, heard: Heard::default() };
            (Arc::new(line(&uuid, pipe, newest)), None)
        }
        Way::Http(newest) => {
            let port = Port::open(annex).await;
            (Arc::new(http(&uuid, port.address, newest, shared)), Some(port))
        }
    }
}

const NODE: &str = "0de00001-0000-4000-8000-000000000001";
