//! Files that must be there, and files that are there for nothing.

use super::Offence;
use super::tree::Tree;
use super::workspace::Package;

/// Finds missing licences, crates without the workspace's lints, and modules that nobody names.
pub(super) fn check(tree: &Tree, packages: &[Package]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (file, words) in LICENCES {
        if !tree.text(file).contains(words) {
            offences.push(Offence::new(file, "is missing, or another text"));
        }
    }
    for package in packages {
        let manifest = format!("{}Cargo.toml", package.dir);
        let text = tree.text(&manifest);
        if !text.contains("\n[lints]\nworkspace = true\n") {
            offences.push(Offence::new(&manifest, "has no lints.workspace = true"));
        }
        if !text.contains("\nlicense.workspace = true\n") {
            offences.push(Offence::new(&manifest, "has no license.workspace = true"));
        }
        for file in tree.rust_below(&package.dir) {
            if !package.roots.iter().any(|root| root == file) && !is_named(tree, package, file) {
                let what = "is never compiled: no target and no `mod` names it";
                offences.push(Offence::new(file, what));
            }
        }
    }
    offences
}

/// Tells whether a file that may name `file` as a module does so.
fn is_named(tree: &Tree, package: &Package, file: &str) -> bool {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let Some((dir, name)) = path.rsplit_once('/') else { return false };
    let in_file = |file: &str| {
        let mut lines = tree.text(file).lines().map(str::trim);
        lines.any(|line| {
            let visible = VISIBILITIES.iter().find_map(|it| line.strip_prefix(it));
            let line = visible.unwrap_or(line).strip_prefix("mod ");
            line.and_then(|line| line.strip_prefix(name)).is_some_and(|end| end.starts_with(';'))
        })
    };
    // The root of a target names the files beside it; any other file those in its directory.
    let root_beside = |root: &String| root.rsplit_once('/').is_some_and(|it| it.0 == dir);
    in_file(&format!("{dir}.rs"))
        || in_file(&format!("{dir}/mod.rs"))
        || package.roots.iter().filter(|root| root_beside(root)).any(|root| in_file(root))
}

const VISIBILITIES: [&str; 3] = ["pub ", "pub(crate) ", "pub(super) "];

const LICENCES: [(&str, &str); 2] =
    [("LICENSE-MIT", "The Gannet contributors"), ("LICENSE-APACHE", "Version 2.0, January 2004")];

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[package]\nlicense.workspace = true\n\n[lints]\nworkspace = true\n";

    fn tree(more: &[(&str, &str)]) -> Tree {
        let mut files = vec![
            ("LICENSE-MIT", "The Gannet contributors"),
            ("LICENSE-APACHE", "Version 2.0, January 2004"),
            ("crates/a/Cargo.toml", MANIFEST),
            ("crates/a/src/lib.rs", "pub mod b;\nmod c;\n"),
            ("crates/a/src/b.rs", "pub(crate) mod d;"),
            ("crates/a/src/b/d.rs", ""),
            ("crates/a/src/c/mod.rs", ""),
            ("crates/a/tests/it/main.rs", "mod one;\n#[cfg(unix)]\nmod two;\n"),
            ("crates/a/tests/it/one.rs", ""),
            ("crates/a/tests/it/two.rs", ""),
        ];
        files.extend(more);
        Tree::of(&files)
    }

    fn offenders(tree: &Tree) -> Vec<String> {
        let package = Package {
            name: "a".to_owned(),
            dir: "crates/a/".to_owned(),
            dependencies: Vec::new(),
            roots: vec!["crates/a/src/lib.rs".into(), "crates/a/tests/it/main.rs".into()],
        };
        check(tree, &[package]).into_iter().map(|it| it.place).collect()
    }

    #[test]
    fn an_orderly_crate_is_left_alone() {
        assert_eq!(offenders(&tree(&[])), [""; 0]);
    }

    #[test]
    fn a_forgotten_test_is_found() {
        let forgotten = "crates/a/tests/it/three.rs";
        assert_eq!(offenders(&tree(&[(forgotten, "")])), [forgotten]);
        // A comment does not compile it, nor does a module of the same name elsewhere.
        let main = ("crates/a/tests/it/main.rs", "mod one;\nmod two;\n// mod three;\n");
        let lib = ("crates/a/src/lib.rs", "pub mod b;\nmod c;\nmod three;\n");
        assert_eq!(offenders(&tree(&[(forgotten, ""), main, lib])), [forgotten]);
    }

    #[test]
    fn a_forgotten_source_is_found() {
        assert_eq!(offenders(&tree(&[("crates/a/src/e.rs", "")])), ["crates/a/src/e.rs"]);
        assert_eq!(offenders(&tree(&[("crates/a/src/b/e.rs", "")])), ["crates/a/src/b/e.rs"]);
    }

    #[test]
    fn licences_and_lints_must_be_there() {
        assert_eq!(offenders(&tree(&[("LICENSE-MIT", "")])), ["LICENSE-MIT"]);
        let bare = [("crates/a/Cargo.toml", "[package]\n")];
        assert_eq!(offenders(&tree(&bare)), ["crates/a/Cargo.toml", "crates/a/Cargo.toml"]);
    }
}
