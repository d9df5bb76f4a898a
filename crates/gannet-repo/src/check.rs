//! Looks whether a repository is as it should be (repository §10), and mends what is safe to mend.
//!
//! Every rule looks at one [`Subject`] at a time: a directory of an object, the log of a key, a
//! transfer. Others are at work meanwhile, and what looks wrong may be a step on their way. So a
//! subject that looks wrong is looked at again after a while, and counts only if it is wrong still.
//! Mending takes the locks that serving takes.
//!
//! Memory does not grow with the number of keys: directories of objects and trees of the branch
//! are walked one after the other, each level of them holds one listing at a time, and what looks
//! wrong is gathered up to [`SUSPECTS_MAX`] before it is looked at again, reported and forgotten. Only
//! the journal, which is committed all the time, is listed as a whole.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gannet_core::{Clock, Error, Key, Result};

use crate::branch::commit_journal;
use crate::git::{Git, Session};
use crate::journal::{self, Claim};
use crate::lockfile::{self, Sharing};
use crate::settings::OpenError;
use crate::site::{Current, Site};

mod finding;
mod journal_files;
mod locations;
mod modes;
mod object;
mod proof;
mod scrub;
mod strays;
#[cfg(test)]
mod tests;
mod walk;

pub use finding::{Finding, Outcome, Problem};

/// What a check shall do besides looking.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// Mend what is safe to mend. Without this nothing in the repository changes, except what a
    /// scrub notes of how far it is.
    pub repair: bool,
    /// Read all content as well, and compare it with what its keys promise. Goes on where an
    /// earlier one was stopped.
    pub scrub: bool,
    /// How long others have to finish what looks wrong in its middle.
    pub grace: Duration,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { repair: false, scrub: false, grace: Duration::from_millis(700) }
    }
}

/// How far a check has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Objects that were looked at.
    pub objects: u64,
    /// Location logs that were looked at in the git-annex branch.
    pub logs: u64,
    /// What was found wrong, mended or not.
    pub found: u64,
    /// How much of that was mended.
    pub mended: u64,
    /// Bytes of content that the scrub has read.
    pub bytes: u64,
    /// How much of all content the scrub has behind it, in ten thousandths; also what earlier ones
    /// have read before they were stopped.
    pub part: u32,
    /// Whether the listener stopped the check before its end.
    pub stopped: bool,
}

/// What a check tells while it is at it. As long as the listener does not return, it waits; so may
/// be seen to it that a scrub leaves some of the disk to others.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Something is wrong, or was.
    Found(&'a Finding),
    /// It has come this far. Told often: after each object, and in the middle of large ones.
    At(Progress),
}

/// Checks the repository at `path`, telling `hear` what it finds. Blocks, for as long as it takes
/// to look at every object. Safe while servers and git-annex are at work in the repository. Stops soon,
/// and where a scrub can go on later, when `hear` says so.
///
/// # Errors
/// When the repository cannot be used or its branch not be read, or when it is to be mended and its
/// settings forbid to change it. What cannot be read below that is a [`Finding`].
pub fn check(
    path: &Path,
    clock: Arc<dyn Clock>,
    options: CheckOptions,
    hear: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Progress, OpenError> {
    let current = Current::look(path)?;
    let site = current.known();
    if options.repair {
        site.check_writable()?;
    }
    let git = Git::new(site.settings().place.clone());
    let session = git.session()?;
    let progress = RefCell::default();
    let ground = Ground { current, site, git, session, clock, hear: RefCell::new(hear), progress };
    let mut patrol = Patrol { ground, options, suspects: Vec::new() };
    locations::store_is_there(&patrol.ground)?;
    journal_files::patrol(&mut patrol)?;
    modes::patrol(&mut patrol)?;
    // Objects first: what a transfer left may be better than one of them.
    walk::patrol(&mut patrol)?;
    strays::patrol(&mut patrol)?;
    locations::patrol(&mut patrol)?;
    patrol.settle()?;
    if options.scrub && !patrol.stopped() {
        scrub::patrol(&mut patrol)?;
    }
    Ok(patrol.ground.progress.into_inner())
}

/// What is told of events, and answers whether to go on.
type Hear<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// The repository that is checked, as it is right now.
struct Ground<'a> {
    current: Current,
    site: Site,
    git: Git,
    session: Session,
    clock: Arc<dyn Clock>,
    hear: RefCell<&'a mut Hear<'a>>,
    progress: RefCell<Progress>,
}

/// Something that can be wrong.
trait Subject {
    /// What is wrong with it right now. Changes nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    fn look(&self, ground: &Ground<'_>) -> Result<Vec<Finding>>;

    /// Mends what was found, if that is safe.
    ///
    /// # Errors
    /// When it cannot be mended.
    fn mend(&self, ground: &Ground<'_>, finding: &Finding) -> Result<Mending>;
}

/// What became of mending.
enum Mending {
    Done,
    /// It is left as it is, and why.
    Left(&'static str),
    /// As before, but only because somebody is at work on it, which should not take long.
    Busy(&'static str),
}

/// One round through a repository.
struct Patrol<'a> {
    ground: Ground<'a>,
    options: CheckOptions,
    suspects: Vec<Box<dyn Subject>>,
}

impl Patrol<'_> {
    /// Looks at a subject, and remembers it if something looks wrong.
    fn look(&mut self, subject: impl Subject + 'static) -> Result<()> {
        if self.stopped() || findings(&subject, &self.ground).is_empty() {
            return Ok(());
        }
        self.suspect(subject);
        if self.suspects.len() >= SUSPECTS_MAX { self.settle() } else { Ok(()) }
    }

    /// Remembers a subject that looked wrong.
    fn suspect(&mut self, subject: impl Subject + 'static) {
        self.suspects.push(Box::new(subject));
    }

    /// Looks at the suspects again, reports what is wrong with them, and mends it if it may.
    fn settle(&mut self) -> Result<()> {
        if self.suspects.is_empty() {
            return Ok(());
        }
        std::thread::sleep(self.options.grace);
        self.ground.site = self.ground.current.site()?;
        let mended_before = self.ground.progress.borrow().mended;
        for subject in std::mem::take(&mut self.suspects) {
            for mut finding in findings(&*subject, &self.ground) {
                if self.options.repair {
                    if !self.ground.wait_for_journal()? {
                        return Ok(());
                    }
                    let Some(outcome) = self.mend(&*subject, &finding) else { continue };
                    finding.outcome = outcome;
                }
                self.ground.report(&finding);
            }
            if self.stopped() {
                break;
            }
        }
        if self.ground.progress.borrow().mended > mended_before && self.ground.wait_for_journal()? {
            let Ground { site, git, clock, .. } = &self.ground;
            commit_journal(site.settings(), git, &**clock)?;
        }
        self.tell();
        Ok(())
    }

    /// Mends what was found, if it may be. `None`: others were at work on it, and nothing is wrong
    /// now that they are done.
    fn mend(&self, subject: &dyn Subject, finding: &Finding) -> Option<Outcome> {
        let mut tries = 0;
        loop {
            match subject.mend(&self.ground, finding) {
                Ok(Mending::Busy(_)) if tries < BUSY_TRIES_MAX && !self.stopped() => tries += 1,
                Ok(Mending::Done) => return Some(Outcome::Mended),
                Ok(Mending::Left(why) | Mending::Busy(why)) => {
                    return Some(Outcome::Left(Some(why.to_owned())));
                }
                Err(error) => return Some(Outcome::Left(Some(error.chain()))),
            }
            std::thread::sleep(self.options.grace);
            let same =
                |left: &Finding| (left.problem, &left.path) == (finding.problem, &finding.path);
            if !findings(subject, &self.ground).iter().any(same) {
                return None;
            }
        }
    }

    fn tell(&self) {
        self.ground.read(0);
    }

    /// Whether the listener wants no more.
    fn stopped(&self) -> bool {
        self.ground.progress.borrow().stopped
    }
}

impl Ground<'_> {
    /// Tells that so many bytes of content were read. Whether to go on.
    fn read(&self, bytes: usize) -> bool {
        self.progress.borrow_mut().bytes += bytes as u64;
        let progress = *self.progress.borrow();
        let heard = (self.hear.borrow_mut())(Event::At(progress));
        self.heard(heard)
    }

    fn report(&self, finding: &Finding) {
        let mut progress = self.progress.borrow_mut();
        progress.found += 1;
        progress.mended += u64::from(finding.outcome == Outcome::Mended);
        drop(progress);
        let heard = (self.hear.borrow_mut())(Event::Found(finding));
        self.heard(heard);
    }

    fn heard(&self, heard: ControlFlow<()>) -> bool {
        let mut progress = self.progress.borrow_mut();
        progress.stopped |= heard.is_break();
        !progress.stopped
    }

    /// Waits while others work on the journal or the branch, for who waits for the lock itself cannot
    /// be stopped. Whether to go on.
    fn wait_for_journal(&self) -> Result<bool> {
        let path = self.site.annex().join("journal.lck");
        loop {
            if !self.read(0) {
                return Ok(false);
            }
            let held = lockfile::probe(&path, Sharing::Exclusive)
                .map_err(|error| Error::disk("examine the lock", &path, error))?;
            if held.is_none() {
                return Ok(true);
            }
            std::thread::sleep(NAP);
        }
    }

    /// Records in the location log whether the content of `key` is here, if that is news.
    fn record(&self, key: &Key, claim: Claim) -> Result<()> {
        journal::record_own(self.site.settings(), &self.git, &*self.clock, key, claim).map(drop)
    }
}

/// What is wrong with a subject. That it cannot be looked at is wrong, too.
fn findings(subject: &(impl Subject + ?Sized), ground: &Ground<'_>) -> Vec<Finding> {
    subject.look(ground).unwrap_or_else(|error| vec![Finding::unreadable(&error)])
}

/// How many suspects are gathered before they are looked at again.
const SUSPECTS_MAX: usize = 1000;
/// How often something that others are at work on is looked at once more.
const BUSY_TRIES_MAX: u32 = 3;
/// How often is looked whether others are done with the journal.
const NAP: Duration = Duration::from_millis(50);
