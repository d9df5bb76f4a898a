//! Many clients that get the same files at the same time.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::Stock;
use crate::harness::{Seeded, eventually, usual_or_long};

/// A server with workers stood still when more clients came than it had workers. The long run is
/// over 1,000 files of 1 MB.
#[test]
fn twenty_clients_get_the_same_files_at_once_and_none_stalls() {
    let stock = Stock::with_files(usual_or_long(25, 1000), MEGABYTE);
    let clones: Vec<_> = (0..20).map(|_| stock.clone()).collect();
    thread::scope(|scope| {
        for clone in &clones {
            scope.spawn(|| {
                let got = stock.annex(clone, &["get", "--quiet", "."]);
                assert!(got.success(), "{got}");
            });
        }
    });
    for clone in &clones {
        stock.expect_whole(clone);
    }
    stock.expect_at_rest();
}

/// Each interruption left a worker of the server behind, until none was left for the other client.
#[test]
fn a_client_gets_everything_while_another_is_interrupted_every_few_hundred_milliseconds() {
    let stock = Stock::with_files(usual_or_long(100, 1000), MEGABYTE);
    let [steady, hasty] = [stock.clone(), stock.clone()];
    let before = stock.server.descriptors();
    thread::scope(|scope| {
        let steady = scope.spawn(|| stock.annex(&steady, &["get", "--quiet", "."]));
        let mut chance = Seeded::new(11);
        let mut interrupted = 0;
        while !steady.is_finished() || interrupted < INTERRUPTIONS {
            let signal = [Signal::INT, Signal::KILL][usize::from(chance.below(2) == 0)];
            let after = Duration::from_millis(150 + chance.below(450));
            let all = stock.begin(&hasty, &["get", "--quiet", "."]).interrupt(after, signal);
            interrupted += u32::from(!all);
            if all {
                stock.world.annex(&hasty, &["drop", "--quiet", "--force", "."]);
            }
        }
        let got = steady.join().expect("the client that was left alone");
        assert!(got.success(), "{got}");
        eprintln!("{interrupted} interruptions");
    });
    stock.expect_whole(&steady);
    let got = stock.annex(&hasty, &["get", "--quiet", "."]);
    assert!(got.success(), "{got}");
    stock.expect_whole(&hasty);
    eventually(SETTLE, || match stock.server.descriptors() {
        now if now <= before => Ok(()),
        now => Err(format!("{now} descriptors, {before} before")),
    });
    stock.expect_at_rest();
}

const MEGABYTE: usize = 1_000_000;
const INTERRUPTIONS: u32 = 10;
const SETTLE: Duration = Duration::from_secs(30);
