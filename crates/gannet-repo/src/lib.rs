//! One git-annex repository on disk.
//!
//! This room keeps the promise of [`gannet_core::Annex`] with the files that git-annex itself
//! uses, beside git-annex processes that work in the same repository. See ARCHITECTURE.md.

mod arriving;
mod aside;
mod blocking;
mod branch;
mod check;
mod credentials;
mod durable;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod git;
mod gitlock;
mod init;
mod journal;
mod keyring;
mod keys_db;
mod ledger;
mod lockfile;
mod locks;
mod logs;
mod look;
mod moments;
mod objects;
mod permissions;
mod pointer;
mod process;
mod publishing;
mod reading;
mod receiving;
mod recovery;
mod repo;
mod scribe;
mod seeking;
mod settings;
mod site;
mod step;
mod trace;
mod transfer;
mod watching;
mod work_tree;

pub use branch::Merged;
pub use check::{CheckOptions, Event, Finding, Outcome, Problem, Progress, check};
pub use files::ScratchFile;
pub use init::{InitOptions, create};
pub use ledger::{SpecialRemotes, SpecialSettings, Unreliable};
pub use look::Look;
pub use publishing::Notice;
pub use repo::{Repo, Surroundings};
pub use seeking::{Ended, Sought, Visitor, Wanted};
pub use settings::{
    Glimpse, Identity, Jobs, Location, OpenError, Remote, Remotes, identify, peek, read_size,
};
#[cfg(feature = "crash-points")]
pub use step::{CRASH_POINTS, faults};
pub use watching::References;
