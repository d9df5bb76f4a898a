//! The text files of the project, in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::run::Result;

/// Paths from the root, separated by `/`, and the text of each file.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the tree below `root`. Files that are not UTF-8, or have more than a mebibyte, are
    /// recordings, and left out.
    ///
    /// # Errors
    /// When something cannot be read.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.add(root, "")?;
        Ok(tree)
    }

    /// The text of a file; empty if there is none.
    pub(super) fn text(&self, path: &str) -> &str {
        self.files.get(path).map_or("", String::as_str)
    }

    /// Paths of the Rust files below a directory, which is written with a `/` at its end.
    pub(super) fn rust_below<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = &'a str> {
        let paths = self.files.keys().map(String::as_str);
        paths.filter(move |path| path.starts_with(dir) && path.ends_with(".rs"))
    }

    fn add(&mut self, dir: &Path, prefix: &str) -> Result {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{prefix}{name}");
            if SKIPPED.contains(&path.as_str()) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.add(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file()
                && entry.metadata()?.len() <= TEXT_BYTES_MAX
                && let Ok(text) = String::from_utf8(fs::read(entry.path())?)
            {
                self.files.insert(path, text);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Tree {
    /// A tree that consists of these files.
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let owned = files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned()));
        Self { files: owned.collect() }
    }
}

const SKIPPED: [&str; 2] = ["target", ".git"];
const TEXT_BYTES_MAX: u64 = 1 << 20;
