//! Scenarios with the real git-annex client.
//!
//! Every scenario can be judged itself: with `GANNET_IT_SERVER=reference` the real
//! `git annex p2phttp` takes the place of Gannet, and what it does not pass either is a mistake of
//! the scenario, or a bug of the reference that the scenario names.

mod branch;
mod credentials;
mod dropping;
mod files;
mod interrupted;
mod journeys;
mod kills;
mod kinds_of_repository;
mod matrix;
mod old_versions;
mod parties;
mod readme;
pub(crate) mod relay;
mod scenarios;
mod scene;
mod scrub;
mod selfcare;
mod soak;
pub(crate) mod testremote;
mod thing;
mod together;
mod tree;
mod unlocked;

pub(crate) use scene::{clone, objects_in};
