//! The formats of files in the git-annex branch, one module for each (repository §7, §8).

pub(crate) mod chunks;
pub(crate) mod cluster;
pub(crate) mod copies;
pub(crate) mod equivalent;
pub(crate) mod forms;
pub(crate) mod group;
pub(crate) mod location;
pub(crate) mod maxsize;
pub(crate) mod metadata;
pub(crate) mod proxy;
pub(crate) mod remote;
pub(crate) mod state;
pub(crate) mod trust;
pub(crate) mod uuid;
pub(crate) mod web;
pub(crate) mod wishes;
