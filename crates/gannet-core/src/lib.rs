//! Gannet's nouns, and the promises that every place of content keeps.
//!
//! This room names nobody: it knows no runtime, no files, no sockets and no wall clock. See
//! ARCHITECTURE.md for how the rooms fit together.

pub mod annex;
pub mod backend;
pub mod content;
pub mod dropping;
pub mod error;
pub mod key;
pub mod ledger;
pub mod lock;
pub mod notes;
pub mod place;
pub mod time;
pub mod uuid;

pub use annex::{Annex, Asker, AssociatedFile, Mode, PutOffset, Removal, Span, Stored};
pub use content::{Content, Piece, Verdict};
pub use error::{Error, Result};
pub use key::Key;
pub use ledger::{Book, Facts, Ledger, Trust};
pub use lock::{Held, Lock};
pub use notes::{Chunks, Credentials, Notes};
pub use time::{Clock, Timestamp, WallTime};
pub use uuid::{ClusterUuid, Uuid};
