//! Finds git repositories below a directory.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::scouts::Scouts;

/// What a walk comes across.
pub(super) enum Sight<'a> {
    /// Something that looks like a git repository, with or without a work tree.
    Repository(&'a Path),
    /// A directory that cannot be looked into.
    Unreadable(&'a Path, io::Error),
}

/// Directories that were walked already, by device and inode.
pub(super) type Visited = HashSet<(u64, u64)>;

/// Walks all that is below `root`, itself included, in the order of paths.
///
/// Goes into work trees, for what may be nested in them, but not into `.git` nor into bare
/// repositories. Follows symbolic links to directories, once, and none inside work trees: these
/// are full of links that git-annex made, and others may commit what they like to them.
///
/// Directories on a disk that does not answer are unreadable.
pub(super) fn walk(
    root: &Path,
    visited: &mut Visited,
    scouts: &mut Scouts,
    mut see: impl FnMut(&mut Scouts, Sight<'_>),
) {
    let mut to_see = vec![(root.to_owned(), false)];
    while let Some((path, in_work_tree)) = to_see.pop() {
        let there = path.clone();
        let looked = scouts.send(&path, move || look_into(&there, in_work_tree));
        let room = match looked.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())) {
            Ok(room) => room,
            Err(error) => {
                see(scouts, Sight::Unreadable(&path, error));
                continue;
            }
        };
        if room.identity.is_some_and(|identity| !visited.insert(identity)) {
            continue;
        }
        if room.is_repository {
            see(scouts, Sight::Repository(&path));
        }
        let in_work_tree = in_work_tree || room.is_work_tree;
        to_see.extend(room.below.into_iter().rev().map(|path| (path, in_work_tree)));
    }
}

/// A directory, seen from inside.
struct Room {
    /// Device and inode, unless it is inside a work tree: no way leads there twice.
    identity: Option<(u64, u64)>,
    is_repository: bool,
    is_work_tree: bool,
    /// The directories to go into, in order.
    below: Vec<PathBuf>,
}

fn look_into(path: &Path, in_work_tree: bool) -> io::Result<Room> {
    let identity = match in_work_tree {
        true => None,
        false => {
            let metadata = fs::metadata(path)?;
            Some((metadata.dev(), metadata.ino()))
        }
    };
    let listing = list(path)?;
    let (is_work_tree, is_bare) = (listing.has_dot_git, listing.is_bare());
    let below = match is_work_tree || !is_bare {
        true => listing.below(path, !in_work_tree && !is_work_tree),
        false => Vec::new(),
    };
    Ok(Room { identity, is_repository: is_work_tree || is_bare, is_work_tree, below })
}

/// The innermost directory around `start`, itself included, that looks like a git repository.
pub(crate) fn repository_around(start: &Path) -> Option<&Path> {
    let looks_like_one = |path: &Path| list(path).is_ok_and(|it| it.has_dot_git || it.is_bare());
    start.ancestors().find(|path| looks_like_one(path))
}

#[derive(Default)]
struct Listing {
    directories: Vec<OsString>,
    links: Vec<OsString>,
    has_dot_git: bool,
    has_head: bool,
    has_objects: bool,
    has_refs: bool,
}

impl Listing {
    fn is_bare(&self) -> bool {
        self.has_head && self.has_objects && self.has_refs
    }

    /// The directories to go into, in order.
    fn below(self, path: &Path, follow_links: bool) -> Vec<PathBuf> {
        let mut below: Vec<PathBuf> =
            self.directories.into_iter().map(|name| path.join(name)).collect();
        if follow_links {
            let links = self.links.into_iter().map(|name| path.join(name));
            below.extend(links.filter(|link| link.is_dir()));
        }
        below.sort_unstable();
        below
    }
}

fn list(path: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == OsStr::new(".git") {
            listing.has_dot_git = true;
            continue;
        }
        listing.has_head |= name == OsStr::new("HEAD");
        listing.has_objects |= name == OsStr::new("objects");
        listing.has_refs |= name == OsStr::new("refs");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            listing.directories.push(name);
        } else if kind.is_symlink() {
            listing.links.push(name);
        }
    }
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn repositories(root: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(root, &mut Visited::new(), &mut Scouts::default(), |_, sight| match sight {
            Sight::Repository(path) => found.push(path.strip_prefix(root).unwrap().to_owned()),
            Sight::Unreadable(path, error) => panic!("{}: {error}", path.display()),
        });
        found
    }

    fn bare(path: &Path) {
        for name in ["objects", "refs", "annex"] {
            fs::create_dir_all(path.join(name)).unwrap();
        }
        fs::write(path.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    }

    #[test]
    fn repositories_are_found_at_any_depth_and_in_order() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        bare(&at("b/c/d/e.git"));
        bare(&at("a-b"));
        bare(&at("a/x"));
        fs::create_dir_all(at("work/.git/annex")).unwrap();
        bare(&at("work/.git/modules/hidden"));
        bare(&at("work/sub/nested"));
        fs::create_dir_all(at("tree")).unwrap();
        fs::write(at("tree/.git"), "gitdir: ../work/.git/worktrees/tree\n").unwrap();
        bare(&at("b/c/d/e.git/annex/inside"));
        let expected: Vec<PathBuf> =
            ["a/x", "a-b", "b/c/d/e.git", "tree", "work", "work/sub/nested"]
                .map(PathBuf::from)
                .to_vec();
        assert_eq!(repositories(root.path()), expected);
        assert!(expected.is_sorted(), "the order of paths");
    }

    #[test]
    fn links_are_followed_once_and_never_out_of_a_work_tree() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        bare(&elsewhere.path().join("far"));
        bare(&elsewhere.path().join("secret/repo"));
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("dir/deeper")).unwrap();
        symlink(root.path(), at("dir/deeper/loop")).unwrap();
        symlink("self", at("self")).unwrap();
        symlink(elsewhere.path().join("far"), at("dir/one")).unwrap();
        symlink(elsewhere.path().join("far"), at("dir/two")).unwrap();
        fs::create_dir_all(at("work/.git")).unwrap();
        symlink(elsewhere.path().join("secret"), at("work/link")).unwrap();
        let expected = ["dir/one", "work"].map(PathBuf::from);
        assert_eq!(repositories(root.path()), expected);
    }

    #[test]
    fn what_cannot_be_read_is_told_and_passed_by() {
        let root = tempfile::tempdir().unwrap();
        bare(&root.path().join("repo"));
        let mut told = Vec::new();
        for path in [root.path().join("absent"), root.path().to_owned()] {
            walk(&path, &mut Visited::new(), &mut Scouts::default(), |_, sight| match sight {
                Sight::Repository(path) => told.push(("repository", path.to_owned())),
                Sight::Unreadable(path, _) => told.push(("unreadable", path.to_owned())),
            });
        }
        let expected =
            [("unreadable", root.path().join("absent")), ("repository", root.path().join("repo"))];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_repository_around_a_directory_is_the_innermost() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("outer/inner/some/where");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(root.path().join("outer/.git")).unwrap();
        fs::write(root.path().join("outer/inner/.git"), "gitdir: x\n").unwrap();
        assert_eq!(repository_around(&deep), Some(&*root.path().join("outer/inner")));
        let outer = root.path().join("outer");
        assert_eq!(repository_around(&outer), Some(&*outer));
    }
}
