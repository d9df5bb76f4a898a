//! Proxies and clusters of places in memory, whatever those do.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code, though it is not in a test module"
)]

mod gateways;
mod getting;
mod promise;
mod proxying;
mod putting;
mod removing;
mod scene;
mod shaky;
mod simulation;
