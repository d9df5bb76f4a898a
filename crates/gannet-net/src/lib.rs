//! Conversations with other machines and programs: the doors through which they ask. See
//! ARCHITECTURE.md.

pub mod serve;
