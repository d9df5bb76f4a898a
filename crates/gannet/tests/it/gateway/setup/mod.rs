//! Proxies and clusters that Gannet sets up itself, beside what git-annex makes of the same.

mod alike;
mod status;
mod used;
