//! Reads all content, and compares it with what its keys promise.
//!
//! That may take days, so it goes on where it was stopped: which object was the last is written to a
//! file, of which git-annex knows nothing, and which is gone when all was read.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use gannet_core::{Error, Key, Result, Timestamp};

use super::finding::{Finding, Problem};
use super::object::{key_of_dir, may_be_modified, set_aside};
use super::proof::{Shown, can_be_proven, judge};
use super::walk::{entries, levels, named_like_a_key};
use super::{Ground, Mending, Patrol, Subject};
use crate::durable::{Temporary, read_if_exists, remove_if_exists};
use crate::objects::{Inode, Object};
use crate::site::Site;
use crate::step::Step;
use crate::work_tree::affirms;

/// Reads every object that no earlier scrub has read before it was stopped.
pub(super) fn patrol(patrol: &mut Patrol<'_>) -> Result<()> {
    let site = patrol.ground.site.clone();
    let mut place = Place::find(&site)?;
    let after: Vec<OsString> = place.after.clone();
    let objects = site.annex().join("objects");
    let all = Part { from: 0.0, to: 1.0 };
    below(patrol, &mut place, &objects, levels(site.settings()), &after, all)?;
    if patrol.stopped() {
        return place.keep(&site);
    }
    place.forget(&site)
}

/// Reads what is in a directory that has `levels` levels of hash directories below it, and comes
/// after a place.
fn below(
    patrol: &mut Patrol<'_>,
    place: &mut Place,
    dir: &Path,
    levels: u32,
    after: &[OsString],
    part: Part,
) -> Result<()> {
    // What cannot be listed has been found by others.
    let listed = entries(dir).unwrap_or_default();
    let count = listed.len();
    for (nth, entry) in listed.into_iter().enumerate() {
        if patrol.stopped() {
            return Ok(());
        }
        let (path, name) = (entry.path(), entry.file_name());
        let after = match after.split_first() {
            Some((first, _)) if name < *first => continue,
            Some((first, rest)) if name == *first => Some(rest),
            _ => None,
        };
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let part = part.nth(nth, count);
        if levels > 0 && !named_like_a_key(&path) {
            below(patrol, place, &path, levels - 1, after.unwrap_or_default(), part)?;
        } else if after.is_none() {
            read(patrol, &path)?;
            patrol.ground.progress.borrow_mut().part = part.reached();
            if !patrol.stopped() {
                place.reached(&patrol.ground, &path)?;
            }
        }
    }
    Ok(())
}

/// Reads one object. If it seems wrong, it is looked at again, reported and mended at once.
fn read(patrol: &mut Patrol<'_>, dir: &Path) -> Result<()> {
    let Some(key) = key_of_dir(dir) else { return Ok(()) };
    let object = Object::in_dir(dir);
    let shown = can_be_proven(&patrol.ground, &key).and_then(|can_be| match can_be {
        true => judge(&patrol.ground, &key, &object),
        false => Ok(Shown::Right), // its size is looked at anyway
    });
    let wrong = match shown {
        Ok(Shown::Wrong(inode)) => Some(inode),
        Ok(Shown::Right | Shown::Nothing) => return Ok(()),
        Err(_) => None,
    };
    patrol.suspect(Stored { dir: dir.to_owned(), key, wrong: Cell::new(wrong) });
    patrol.settle()
}

/// The content of a key.
struct Stored {
    dir: PathBuf,
    key: Key,
    /// What it looked like when it was found to be wrong. It is not read again as long as it does.
    wrong: Cell<Option<Inode>>,
}

impl Subject for Stored {
    fn look(&self, ground: &Ground<'_>) -> Result<Vec<Finding>> {
        let object = Object::in_dir(&self.dir);
        let Some(metadata) = object.metadata()? else { return Ok(Vec::new()) };
        let (key, settings) = (&self.key, ground.site.settings());
        let path = object.path();
        // What may be modified is damaged only if it looks as if it were not.
        if may_be_modified(key, &metadata, settings) && !affirms(settings, key, &metadata) {
            return Ok(Vec::new());
        }
        if key.size().is_some_and(|size| size != metadata.len()) {
            return Ok(Vec::new()); // that has been found already
        }
        let detail = "the content is not what its key promises";
        let damaged = || vec![Finding::new(Problem::Damaged, path, Some(key), detail)];
        if let Some(wrong) = self.wrong.get() {
            let changed = wrong.content_changed(&Inode::of(&metadata));
            return Ok(if changed { Vec::new() } else { damaged() });
        }
        match judge(ground, key, &object) {
            Ok(Shown::Wrong(inode)) => {
                self.wrong.set(Some(inode));
                Ok(damaged())
            }
            Ok(Shown::Right | Shown::Nothing) => Ok(Vec::new()),
            Err(error) => {
                Ok(vec![Finding::new(Problem::Unreadable, path, Some(key), error.chain())])
            }
        }
    }

    fn mend(&self, ground: &Ground<'_>, finding: &Finding) -> Result<Mending> {
        let object = Object::in_dir(&self.dir);
        match finding.problem {
            Problem::Damaged => set_aside(ground, &self.key, &object, self.wrong.get()),
            _ if judge(ground, &self.key, &object)? == Shown::Right => Ok(Mending::Done),
            _ => Ok(Mending::Left("it cannot be read: look at the disk")),
        }
    }
}

/// How far the scrub has come, as it is remembered.
struct Place {
    /// The names on the way to the last object that was read.
    after: Vec<OsString>,
    /// When that was written down.
    kept: Option<Timestamp>,
}

impl Place {
    fn find(site: &Site) -> Result<Self> {
        let text = read_if_exists(&file(site))?.unwrap_or_default();
        // What does not end in a newline is not from here.
        let path = text.strip_suffix(b"\n").unwrap_or_default();
        let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        let after = names.map(|name| OsString::from_vec(name.to_vec())).collect();
        Ok(Self { after, kept: None })
    }

    /// Remembers an object, and writes that down from time to time.
    fn reached(&mut self, ground: &Ground<'_>, dir: &Path) -> Result<()> {
        let objects = ground.site.annex().join("objects");
        let names = dir.strip_prefix(objects).unwrap_or(dir);
        self.after = names.iter().map(OsStr::to_owned).collect();
        let now = ground.clock.boot();
        if self.kept.and_then(|kept| now.since(kept)).is_some_and(|passed| passed < KEPT_EVERY) {
            return Ok(());
        }
        self.kept = Some(now);
        self.keep(&ground.site)
    }

    fn keep(&self, site: &Site) -> Result<()> {
        if self.after.is_empty() || site.check_writable().is_err() {
            return Ok(());
        }
        let mut text: Vec<u8> = self.after.join(OsStr::new("/")).into_vec();
        text.push(b'\n');
        let kept = Temporary::write(&text, site.settings())
            .and_then(|temporary| temporary.move_to(Step::KeepPlace, &file(site)));
        unless_read_only(kept)
    }

    /// All was read. The next scrub begins at the beginning.
    fn forget(&self, site: &Site) -> Result<()> {
        unless_read_only(remove_if_exists(Step::ForgetPlace, &file(site)))
    }
}

/// A part of all there is, from 0 to 1.
#[derive(Clone, Copy)]
struct Part {
    from: f64,
    to: f64,
}

impl Part {
    #[expect(clippy::cast_precision_loss, reason = "for a bar on a screen")]
    fn nth(self, nth: usize, count: usize) -> Self {
        let one = (self.to - self.from) / count.max(1) as f64;
        Self { from: self.from + one * nth as f64, to: self.from + one * (nth + 1) as f64 }
    }

    /// The end of it, in ten thousandths.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 0 to 10000"
    )]
    fn reached(self) -> u32 {
        (self.to * 10_000.0) as u32
    }
}

/// Where it can only be read, a scrub begins at the beginning every time.
fn unless_read_only(done: Result<()>) -> Result<()> {
    match done {
        Err(Error::Disk { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}

fn file(site: &Site) -> PathBuf {
    site.annex().join("gannet.scrub")
}

/// How often it is written down how far it is, in seconds.
const KEPT_EVERY: u64 = 5;
