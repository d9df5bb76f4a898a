//! Clients that drop what they count on the server to keep.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::super::relay::Relay;
use super::super::scene::clone;
use super::Stock;
use crate::harness::http::api;
use crate::harness::{CLIENT, Request, SERVER, eventually, usual_or_long};

/// Locks of some clients and transfers of others once waited for each other.
#[test]
fn four_clones_drop_and_get_the_same_five_files_in_a_loop() {
    let stock = Stock::with_files(5, 100_000);
    let clones: Vec<_> = (0..4).map(|_| stock.clone()).collect();
    thread::scope(|scope| {
        for clone in &clones {
            scope.spawn(|| {
                for round in 0..usual_or_long(4, 100) {
                    let got = stock.annex(clone, &["get", "--quiet", "."]);
                    assert!(got.success(), "round {round}: {got}");
                    stock.expect_whole(clone);
                    let dropped = stock.annex(clone, &["drop", "--quiet", "."]);
                    assert!(dropped.success(), "round {round}: {dropped}");
                    assert!(!clone.join("file0000").exists(), "round {round}: not dropped");
                }
            });
        }
    });
    stock.expect_at_rest();
}

/// The client wants two copies. It locks the one at the server and then waits for a remote that
/// accepts its connection and says nothing; there it is interrupted.
#[test]
fn a_drop_interrupted_while_it_holds_the_remote_lock_keeps_the_copy_and_holds_up_nobody() {
    let stock = Stock::with_files(1, 100_000);
    let key = stock.key("file0000");
    let relay = Relay::start(stock.server.address());
    let client = clone(&stock.world, stock.repo.path(), &relay.annex_url(), SERVER);
    let other = stock.clone();
    let mute = TcpListener::bind(("127.0.0.1", 0)).expect("listen");
    let mute_url = format!("annex+http://{}/git-annex/", mute.local_addr().expect("an address"));
    for (name, value) in [
        ("remote.mute.url", "ssh://mute.invalid/~/mute"),
        ("remote.mute.annexUrl", &mute_url),
        ("remote.mute.annex-uuid", MUTE),
        ("remote.mute.annex-cost", "5000"),
        ("remote.mute.annex-ignore", "false"),
    ] {
        stock.world.git(&client, &["config", name, value]);
    }
    stock.world.annex(&client, &["get", "--quiet", "."]);
    stock.world.annex(&client, &["setpresentkey", &key, MUTE, "1"]);

    let remove = || {
        let target = api(SERVER, "v4", "remove", &[("key", &key), ("clientuuid", CLIENT)]);
        stock.server.send(&Request::post(target)).member("removed")
    };
    for round in 0..usual_or_long(6, 40) {
        relay.take();
        let begun = stock.begin(&client, &["drop", "--quiet", "--numcopies=2", "."]);
        let mut requests = BTreeMap::new();
        eventually(SETTLE, || {
            let travelled = relay.take();
            for endpoint in ["/lockcontent?", "/keeplocked?"] {
                *requests.entry(endpoint).or_insert(0) += travelled.count(endpoint);
            }
            match requests.values().all(|&count| count > 0) {
                true => Ok(()),
                false => Err(format!("round {round}: no lock yet: {requests:?}")),
            }
        });
        assert!(stock.repo.is_locked(&key), "round {round}");
        let signal = [Signal::INT, Signal::KILL][round % 2];
        assert!(!begun.interrupt(Duration::from_millis(50), signal), "round {round}: it dropped");
        stock.expect_whole(&client);
        if signal == Signal::KILL {
            assert_eq!(remove(), false, "round {round}: the lock was lost with the client");
        }
        let got = stock.annex(&other, &["get", "--quiet", "."]);
        assert!(got.success(), "round {round}: {got}");
        stock.expect_whole(&other);
        let dropped = stock.annex(&other, &["drop", "--quiet", "."]);
        assert!(dropped.success(), "round {round}: {dropped}");
    }
    let dropped = stock.annex(&client, &["drop", "--quiet", "."]);
    assert!(
        dropped.success(),
        "nothing stands in the way of the one that was interrupted: {dropped}"
    );
    assert_eq!(remove(), false, "locks whose holder was killed stand for ten minutes");
    assert_eq!(stock.server.children(), 0);
    stock.repo.fsck(&stock.world);
}

const MUTE: &str = "e0e0e0e0-0000-4000-8000-000000000009";
const SETTLE: Duration = Duration::from_secs(60);
