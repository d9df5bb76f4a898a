//! `gannet matches`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use gannet_cluster::wanted::{Outcome, Question, explain};
use gannet_core::{AssociatedFile, Key, Uuid};
use gannet_repo::Look;

use super::Failure;

/// What `gannet matches` is told.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Matches {
    /// The repository that knows: its git-annex branch is read, and nothing in it is changed.
    #[arg(value_name = "REPO")]
    path: PathBuf,
    /// An expression of preferred content; an empty one stands for what is configured.
    #[arg(value_name = "EXPRESSION")]
    expression: String,
    /// A key, or a file in the work tree of the repository.
    #[arg(value_name = "KEY|FILE")]
    content: OsString,
    /// Who would want it: a repository that REPO knows of. REPO itself if not given.
    #[arg(long, value_name = "UUID", value_parser = uuid)]
    by: Option<Uuid>,
    /// Ask as if the content were gone there already: what is not wanted then may be dropped.
    #[arg(long)]
    gone: bool,
}

impl Matches {
    /// Explains.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let cannot = || format!("cannot look at `{}`", self.path.display());
        let failed = |error| Failure::doing(cannot(), &error).grave();
        let look =
            Look::at(&self.path).map_err(|error| Failure::doing(cannot(), &error).grave())?;
        let (key, file) = self.content(&look)?;
        let facts = look.facts(&key, &file).map_err(failed)?;
        let sizes = match facts.book.max_sizes.is_empty() {
            true => BTreeMap::new(),
            false => look.sizes().map_err(failed)?,
        };
        let question = Question {
            repository: self.by.as_ref().unwrap_or(look.uuid()),
            key: &key,
            file: &file,
            facts: &facts,
            sizes: &sizes,
            gone: self.gone,
        };
        let expression = (!self.expression.is_empty()).then_some(&*self.expression);
        let explained = explain(&question, expression);
        let mut out = std::io::stdout();
        write!(out, "{explained}")
            .and_then(|()| out.flush())
            .map_err(|error| Failure::doing("cannot print", &error).grave())?;
        let unusable = |outcome: &Outcome| matches!(outcome, Outcome::Unusable(_));
        Ok(match explained.wanted {
            _ if explained.parts.iter().any(|part| unusable(&part.outcome)) => ExitCode::from(2),
            Some(true) => ExitCode::SUCCESS,
            Some(false) | None => ExitCode::FAILURE,
        })
    }

    /// A file is what it seems to be; what is none may be a key.
    fn content(&self, look: &Look) -> Result<(Key, AssociatedFile), Failure> {
        let name = Path::new(&self.content);
        let found = look
            .key_of_file(name)
            .map_err(|error| Failure::doing("cannot read a file", &error).grave())?;
        found
            .or_else(|| {
                Some((Key::parse(self.content.as_bytes()).ok()?, AssociatedFile::default()))
            })
            .ok_or_else(|| {
                Failure::Unknown(format!(
                    "`{}` is no key, and no annexed file of the work tree that tells its key",
                    name.display()
                ))
            })
    }
}

fn uuid(text: &str) -> Result<Uuid, String> {
    Uuid::parse(text.as_bytes()).map_err(|error| error.to_string())
}

const AFTER: &str = "\
Each term of the expression is on a line of its own: `+` if it holds, `-` if not, neither if it makes \
no difference any more. Terms that stand for other expressions have theirs below them.

Exit codes:
  0  it is wanted
  1  it is not, or nothing is configured
  2  the expression cannot be used, or the question not be answered";
