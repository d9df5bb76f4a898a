//! A gateway whose nodes fail in all ways in which nodes fail, in a random mix, through both of
//! its doors; and a gateway that is killed itself.
//!
//! What is answered is true, or an error; other nodes notice nothing; afterwards everything works
//! again, what was recorded is so, and nothing is left in the gateway of all that.

use std::time::Duration;

use gannet_testkit::Sample;

use crate::faults::secluded::secluded;
use crate::harness::{Seeded, Server, eventually, usual_or_long};

mod clients;
mod nodes;
mod round;

use clients::{Client, Door};
use nodes::Scene;
use round::Round;

#[test]
fn nodes_fail_and_the_gateway_goes_on_over_http() {
    secluded("gateway::trouble::nodes_fail_and_the_gateway_goes_on_over_http", || {
        rounds(Door::Http, 11);
    });
}

#[test]
fn nodes_fail_and_the_gateway_goes_on_over_a_line() {
    secluded("gateway::trouble::nodes_fail_and_the_gateway_goes_on_over_a_line", || {
        rounds(Door::Line, 12);
    });
}

#[test]
fn a_gateway_that_is_killed_leaves_nothing_that_is_not_so() {
    secluded("gateway::trouble::a_gateway_that_is_killed_leaves_nothing_that_is_not_so", || {
        for door in [Door::Http, Door::Line] {
            kills(door);
        }
    });
}

/// Over HTTP nothing is remembered between requests: whoever was told the time by one gateway may
/// come with a deadline to the next (proxy-cluster §9).
#[test]
fn a_deadline_outlives_the_gateway_that_told_the_time() {
    secluded("gateway::trouble::a_deadline_outlives_the_gateway_that_told_the_time", || {
        let scene = Scene::new();
        let sample = Sample::secure(1, 1000);
        let key = sample.key.to_string();
        let runtime = runtime();
        let server = scene.serve();
        let now = runtime.block_on(async {
            let client = Client::new(&scene, Door::Http, &server);
            client.put_everywhere(&scene, &sample).await;
            client.timestamp(&scene.cluster).await.expect("the time")
        });
        assert_eq!(server.stop().code(), Some(0));
        let server = scene.serve();
        runtime.block_on(async {
            let client = Client::new(&scene, Door::Http, &server);
            let before = async |deadline| {
                client.remove_before(&scene.cluster, &sample, deadline).await.expect("an answer")
            };
            assert!(!before(now).await.removed, "it is late");
            assert!(scene.nodes.iter().all(|node| node.has(&key, &sample.bytes)));
            let removal = before(now.plus(120)).await;
            assert!(removal.removed && removal.plus.len() == 3, "{removal:?}");
            assert!(scene.nodes.iter().all(|node| node.repo.object(&key).is_none()));
        });
        assert_eq!(server.stop().code(), Some(0));
        expect_truth(&scene, &[sample]);
    });
}

fn rounds(door: Door, seed: u64) {
    let scene = Scene::new();
    let server = scene.serve();
    let runtime = runtime();
    let samples: Vec<_> = (0..3).map(|number| Sample::secure(number, BYTES)).collect();
    let mut chance = Seeded::new(seed);
    let count = usual_or_long(25, 500);
    runtime.block_on(async {
        let client = Client::new(&scene, door, &server);
        // Everybody has everything, and every connection was made once.
        for sample in &samples {
            client.put_everywhere(&scene, sample).await;
        }
        for node in &scene.nodes {
            client.check(node.repo.uuid(), &samples[0]).await.expect("an answer");
        }
        let before = Vitals::of(&client, &server);
        let mut done = std::collections::BTreeMap::new();
        for number in 0..count {
            let round = Round::new(&scene, &client, &samples, &mut chance);
            let what = round.what();
            let came = round.run().await;
            *done.entry(format!("{what}: {came}")).or_insert(0) += 1;
            if number % 100 == 99 {
                println!("{} rounds: {:?}", number + 1, Vitals::of(&client, &server));
            }
        }
        for (what, times) in done {
            println!("{times:>4} {what}");
        }
        println!("before {before:?}, after {:?}", Vitals::of(&client, &server));
        // What is kept for the next request is let go of after a minute.
        let patience = usual_or_long(Duration::from_secs(20), Duration::from_secs(180));
        eventually(patience, || {
            let now = Vitals::of(&client, &server);
            match now.is_no_more_than(&before) {
                true => Ok(()),
                false => Err(format!("{now:?} instead of {before:?}")),
            }
        });
        println!("settled {:?}", Vitals::of(&client, &server));
        // In the end not everybody has everything.
        client.remove_everywhere(&scene, &samples[0]).await;
        let [near, ..] = &scene.nodes;
        client.remove(near.repo.uuid(), &samples[1]).await.expect("a removal");
        client.expect_end().await;
    });
    assert_eq!(server.stop().code(), Some(0));
    expect_truth(&scene, &samples);
}

/// Kills the gateway in the middle of a put, again and again.
fn kills(door: Door) {
    let scene = Scene::new();
    let runtime = runtime();
    let samples: Vec<_> = (0..2).map(|number| Sample::secure(number, BYTES)).collect();
    let count = usual_or_long(3, 30);
    for number in 0..count {
        let server = scene.serve();
        let (sample, at) = (&samples[number % 2], [10_000, 800_000, BYTES - 1][number % 3]);
        runtime.block_on(async {
            let client = Client::new(&scene, door, &server);
            let (pid, here) = (server.pid(), client.gateways());
            let kill = || match door {
                Door::Http => clients::kill(pid),
                Door::Line => client.gateways().into_iter().for_each(clients::kill),
            };
            assert!(here.is_empty() || door == Door::Line);
            let stored = client.put_and(&scene.cluster, sample, at, kill).await;
            println!("{door:?}, killed after {at} bytes: {stored:?}");
            // Only what is there may have been acknowledged.
            if let Ok(plus) = stored {
                let listed = |node: &&nodes::Node| plus.iter().any(|it| it == node.repo.uuid());
                for node in scene.nodes.iter().filter(listed) {
                    assert!(node.has(&sample.key.to_string(), &sample.bytes), "{}", node.name);
                }
            }
            // What served for it ends too.
            eventually(PATIENCE, || match scene.far_processes() {
                0 => Ok(()),
                count => Err(format!("{count} processes are left at nodes")),
            });
        });
        drop(server);
        // Whoever comes next finds everything in order, and can go on.
        let server = scene.serve();
        runtime.block_on(async {
            let client = Client::new(&scene, door, &server);
            client.put_everywhere(&scene, sample).await;
            for node in &scene.nodes {
                assert!(client.check(node.repo.uuid(), sample).await.expect("an answer"));
            }
            // The next one begins without it.
            if number + 2 < count {
                client.remove_everywhere(&scene, sample).await;
            }
        });
        assert_eq!(server.stop().code(), Some(0));
    }
    expect_truth(&scene, &samples);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What a gateway has of what can be lost in it.
#[derive(Debug)]
struct Vitals {
    descriptors: usize,
    children: usize,
}

impl Vitals {
    /// Those of all gateways that serve a client.
    fn of(client: &Client, server: &Server) -> Self {
        let mut all = Self { descriptors: 0, children: 0 };
        for pid in client.gateways().into_iter().chain([server.pid()]) {
            all.descriptors += clients::descriptors(pid);
            all.children += clients::children_of(pid).len();
        }
        all
    }

    /// A few connections may be kept for the next request.
    fn is_no_more_than(&self, other: &Self) -> bool {
        self.descriptors <= other.descriptors + 3 * PER_CONNECTION
            && self.children <= other.children + 1
    }
}

/// What everybody recorded is so, and git-annex finds nothing to put right.
#[track_caller]
fn expect_truth(scene: &Scene, samples: &[Sample]) {
    for sample in samples {
        let key = sample.key.to_string();
        for node in &scene.nodes {
            let uuid = node.repo.uuid();
            let has = node.has(&key, &sample.bytes);
            assert_eq!(has, node.repo.object(&key).is_some(), "{}: other bytes", node.name);
            for repo in [&scene.gateway, &node.repo] {
                eventually(PATIENCE, || {
                    let log = repo.location_log_now(&scene.world, &key);
                    match log.get(uuid).copied().unwrap_or(false) == has {
                        true => Ok(()),
                        false => Err(format!("{}: {has}, and recorded {log:?}", node.name)),
                    }
                });
            }
        }
    }
    for repo in scene.nodes.iter().map(|node| &node.repo).chain([&scene.gateway]) {
        let checked = scene.world.try_annex(repo.path(), &["fsck", "--all", "--fast"]);
        let is_fault = |line: &str| line.contains("**") && !line.contains("No known copies");
        let wrong = checked.out().contains("fixing location log");
        assert!(!wrong && !checked.err().lines().any(is_fault), "{checked}");
        scene.world.git(repo.path(), &["fsck", "--strict", "--no-dangling"]);
    }
}

/// More than pipes and sockets take at once.
const BYTES: usize = 1_600_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// Descriptors of a connection that is kept: three pipes and a process.
const PER_CONNECTION: usize = 4;
