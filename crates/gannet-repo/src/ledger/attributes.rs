//! How many copies of a file there shall be, if `.gitattributes` says so.
//!
//! The files are those of the commit that is checked out, or that a bare repository would have
//! checked out: names of files come from whoever asks, and nothing on the disk is opened by them.

use gannet_core::{AssociatedFile, Result};
use gix::bstr::ByteSlice;
use gix::glob::Pattern;
use gix::glob::pattern::Case;
use gix::glob::wildmatch::Mode;

use crate::durable::read_if_exists;
use crate::git::{Found, Session};
use crate::logs::forms::words;
use crate::logs::location::lines;
use crate::settings::Settings;

/// What the attribute `annex.numcopies` of a file says. Of several lines that match the last one
/// counts, of the deepest directory; what `info/attributes` says counts more than all of them.
///
/// # Errors
/// When an object is missing or broken.
pub(super) fn numcopies(
    settings: &Settings,
    session: &Session,
    file: &AssociatedFile,
) -> Result<Option<u64>> {
    let path: &[u8] = &file.0;
    if path.is_empty() {
        return Ok(None);
    }
    let mut said = Said::default();
    if let Some(head) = session.head()? {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for start in std::iter::once(0).chain(slashes.map(|(at, _)| at + 1)) {
            let attributes = [&path[..start], b".gitattributes"].concat();
            if let Found::Blob(text) = session.find(head, &attributes)? {
                said.hear(&text, &path[start..]);
            }
        }
    }
    if let Some(text) = read_if_exists(&settings.place.common_dir.join("info/attributes"))? {
        said.hear(&text, path);
    }
    Ok(said.numcopies)
}

#[derive(Default)]
struct Said {
    numcopies: Option<u64>,
}

impl Said {
    /// Takes a file of attributes into account; `path` is relative to where it is.
    fn hear(&mut self, text: &[u8], path: &[u8]) {
        for line in lines(text) {
            let mut words = words(line);
            let Some(pattern) = words.next().filter(|word| !word.starts_with(b"#")) else {
                continue;
            };
            for word in words {
                let value = word.strip_prefix(b"annex.numcopies=");
                let unset = matches!(word, b"-annex.numcopies" | b"!annex.numcopies");
                if (value.is_some() || unset) && matches(pattern, path) {
                    let number = value.and_then(|value| std::str::from_utf8(value).ok());
                    self.numcopies = number.and_then(|number| number.parse().ok());
                }
            }
        }
    }
}

fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let name = path.iter().rposition(|&byte| byte == b'/').map(|slash| slash + 1);
    Pattern::from_bytes_without_negation(pattern).is_some_and(|pattern| {
        let mode = Mode::NO_MATCH_SLASH_LITERAL;
        pattern.matches_repo_relative_path(path.as_bstr(), name, Some(false), Case::Sensitive, mode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::scratch::Scratch;

    #[test]
    fn the_deepest_last_line_that_matches_counts() {
        let scratch = Scratch::new(true);
        let blob = |text: &str| {
            let file = scratch.path.join("text");
            std::fs::write(&file, text).unwrap();
            scratch.run(&["hash-object", "-w", "text"])
        };
        let index = |path: &str, blob: &str| {
            scratch.run(&[
                "update-index",
                "--add",
                "--cacheinfo",
                &format!("100644,{blob},{path}"),
            ]);
        };
        index(
            ".gitattributes",
            &blob(
                "# comment\n* annex.numcopies=2\n*.mp3 annex.backend=X annex.numcopies=3\n/top annex.numcopies=4\n\
             d/**/x annex.numcopies=5\n*.tmp !annex.numcopies\n*.odd annex.numcopies=many\n",
            ),
        );
        index("d/.gitattributes", &blob("*.mp3 annex.numcopies=7\n"));
        let tree = scratch.run(&["write-tree"]);
        let commit = scratch.run(&["commit-tree", &tree, "-m", "attributes"]);
        let head = scratch.run(&["symbolic-ref", "HEAD"]);
        let settings = scratch.settings();
        let ask = |path: &str| {
            let file = AssociatedFile(path.to_owned().into());
            numcopies(&settings, &scratch.git.session().unwrap(), &file).unwrap()
        };
        assert_eq!(ask("a"), None);
        scratch.run(&["update-ref", &head, &commit]);
        for (path, expected) in [
            ("", None),
            ("a", Some(2)),
            ("d/a", Some(2)),
            ("a.mp3", Some(3)),
            ("e/a.mp3", Some(3)),
            ("d/a.mp3", Some(7)),
            ("d/e/a.mp3", Some(7)),
            ("top", Some(4)),
            ("d/top", Some(2)),
            ("d/e/f/x", Some(5)),
            ("a.tmp", None),
            ("a.odd", None),
            ("../d/a.mp3", Some(3)),
        ] {
            assert_eq!(ask(path), expected, "{path}");
        }
        let info = scratch.path.join("info");
        std::fs::create_dir_all(&info).unwrap();
        std::fs::write(info.join("attributes"), "*.mp3 annex.numcopies=9\n").unwrap();
        assert_eq!((ask("d/a.mp3"), ask("a")), (Some(9), Some(2)));
    }
}
