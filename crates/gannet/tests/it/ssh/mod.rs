//! `gannet shell` in the place of git-annex-shell, by itself and behind a real sshd.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::harness::World;
use crate::harness::server::GANNET;

mod clients;
mod commands;
pub(crate) mod endings;
mod pushes;
mod recipes;
mod rsync;
pub(crate) mod sshd;
pub(crate) mod talk;

/// Whose `git-annex-shell` it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Gannet,
    Reference,
}

/// Returns a directory whose `git-annex-shell` is the one wanted.
pub(crate) fn programs(world: &World, which: Which) -> PathBuf {
    match which {
        Which::Reference => world.join("bin"),
        Which::Gannet => {
            let dir = world.join("gannet-bin");
            if !dir.exists() {
                fs::create_dir(&dir).expect("make a directory of programs");
                symlink(GANNET, dir.join("git-annex-shell")).expect("link to gannet");
                symlink(GANNET, dir.join("gannet")).expect("link to gannet");
            }
            dir
        }
    }
}
