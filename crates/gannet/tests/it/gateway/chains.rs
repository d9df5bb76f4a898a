//! Gateways behind gateways: what is far away has a name of many parts.

use std::fs;
use std::sync::Arc;

use super::{GATEWAY, PATIENCE, Scene, Street, Way};
use crate::harness::{Seeded, World, eventually, usual_or_long};
use crate::ssh::Which;

#[test]
fn a_node_is_used_through_three_gateways() {
    use Which::{Gannet, Reference};
    let chains = [[Gannet, Reference, Gannet], [Reference, Gannet, Reference], [Gannet; 3]];
    for chain in usual_or_long(&chains[..1], &chains) {
        journey(chain);
    }
}

/// By the first of these gateways, each of which proxies the next, and the last a node.
fn journey(which: &[Which; 3]) {
    let world = Arc::new(World::new());
    let street = Arc::new(Street::new(&world));
    let within = |name, uuid, nodes: &[_]| Scene::within(&world, &street, (name, uuid), nodes);
    let last = within("c", GATEWAYS[2], &[("node", Way::Path)]).proxied();
    let chain = [within("a", GATEWAYS[0], &[]), within("b", GATEWAYS[1], &[]), last];
    for (place, next) in [(1, "c"), (0, "b")] {
        let (gateway, behind) = (&chain[place], &chain[place + 1].gateway);
        gateway.know(next, behind, Way::Ssh(which[place + 1]));
        gateway.config(&format!("remote.{next}.annex-proxy"), "true");
        world.annex(gateway.gateway.path(), &["merge", "--quiet"]);
        world.annex(gateway.gateway.path(), &["updateproxy", "--quiet"]);
    }
    let node = &chain[2].nodes[0];
    let expect_at_node = |key: &str, expected: bool| {
        assert_eq!(node.state(key).present, expected);
        for gateway in &chain {
            eventually(PATIENCE, || {
                let log = gateway.gateway.location_log_now(&world, key);
                match log.get(node.uuid()) == Some(&expected) {
                    true => Ok(()),
                    false => Err(format!("{} recorded {log:?}", gateway.gateway.arg())),
                }
            });
        }
    };
    let client = chain[0].ssh_client_of(which[0]);
    let annex = |args: &[&str]| world.annex(&client, args);
    let content = Seeded::new(1).bytes(300_000);
    let key = chain[0].add(&client, "file", &content);
    annex(&["copy", "--quiet", "--to", "origin-b-c-node", "file"]);
    expect_at_node(&key, true);
    annex(&["drop", "--quiet", "file"]); // which locks the content there
    annex(&["move", "--quiet", "--from", "origin-b-c-node", "file"]);
    assert!(fs::read(client.join("file")).expect("what came") == content);
    expect_at_node(&key, false);
    // A gateway is one more place.
    annex(&["move", "--quiet", "--to", "origin-b-c", "file"]);
    assert!(chain[2].gateway.state(&key).present);
}

const GATEWAYS: [&str; 3] =
    [GATEWAY, "6b7e3a1e-0000-4000-8000-000000000002", "6c7e3a1e-0000-4000-8000-000000000003"];
