//! `gannet check`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use gannet_repo::{CheckOptions, Event, Finding, Outcome, Progress};

use super::Failure;
use crate::clock::SystemClock;

/// What `gannet check` is told.
#[derive(Debug, Args)]
#[command(after_help = EXPLANATION)]
pub(crate) struct Check {
    /// The repository.
    #[arg(value_name = "REPO")]
    path: PathBuf,
    /// Mend what is safe to mend. Without this nothing in the repository is changed.
    #[arg(long)]
    repair: bool,
    /// Print findings as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Checks, and prints what is wrong.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let options = CheckOptions { repair: self.repair, ..CheckOptions::default() };
        let mut report = Report::new(self.json);
        let checked = gannet_repo::check(
            &self.path,
            Arc::new(SystemClock),
            options,
            &mut |event| match event {
                Event::Found(finding) => report.print(finding),
                Event::At(progress) => report.show(progress),
            },
        );
        let cannot = || format!("cannot check `{}`", self.path.display());
        let progress = checked.map_err(|error| Failure::doing(cannot(), &error).grave())?;
        report.finish(progress).map_err(|error| Failure::doing(cannot(), &error).grave())?;
        Ok(if progress.found == progress.mended { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Findings on standard output, progress on standard error if that is a terminal.
struct Report {
    json: bool,
    terminal: bool,
    shown: u64,
    failed: Option<std::io::Error>,
}

impl Report {
    fn new(json: bool) -> Self {
        Self { json, terminal: std::io::stderr().is_terminal(), shown: 0, failed: None }
    }

    fn print(&mut self, finding: &Finding) {
        self.clear();
        let line = if self.json { as_json(finding) } else { as_text(finding) };
        if let Err(error) = writeln!(std::io::stdout(), "{line}") {
            self.failed.get_or_insert(error);
        }
    }

    fn show(&mut self, progress: Progress) {
        let done = progress.objects + progress.logs;
        if self.terminal && done >= self.shown + SHOWN_EVERY {
            self.shown = done;
            let Progress { objects, logs, found, .. } = progress;
            eprint!("\r\x1b[K{objects} objects, {logs} logs, {found} found");
        }
    }

    fn clear(&self) {
        if self.terminal && self.shown > 0 {
            eprint!("\r\x1b[K");
        }
    }

    fn finish(self, progress: Progress) -> std::io::Result<()> {
        self.clear();
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Progress { objects, found, mended, .. } = progress;
        if !self.json {
            writeln!(std::io::stdout(), "{objects} objects: {found} found, {mended} mended")?;
        }
        std::io::stdout().flush()
    }
}

fn as_text(finding: &Finding) -> String {
    let outcome = match &finding.outcome {
        Outcome::Mended => " [mended]".to_owned(),
        Outcome::Left(Some(why)) => format!(" [left: {why}]"),
        Outcome::Left(None) => String::new(),
    };
    // Names are other people's: no control character of theirs reaches the terminal.
    let line =
        format!("{}: {}: {}{outcome}", finding.problem, finding.path.display(), finding.detail);
    line.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

fn as_json(finding: &Finding) -> String {
    let (mended, why) = match &finding.outcome {
        Outcome::Mended => (true, None),
        Outcome::Left(why) => (false, why.as_deref()),
    };
    let key = finding.key.as_ref().map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
    let object = serde_json::json!({
        "problem": finding.problem.name(),
        "path": finding.path.to_string_lossy(),
        "key": key,
        "detail": finding.detail,
        "mended": mended,
        "why": why,
    });
    object.to_string()
}

const SHOWN_EVERY: u64 = 100;

const EXPLANATION: &str = "\
What looks wrong is looked at again after a moment, and is reported if it is wrong still: the check may
run while servers and git-annex are at work in the repository. Memory does not grow with the number of
keys.

What can be found, and what --repair does about it:
  unrecorded       content is here, but the location log does not say so: records it
  missing          the location log says that content is here, but it is not: records that. Get it
                   from another repository with `git annex get`
  wrong-size       content does not have the size that its key tells: moves it to annex/bad and
                   records that it is missing, as `git annex fsck` does
  misplaced        an object is in a directory where nobody looks for it: moves it to its place,
                   if it is what its key promises
  foreign          something between the objects is none: nothing. Move it away if it is not needed
  mode             those who share the repository lack rights, or content is not protected
                   against writing: changes the mode
  stale-lock       a lock of content that nobody holds: deletes it
  stale-retention  a lock whose holder vanished, and whose time has been over for an hour:
                   deletes it
  stale-transfer   the note or lock of a transfer that is not running: deletes it
  stale-partial    received content that nobody is receiving any more: makes it resumable, or
                   deletes it if the content is here
  stray-temporary  a temporary file that nobody uses: deletes it, if it is certain whose it was
  stale-git-lock   a lock file of git that seems to be forgotten: deletes those of Gannet and
                   git-annex. If no git process is running, delete the others
  journal          a file in the journal that cannot be committed, as after a power cut: for
                   location logs, looks at the content and writes it anew
  unreadable       the disk or the rights refuse: nothing

Exit codes:
  0  nothing is wrong, or all of it was mended
  1  something is wrong, and was not mended
  2  the repository could not be checked, or the options make no sense

With --json each line is an object with the members
  problem  one of the words above
  path     the file or directory that it is about
  key      the key that it is about, or null
  detail   what exactly, for people
  mended   whether it was put right
  why      why it was not, with --repair; else null";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_problem_is_explained() {
        for problem in gannet_repo::Problem::ALL {
            let begins = format!("\n  {} ", problem.name());
            assert!(EXPLANATION.contains(&begins), "{problem}");
        }
    }
}
