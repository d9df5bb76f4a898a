//! See ARCHITECTURE.md.

pub mod external;
pub mod http;
pub mod p2p;
pub mod spell;
