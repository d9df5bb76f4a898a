//! The house rules that a machine can check.
//!
//! Each rule is a plain function from the [`Tree`] to what offends it, so that the tests can show
//! that it is able to fail.

use std::fmt;
use std::fs;

use crate::run::{Result, cargo, output, root};
use tree::Tree;
use workspace::Package;

mod files;
mod map;
mod tree;
mod walls;
mod words;
mod workspace;

/// Checks the whole tree and prints what offends.
///
/// # Errors
/// When something does.
pub(crate) fn check() -> Result {
    let packages = packages()?;
    let tree = Tree::read(&root()?)?;
    let mut offences = walls::check(&packages);
    offences.extend(map::check(&tree, &packages));
    offences.extend(words::check(&tree));
    offences.extend(files::check(&tree, &packages));
    for offence in &offences {
        eprintln!("{offence}");
    }
    match offences.len() {
        0 => Ok(()),
        count => Err(format!("the house is not tidy: {count} to put right").into()),
    }
}

/// Adds new files to the map in ARCHITECTURE.md, and takes vanished ones away.
///
/// # Errors
/// When there is no map to add to, or it cannot be written.
pub(crate) fn redraw_map() -> Result {
    let packages = packages()?;
    let tree = Tree::read(&root()?)?;
    let text = map::redrawn(&tree, &packages)
        .ok_or("ARCHITECTURE.md has no map, or a room is missing on it")?;
    Ok(fs::write(root()?.join(map::FILE), text)?)
}

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Offence {
    /// File and perhaps line, from the root of the tree.
    place: String,
    what: String,
}

impl Offence {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

fn packages() -> Result<Vec<Package>> {
    let metadata = output(cargo()?.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    workspace::read(&metadata)
}
