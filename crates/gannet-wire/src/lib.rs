//! See ARCHITECTURE.md.

pub mod http;
pub mod spell;
