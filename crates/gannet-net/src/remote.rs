//! Far places that keep the promise of [`Annex`](gannet_core::Annex).

#[cfg(test)]
mod cuts;
pub mod directory;
pub mod external;
pub mod http;
pub mod httpalso;
pub mod line;
pub mod s3;
pub mod special;
pub mod ssh;
