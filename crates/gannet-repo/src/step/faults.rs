//! A disk that refuses, for tests: any step, or anything that is read, fails when they say so.

use std::io;
use std::sync::{Mutex, PoisonError};

/// What fails, from now on, in the whole process.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The name of a step, or of what is read.
    pub at: String,
    /// The how-manieth attempt fails, from 1.
    pub nth: usize,
    /// The error of the system, e.g. 5 for `EIO`.
    pub errno: i32,
    /// Whether everything that comes after it fails, too.
    pub lasting: bool,
}

/// Makes the disk fail as `fault` says, or makes it sound again.
///
/// Returns, in order, what was attempted since this was last called. Before it is called for the
/// first time nothing is remembered: whoever only happens to be built beside these tests, and runs
/// for long, must not grow.
pub fn set(fault: Option<Fault>) -> Vec<String> {
    let mut disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    disk.listening = true;
    disk.fault = fault;
    disk.broken = false;
    std::mem::take(&mut disk.attempted)
}

struct Disk {
    listening: bool,
    fault: Option<Fault>,
    attempted: Vec<String>,
    broken: bool,
}

static DISK: Mutex<Disk> =
    Mutex::new(Disk { listening: false, fault: None, attempted: Vec::new(), broken: false });

pub(super) fn attempt(name: String) -> io::Result<()> {
    let mut disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    if !disk.listening {
        return Ok(());
    }
    disk.attempted.push(name);
    let Disk { fault: Some(fault), attempted, .. } = &*disk else { return Ok(()) };
    let error = io::Error::from_raw_os_error(fault.errno);
    let name = attempted.last();
    let now = name == Some(&fault.at)
        && attempted.iter().filter(|name| **name == fault.at).count() == fault.nth;
    disk.broken |= now && fault.lasting;
    if now || disk.broken { Err(error) } else { Ok(()) }
}
