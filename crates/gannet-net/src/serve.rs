//! Doors: they hand what strangers ask to an [`Annex`](gannet_core::Annex), and say what it said.

mod gist;
mod held;
pub mod http;
pub mod p2p;
pub mod shares;
