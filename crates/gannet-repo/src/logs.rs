//! The formats of files in the git-annex branch, one module for each (repository §7, §8).

pub(crate) mod equivalent;
pub(crate) mod location;
pub(crate) mod uuid;
