//! One cluster behind two gateways, which pass on to each other what they are asked.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use gannet_net::serve::p2p::Version;

use super::{GATEWAY, Node, PATIENCE, Scene, Street, Way};
use crate::harness::http::api;
use crate::harness::{
    CLIENT, HELLO, Reply, Request, Seeded, Server, World, eventually, usual_or_long,
};
use crate::ssh::talk::Talk;
use crate::ssh::{Which, programs};
use crate::versions::{Limited, Party};

/// A cluster with two gateways of two nodes each.
struct Pair {
    /// By which the gateways reach each other, if they do by that.
    servers: [Option<Server>; 2],
    a: Scene,
    b: Scene,
}

impl Pair {
    /// Gateways that are these, and reach each other over ssh.
    fn new(which: [Which; 2]) -> Self {
        Self::with(which, Way::Ssh)
    }

    fn with([a_is, b_is]: [Which; 2], way: fn(Which) -> Way) -> Self {
        let world = Arc::new(World::new());
        let street = Arc::new(Street::new(&world));
        // What answers at nodes, the others do.
        let nodes = |which, names: [&'static str; 2]| {
            let other = if which == Which::Gannet { Which::Reference } else { Which::Gannet };
            [(names[0], Way::Path), (names[1], Way::Ssh(other))]
        };
        let within = |gateway, nodes: &[_]| Scene::within(&world, &street, gateway, nodes);
        let a = within(("a", GATEWAY), &nodes(a_is, ["a1", "a2"])).clustered();
        let b = within(("b", GATEWAY_B), &nodes(b_is, ["b1", "b2"]));
        let annex = |side: &Scene, args: &[&str]| world.annex(side.gateway.path(), args);
        let server_of_a = b.know("a", &a.gateway, way(a_is));
        annex(&b, &["merge", "--quiet"]);
        annex(&b, &["extendcluster", "a", "mycluster"]);
        b.join_cluster();
        let server_of_b = a.know("b", &b.gateway, way(b_is));
        annex(&a, &["merge", "--quiet"]);
        annex(&a, &["extendcluster", "b", "mycluster"]);
        b.fetch("a", &a.gateway);
        annex(&b, &["merge", "--quiet"]);
        annex(&b, &["updatecluster", "--quiet"]);
        Self { servers: [server_of_a, server_of_b], a, b }
    }

    fn sides(&self) -> [&Scene; 2] {
        [&self.a, &self.b]
    }

    fn world(&self) -> &World {
        &self.a.world
    }

    /// Which nodes have the content, of either gateway. The gateway that was asked (0 or 1) knows
    /// all of them, the other its own (proxy-cluster §10).
    #[track_caller]
    fn expect_at(&self, asked: usize, key: &str, expected: &[&str]) {
        self.expect_at_nodes(key, expected);
        let all: BTreeSet<&str> = expected.iter().copied().collect();
        for (place, side) in self.sides().into_iter().enumerate() {
            let is_own = |name: &&str| side.nodes.iter().any(|node| node.name == *name);
            let own: BTreeSet<_> = all.iter().copied().filter(is_own).collect();
            let expected = if place == asked { &all } else { &own };
            eventually(PATIENCE, || {
                let log = side.gateway.location_log_now(self.world(), key);
                let known = self.names(|node| log.get(node.uuid()) == Some(&true));
                match known == *expected {
                    true => Ok(()),
                    false => Err(format!("gateway {place} recorded {log:?}")),
                }
            });
        }
    }

    #[track_caller]
    fn expect_at_nodes(&self, key: &str, expected: &[&str]) {
        let there = self.names(|node| node.state(key).present);
        assert_eq!(there, expected.iter().copied().collect());
    }

    fn names(&self, are: impl Fn(&Node) -> bool) -> BTreeSet<&str> {
        let nodes = self.sides().into_iter().flat_map(|side| &side.nodes);
        nodes.filter(|node| are(node)).map(|node| node.name).collect()
    }

    fn cluster(&self) -> String {
        let asked = ["config", "annex.cluster.mycluster"];
        self.world().git(self.a.gateway.path(), &asked).trim().to_owned()
    }

    /// Begins to ask gateway number `asked`, whose program is that one, for the cluster.
    fn talk(&self, asked: usize, which: Which) -> Talk {
        let gateway = &self.sides()[asked].gateway;
        let cluster = self.cluster();
        let shell = programs(self.world(), which).join("git-annex-shell");
        let mut command = self.world().command(self.world().path(), shell);
        command.args(["p2pstdio", gateway.arg(), CLIENT, "--uuid", &cluster]);
        let mut talk = Talk::start(command);
        talk.expect(&format!("AUTH-SUCCESS {cluster}"));
        talk
    }

    #[track_caller]
    fn put_hello(&self, talk: &mut Talk, has_verdict: bool) {
        talk.ask(&format!("PUT f {HELLO}"), "PUT-FROM 0");
        talk.say("DATA 6\nhello\n");
        if has_verdict {
            talk.say("VALID\n");
        }
        talk.expect_beginning("SUCCESS");
    }

    /// How many sessions the ssh servers have been asked for: one for each way over which
    /// somebody asked somebody else.
    fn sessions(&self) -> usize {
        self.a.street.log().matches("Starting session: command").count()
    }
}

/// Uses the cluster by its gateway number `asked`, with no more than `most` sessions a command.
fn journey(pair: &Pair, asked: usize, client: &Path, most: usize) {
    let annex = |args: &[&str]| pair.world().annex(client, args);
    let all = &["a1", "a2", "b1", "b2"];
    let content = Seeded::new(asked as u64).bytes(300_000);
    let side = pair.sides()[asked];
    let cluster = "origin-mycluster";
    let key = side.add(client, "file", &content);
    let mut before = pair.sessions();
    let mut expect_sessions = |commands: usize| {
        let now = pair.sessions();
        assert!(now - before <= most * commands, "{} for {commands}", now - before);
        before = now;
    };
    annex(&["copy", "--quiet", "--to", cluster, "file"]);
    expect_sessions(1);
    pair.expect_at(asked, &key, all);
    let known = annex(&["whereis", "file"]);
    assert!(known.contains("5 copies"), "{known}");
    // What all have already is put again.
    annex(&["transferkey", &key, "--to", cluster, "--file", "file"]);
    expect_sessions(1);
    pair.expect_at(asked, &key, all);
    let present = || pair.world().try_annex(client, &["checkpresentkey", &key, cluster]).code;
    assert_eq!(present(), Some(0));
    expect_sessions(1);
    annex(&["drop", "--quiet", "file"]);
    annex(&["get", "--quiet", "--from", cluster, "file"]);
    assert!(fs::read(client.join("file")).expect("what came") == content);
    expect_sessions(2);
    annex(&["drop", "--quiet", "--from", cluster, "file"]);
    expect_sessions(1);
    pair.expect_at(asked, &key, &[]);
    assert_eq!(present(), Some(1));
    annex(&["move", "--quiet", "--to", cluster, "file"]);
    expect_sessions(2);
    pair.expect_at(asked, &key, all);
    annex(&["move", "--quiet", "--from", cluster, "file"]);
    expect_sessions(1);
    pair.expect_at(asked, &key, &[]);
    assert!(fs::read(client.join("file")).expect("what came") == content);
}

/// Uses a node of the other gateway by gateway number `asked`, under the name that this gives it.
fn hop(pair: &Pair, asked: usize, client: &Path) {
    let annex = |args: &[&str]| pair.world().annex(client, args);
    let side = pair.sides()[asked];
    let [near, far] = [["a1", "b1"], ["b1", "a1"]][asked];
    let through = ["origin-b-b1", "origin-a-a1"][asked];
    let content = Seeded::new(7 + asked as u64).bytes(300_000);
    let key = side.add(client, "far", &content);
    annex(&["copy", "--quiet", "--to", through, "far"]);
    pair.expect_at(asked, &key, &[far]);
    annex(&["fsck", "--quiet", "--from", through, "far"]);
    annex(&["drop", "--quiet", "far"]); // which locks the content there
    let begun = client.join(".git/annex/tmp");
    fs::create_dir_all(&begun).expect("make a directory");
    fs::write(begun.join(&key), &content[..200_000]).expect("write the beginning");
    annex(&["get", "--quiet", "--from", through, "far"]);
    assert!(fs::read(client.join("far")).expect("what came") == content);
    annex(&["move", "--quiet", "--to", &format!("origin-{near}"), "far"]);
    pair.expect_at(asked, &key, &[near, far]);
    annex(&["drop", "--quiet", "--from", &format!("origin-{near}"), "far"]);
    pair.expect_at(asked, &key, &[far]);
    let refused = pair.world().try_annex(client, &["drop", "--from", through, "far"]);
    assert!(!refused.success(), "{refused}");
    annex(&["move", "--quiet", "--from", through, "far"]);
    pair.expect_at(asked, &key, &[]);
}

#[test]
fn two_of_ours_act_as_one() {
    let ways: [fn(Which) -> Way; 2] = [Way::Http, Way::Ssh];
    for way in usual_or_long(&ways[..1], &ways) {
        let pair = Pair::with([Which::Gannet; 2], *way);
        for asked in usual_or_long(0..1, 0..2) {
            let server = pair.sides()[asked].serve();
            let client = pair.sides()[asked].http_client(&server);
            journey(&pair, asked, &client, FEW);
            hop(&pair, asked, &client);
        }
        if usual_or_long(false, true) {
            let client = pair.a.ssh_client();
            journey(&pair, 0, &client, FEW);
            hop(&pair, 0, &client);
        }
    }
}

/// Each then waits for the other.
#[test]
fn requests_that_meet_halfway_come_to_an_end() {
    let pair = Pair::with([Which::Gannet; 2], Way::Http);
    let servers = pair.servers.each_ref().map(|server| server.as_ref().expect("a server"));
    let cluster = pair.cluster();
    for round in 0..usual_or_long(2, 25) {
        // Whatever version the client speaks, all is reached, and nothing again and again.
        let version = format!("v{}", round % 5);
        let path = |endpoint| {
            let asked = [("key", HELLO), ("clientuuid", CLIENT)];
            api(&cluster, &version, endpoint, &asked)
        };
        let put = servers[0].send(&Request::put(path("put"), 6, b"hello\n"));
        assert_eq!(put.member("stored"), true, "{}", put.text());
        pair.expect_at(0, HELLO, &["a1", "a2", "b1", "b2"]);
        let remove = Request::post(path("remove"));
        let removed = std::thread::scope(|scope| {
            let [first, second] = servers.map(|server| scope.spawn(|| server.send(&remove)));
            [first, second].map(|reply| reply.join().expect("a reply"))
        });
        let said = removed.each_ref().map(Reply::text);
        assert!(removed.iter().any(|reply| reply.member("removed") == true), "{said:?}");
        pair.expect_at_nodes(HELLO, &[]);
        // Whichever finished it, a gateway knows of its own nodes; of others it may hear later.
        for side in pair.sides() {
            eventually(PATIENCE, || {
                let log = side.gateway.location_log_now(pair.world(), HELLO);
                let stale = side.nodes.iter().any(|node| log.get(node.uuid()) == Some(&true));
                if stale { Err(format!("recorded {log:?}")) } else { Ok(()) }
            });
        }
    }
}

#[test]
fn one_of_ours_and_one_of_the_reference_act_as_one_over_http() {
    let pair = Pair::new([Which::Gannet, Which::Reference]);
    for (asked, which) in [Which::Gannet, Which::Reference].into_iter().enumerate() {
        let server = pair.sides()[asked].serve_by(which);
        let client = pair.sides()[asked].http_client(&server);
        // The reference may connect anew for each request of a command.
        let most = if which == Which::Gannet { FEW } else { 3 * FEW };
        journey(&pair, asked, &client, most);
        hop(&pair, asked, &client);
    }
}

#[test]
fn one_of_ours_and_one_of_the_reference_act_as_one_over_ssh() {
    let pair = Pair::new([Which::Gannet, Which::Reference]);
    for (asked, which) in [Which::Gannet, Which::Reference].into_iter().enumerate() {
        let client = pair.sides()[asked].ssh_client_of(which);
        journey(&pair, asked, &client, FEW);
        if usual_or_long(false, true) {
            hop(&pair, asked, &client);
        }
    }
}

/// A client that speaks an old version cannot say which gateways it has passed, and no gateway
/// may pass that on (proxy-cluster §12 no. 3).
#[test]
fn requests_of_old_clients_come_to_an_end() {
    for which in [[Which::Gannet; 2], [Which::Gannet, Which::Reference]] {
        let pair = Pair::new(which);
        let all: &[&str] = &["a1", "a2", "b1", "b2"];
        for (asked, which) in which.into_iter().enumerate() {
            for version in usual_or_long(&["", "VERSION 1"][..], &["", "VERSION 1", "VERSION 2"]) {
                let version = *version;
                let before = pair.sessions();
                let mut talk = pair.talk(asked, which);
                if !version.is_empty() {
                    talk.ask(version, version);
                }
                let has_verdict = !version.is_empty();
                pair.put_hello(&mut talk, has_verdict);
                // The reference asks the other gateway in no newer version, and is not told.
                let is_told = which == Which::Gannet || version == "VERSION 2";
                let expect_at = |expected: &[&str]| match is_told {
                    true => pair.expect_at(asked, HELLO, expected),
                    false => pair.expect_at_nodes(HELLO, expected),
                };
                expect_at(all);
                talk.ask(&format!("PUT f {HELLO}"), "ALREADY-HAVE");
                talk.ask(&format!("CHECKPRESENT {HELLO}"), "SUCCESS");
                talk.ask(&format!("GET 0 f {HELLO}"), "DATA 6");
                talk.expect("hello");
                if has_verdict {
                    talk.expect("VALID");
                }
                talk.say("SUCCESS\n");
                talk.ask(&format!("REMOVE {HELLO}"), "SUCCESS");
                expect_at(&[]);
                assert_eq!(talk.end(), Some(0));
                let sessions = pair.sessions() - before;
                assert!(sessions <= 3, "{which:?} {version} {sessions}");
            }
        }
    }
}

/// What could not be told which gateways were passed is not asked.
#[test]
fn an_old_gateway_is_left_out() {
    let pair = Pair::new([Which::Gannet, Which::Reference]);
    let old = Limited::new(pair.world(), Party::GitAnnex, Version::V1);
    pair.a.config("remote.b.annex-shell", old.program.to_str().expect("a path of ASCII"));
    let before = pair.sessions();
    let mut talk = pair.talk(0, Which::Gannet);
    talk.ask("VERSION 1", "VERSION 1");
    pair.put_hello(&mut talk, true);
    pair.expect_at(0, HELLO, &["a1", "a2"]);
    assert_eq!(talk.end(), Some(0));
    assert!(pair.sessions() - before <= 3);
}

/// Two by which the client asks; to a node, to the other gateway, and from there to its node.
const FEW: usize = 5;
const GATEWAY_B: &str = "6b7e3a1e-0000-4000-8000-000000000002";
