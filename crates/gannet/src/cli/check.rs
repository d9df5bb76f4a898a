//! `gannet check`.

use std::io::Write;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use gannet_repo::{CheckOptions, Event, Finding, Outcome, Progress};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::Failure;
use crate::clock::SystemClock;

mod interrupt;
mod pace;

use interrupt::Interrupt;
use pace::Pace;

/// What `gannet check` is told.
#[derive(Debug, Args)]
#[command(after_long_help = EXPLANATION, after_help = "`--help` tells what can be found.")]
pub(crate) struct Check {
    /// The repository.
    #[arg(value_name = "REPO")]
    path: PathBuf,
    /// Mend what is safe to mend.
    ///
    /// Without this nothing in the repository is changed, except that a scrub notes how far it is.
    #[arg(long)]
    repair: bool,
    /// Read all content as well, and compare it with the hashes that keys are named after.
    ///
    /// Stopped by a signal, or killed, it goes on next time where it was. How far it is is noted in
    /// the annex directory, in `gannet.scrub`; without that file it begins at the beginning, and at
    /// the end the file is deleted.
    #[arg(long)]
    scrub: bool,
    /// Read no more than this in a second: `10MB`, `500 kib`, as in `annex.bwlimit`.
    #[arg(long, value_name = "RATE", requires = "scrub", value_parser = rate)]
    bwlimit: Option<NonZeroU64>,
    /// Print findings as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Checks, and prints what is wrong.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let cannot = || format!("cannot check `{}`", self.path.display());
        let interrupt =
            Interrupt::listen().map_err(|error| Failure::doing("signals", &error).grave())?;
        let (repair, scrub) = (self.repair, self.scrub);
        let options = CheckOptions { repair, scrub, ..CheckOptions::default() };
        let mut report = Report::new(self.json, scrub);
        let mut pace = self.bwlimit.map(Pace::new);
        let clock = Arc::new(SystemClock);
        let checked = gannet_repo::check(&self.path, clock, options, &mut |event| {
            match event {
                Event::Found(finding) => report.print(finding),
                Event::At(progress) => {
                    report.show(progress);
                    if let Some(pace) = &mut pace {
                        pace.wait(progress.bytes, &interrupt);
                    }
                }
            }
            match interrupt.came() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        let progress = checked.map_err(|error| Failure::doing(cannot(), &error).grave())?;
        report.finish(progress).map_err(|error| Failure::doing(cannot(), &error).grave())?;
        if progress.stopped {
            return Err(Failure::Unknown("stopped before all was checked".to_owned()));
        }
        Ok(if progress.found == progress.mended { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Reads bytes per second.
fn rate(text: &str) -> Result<NonZeroU64, String> {
    let bytes = gannet_repo::read_size(text).and_then(NonZeroU64::new);
    bytes.ok_or_else(|| "not a number of bytes, such as 10MB or 500kib".to_owned())
}

/// Findings on standard output, progress on standard error if that is a terminal.
struct Report {
    json: bool,
    scrub: bool,
    bar: ProgressBar,
    failed: Option<std::io::Error>,
}

impl Report {
    fn new(json: bool, scrub: bool) -> Self {
        // Draws nothing unless it is on a terminal.
        let bar = ProgressBar::new(if scrub { WHOLE } else { 0 });
        let template = if scrub { "{wide_bar} {percent}% {msg}" } else { "{msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { json, scrub, bar, failed: None }
    }

    fn print(&mut self, finding: &Finding) {
        let line = if self.json { as_json(finding) } else { as_text(finding) };
        if let Err(error) = self.bar.suspend(|| writeln!(std::io::stdout(), "{line}")) {
            self.failed.get_or_insert(error);
        }
    }

    fn show(&self, progress: Progress) {
        if self.bar.is_hidden() {
            return;
        }
        let Progress { objects, logs, found, bytes, part, .. } = progress;
        if bytes == 0 {
            self.bar.set_message(format!("{objects} objects, {logs} logs, {found} found"));
        } else {
            self.bar.set_message(format!("{} read, {found} found", HumanBytes(bytes)));
        }
        self.bar.set_position(part.into());
    }

    fn finish(self, progress: Progress) -> std::io::Result<()> {
        self.bar.finish_and_clear();
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Progress { objects, found, mended, bytes, .. } = progress;
        let mut out = std::io::stdout();
        if !self.json {
            let read = if self.scrub { format!(", {bytes} bytes read") } else { String::new() };
            writeln!(out, "{objects} objects{read}: {found} found, {mended} mended")?;
        }
        out.flush()
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

/// All there is, as a scrub counts its progress.
const WHOLE: u64 = 10_000;

const EXPLANATION: &str = "\
What looks wrong is looked at again after a moment, and is reported if it is wrong still: the \
check may run while servers and git-annex are at work in the repository. Memory does not grow with \
the number of keys, but by some 400 bytes for each change that waits in the journal to be committed.

What can be found, and what --repair does about it:
  unrecorded       content is here, but the location log does not say so: records it
  missing          the location log says that content is here, but it is not: records that. Get it
                   from another repository with `git annex get`
  wrong-size       content does not have the size that its key tells: moves it to annex/bad and
                   records that it is missing, as `git annex fsck` does. If a transfer left content
                   that is right, that takes its place
  damaged          with --scrub: content is not what its key promises: the same
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
                   deletes it if the content is here, and right
  stray-temporary  a temporary file that nobody uses: deletes it, if it is certain whose it was
  stale-git-lock   a lock file of git that seems to be forgotten: deletes those of Gannet and
                   git-annex. If no git process is running, delete the others
  journal          a file in the journal that cannot be committed, as after a power cut: writes
                   location logs anew, with what is left of them, what the git-annex branch says,
                   and whether the content is here
  unreadable       the disk or the rights refuse: nothing. With --scrub, also content that the
                   disk does not give back

A scrub reads every object whose key names a hash. Content that somebody holds locked is left for \
another time. Files of the work tree stay as they are, and what has been modified through an \
unlocked file (annex.thin) is not damaged. While annex/objects is a link to a disk that is not \
mounted, or is gone though content should be there, nothing is checked.

Exit codes:
  0  nothing is wrong, or all of it was mended
  1  something is wrong, and was not mended
  2  the repository could not be checked, or not all of it because a signal came, or the options
     make no sense

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
