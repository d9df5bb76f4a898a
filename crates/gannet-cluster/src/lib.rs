//! Many places that act as one.
//!
//! A proxy is an [`Annex`](gannet_core::Annex) that owns another, a cluster one that owns several.
//! What they know of who holds and who wants what, a [`Ledger`](gannet_core::Ledger) lends them.

mod cluster;
mod fan;
mod node;
mod plan;
mod proxy;
mod recorded;
mod reserved;
mod turns;
pub mod wanted;

pub use cluster::{Cluster, Gateway, Limits};
pub use node::Node;
pub use proxy::Proxy;
