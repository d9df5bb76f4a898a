//! Conversations with other machines and programs: the doors through which they ask, and far
//! places that keep the promise. See ARCHITECTURE.md.

pub mod pipe;
pub mod remote;
pub mod serve;
mod watched;
mod wire;
