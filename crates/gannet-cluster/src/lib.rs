//! Many places that act as one.
//!
//! A proxy is an [`Annex`](gannet_core::Annex) that owns another, a cluster one that owns several.
//! What they know of who holds and who wants what, a [`Ledger`](gannet_core::Ledger) lends them.

pub mod wanted;
