//! The map in ARCHITECTURE.md: every source file, with a line that says what it is for.
//!
//! The map is the first block that is fenced as `text` after a line `## Map`. A line without
//! indentation names a directory; the indented lines below it name files in it, or with a `/` at
//! the end whole directories. What follows the name is for people.

use std::collections::BTreeSet;

use super::Offence;
use super::tree::Tree;
use super::workspace::Package;

/// The file that holds the map.
pub(super) const FILE: &str = "ARCHITECTURE.md";

/// Finds files that are not on the map, and names on the map that are no files.
pub(super) fn check(tree: &Tree, packages: &[Package]) -> Vec<Offence> {
    let Some((_, drawn, _)) = split(tree.text(FILE)) else {
        return vec![Offence::new(FILE, "has no map")];
    };
    let mut offences = Vec::new();
    let mut on_map = BTreeSet::new();
    for path in named(drawn).into_iter().filter_map(|(_, path)| path) {
        if !exists(tree, &path) {
            offences.push(Offence::new(FILE, format!("the map names {path}, which is not there")));
        }
        if !on_map.insert(path.clone()) {
            offences.push(Offence::new(FILE, format!("the map names {path} twice")));
        }
    }
    for file in sources(tree, packages) {
        if !on_map.iter().any(|path| covers(path, file)) {
            let what = "is not on the map in ARCHITECTURE.md; `cargo xtask map` adds it";
            offences.push(Offence::new(file, what));
        }
    }
    offences
}

/// ARCHITECTURE.md with a map that is true again.
///
/// New files stand last in their room, with the first sentence of their `//!` comment. `None` if
/// there is no map, or a room is missing on it.
pub(super) fn redrawn(tree: &Tree, packages: &[Package]) -> Option<String> {
    let (before, drawn, after) = split(tree.text(FILE))?;
    let lines = named(drawn);
    let on_map: BTreeSet<&str> = lines.iter().filter_map(|(_, path)| path.as_deref()).collect();
    let missing: Vec<&str> = sources(tree, packages)
        .filter(|file| !on_map.iter().any(|path| covers(path, file)))
        .collect();
    let mut rooms: Vec<(&str, Vec<String>)> = Vec::new();
    for (line, path) in &lines {
        match path {
            None => rooms.push((line, Vec::new())),
            Some(path) if exists(tree, path) => rooms.last_mut()?.1.push((*line).to_owned()),
            Some(_) => {}
        }
    }
    for file in missing {
        let dir = format!("{}src/", file.split("src/").next()?);
        let line = format!("  {:<27} {}", file.strip_prefix(&dir)?, purpose(tree.text(file)));
        let line = line.trim_end().to_owned();
        match rooms.iter_mut().find(|(head, _)| head.split_whitespace().next() == Some(&dir)) {
            Some((_, lines)) => lines.push(line),
            None => return None,
        }
    }
    let lines = rooms
        .iter()
        .flat_map(|(head, lines)| std::iter::once(*head).chain(lines.iter().map(String::as_str)));
    let map: String = lines.flat_map(|line| [line, "\n"]).collect();
    Some(format!("{before}{map}{after}"))
}

/// What is before, in and after the map.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let heading = text.find("\n## Map\n")?;
    let start = heading + text[heading..].find(OPEN)? + OPEN.len();
    let end = start + text[start..].find("```")?;
    Some((&text[..start], &text[start..end], &text[end..]))
}

/// The lines of a map, and which path each names; a line that opens a room names none.
fn named(map: &str) -> Vec<(&str, Option<String>)> {
    let mut dir = "";
    let mut lines = Vec::new();
    for line in map.lines() {
        let Some(word) = line.split_whitespace().next() else { continue };
        if line.starts_with(' ') {
            lines.push((line, Some(format!("{dir}{word}"))));
        } else {
            dir = word;
            lines.push((line, None));
        }
    }
    lines
}

fn sources<'a>(tree: &'a Tree, packages: &'a [Package]) -> impl Iterator<Item = &'a str> {
    let all = packages.iter().flat_map(|package| tree.rust_below(&package.dir));
    all.filter(|path| path.contains("/src/"))
}

fn exists(tree: &Tree, path: &str) -> bool {
    tree.files.contains_key(path) || (path.ends_with('/') && tree.rust_below(path).next().is_some())
}

fn covers(on_map: &str, file: &str) -> bool {
    on_map == file || (on_map.ends_with('/') && file.starts_with(on_map))
}

/// The first sentence of a file's own comment, without its full stop.
fn purpose(text: &str) -> String {
    let comment: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let comment = comment.join(" ");
    let sentence = comment.split(". ").next().unwrap_or_default().trim_end_matches('.');
    // Where in the specification to look is of interest in the file only.
    let reference = sentence.ends_with(')').then(|| sentence.rfind(" (")).flatten();
    reference.map_or(sentence, |at| &sentence[..at]).to_owned()
}

const OPEN: &str = "```text\n";

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "# House\n\n## Map\n\n```text\ncrates/a/src/   the a\n  lib.rs   opens\n  \
                       deep/    deeper\n```\n\nEnd.\n";

    fn tree(map: &str, more: &[(&str, &str)]) -> Tree {
        let mut files = vec![(FILE, map), ("crates/a/src/lib.rs", ""), ("crates/a/Cargo.toml", "")];
        files.extend([("crates/a/src/deep/x.rs", ""), ("crates/a/tests/t.rs", "")]);
        files.extend(more);
        Tree::of(&files)
    }

    fn packages() -> [Package; 1] {
        [Package {
            name: "a".to_owned(),
            dir: "crates/a/".to_owned(),
            dependencies: Vec::new(),
            roots: Vec::new(),
        }]
    }

    #[test]
    fn a_true_map_is_left_alone() {
        let tree = tree(MAP, &[]);
        assert_eq!(check(&tree, &packages()), []);
        assert_eq!(redrawn(&tree, &packages()).as_deref(), Some(MAP));
    }

    #[test]
    fn a_stale_map_is_found() {
        let grown = tree(MAP, &[("crates/a/src/new.rs", "")]);
        let places: Vec<_> = check(&grown, &packages()).into_iter().map(|it| it.place).collect();
        assert_eq!(places, ["crates/a/src/new.rs"]);

        let shrunk = tree(&MAP.replace("lib.rs", "bil.rs"), &[]);
        let offences = check(&shrunk, &packages());
        let gone = Offence::new(FILE, "the map names crates/a/src/bil.rs, which is not there");
        assert!(offences.contains(&gone), "{offences:?}");
        assert_eq!(offences.len(), 2, "{offences:?}");

        let twice = tree(&MAP.replace("  lib.rs", "  lib.rs  once\n  lib.rs"), &[]);
        assert_eq!(check(&twice, &packages()).len(), 1);
        assert_eq!(check(&tree("", &[]), &packages()).len(), 1);
    }

    #[test]
    fn a_map_is_redrawn() {
        let text = "//! Catches fish (repository §9). And\n//! more.\n";
        let tree = tree(&MAP.replace("lib.rs", "bil.rs"), &[("crates/a/src/catch.rs", text)]);
        let redrawn = redrawn(&tree, &packages()).unwrap();
        let expected = "crates/a/src/   the a\n  deep/    deeper\n  \
                        catch.rs                    Catches fish\n  lib.rs\n```\n\nEnd.\n";
        assert!(redrawn.ends_with(expected), "{redrawn}");
    }
}
