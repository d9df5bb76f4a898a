//! The promises of [`Annex`](gannet_core::Annex), one function each.
//!
//! [`annex_keeps_its_promise!`](crate::annex_keeps_its_promise) calls them all. They look only
//! through the promise: at what a place says, never at how it keeps it.

use std::future::Future;
use std::time::Duration;

mod locking;
mod refusing;
mod removing;
mod resuming;
mod storing;
mod trial;

pub use locking::*;
pub use refusing::*;
pub use removing::*;
pub use resuming::*;
pub use storing::*;

/// Runs the test of one promise, which is kept, unless it is known that it is not.
///
/// # Panics
/// When it is otherwise.
pub fn judge(promise: &str, known: &[&str], test: impl Future<Output = ()>) {
    if !known.contains(&promise) {
        return run(test);
    }
    // Some promises are broken by waiting in vain, which need not be done for long.
    let test = async {
        tokio::time::timeout(PATIENCE / 10, test).await.expect("it is waited in vain");
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(test)));
    assert!(outcome.is_err(), "the place keeps this promise now: take it off the list");
}

/// Runs one test on a Tokio runtime of its own, with two threads, and not for ever.
///
/// # Panics
/// When the test does, or hangs.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, test).await.expect("the test hangs");
    });
}

const PATIENCE: Duration = Duration::from_secs(60);
