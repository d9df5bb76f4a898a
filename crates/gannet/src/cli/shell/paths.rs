//! Directories as clients name them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Uid, User};

/// Where a directory is that a client named: relative to the home, below `~` or `/~`, or below the
/// home of another user, `~user` or `/~user`.
pub(super) fn expand(dir: &OsStr) -> PathBuf {
    let bytes = dir.as_bytes();
    let Some(rest) = bytes.strip_prefix(b"/~").or_else(|| bytes.strip_prefix(b"~")) else {
        return home().join(dir);
    };
    let (user, below) = match rest.iter().position(|&byte| byte == b'/') {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (rest, &rest[rest.len()..]),
    };
    let start = match user {
        b"" => Some(home()),
        user => std::str::from_utf8(user).ok().and_then(home_of),
    };
    match start {
        // An absolute path would lead away.
        Some(start) => start.join(OsStr::from_bytes(without_slashes(below))),
        None => PathBuf::from(dir),
    }
}

/// The path without `.` and `..`, as if there were no symlinks.
pub(super) fn normalised(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            component => result.push(component),
        }
    }
    result
}

/// The same path with `.git` at its end.
pub(super) fn with_dot_git(path: &Path) -> PathBuf {
    let mut name = OsString::from(normalised(path));
    name.push(".git");
    PathBuf::from(name)
}

fn home() -> PathBuf {
    let of_user = || User::from_uid(Uid::effective()).ok().flatten().map(|user| user.dir);
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    home.or_else(of_user).unwrap_or_else(|| PathBuf::from("/"))
}

fn home_of(user: &str) -> Option<PathBuf> {
    User::from_name(user).ok().flatten().map(|user| user.dir)
}

fn without_slashes(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    &path[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_relative_to_homes() {
        let cases = [("x/y", "x/y"), ("~/x", "x"), ("/~/x", "x"), ("~", ""), ("/~//x", "x")];
        for (dir, below) in cases {
            assert_eq!(expand(dir.as_ref()), home().join(below), "{dir}");
        }
        assert_eq!(expand("/x".as_ref()), Path::new("/x"));
        assert_eq!(expand("/~root/x".as_ref()), home_of("root").unwrap().join("x"));
        assert_eq!(expand("~nobody such/x".as_ref()), Path::new("~nobody such/x"));
    }

    #[test]
    fn paths_are_compared_without_dots() {
        for (path, plain) in [("/a/./b/", "/a/b"), ("/a/../b", "/b"), ("/../b", "/b")] {
            assert_eq!(normalised(path.as_ref()), Path::new(plain));
        }
        assert_eq!(with_dot_git("/a/b/".as_ref()), Path::new("/a/b.git"));
    }
}
