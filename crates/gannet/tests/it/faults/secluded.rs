//! Mounts that nobody else sees, and that are gone when the test is.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Runs a test where it may mount what it likes: in a mount namespace of its own, which the
/// programs that it starts share.
///
/// `name` is the name of the test. Who is not allowed to do that here does it as the root of a
/// user namespace, in another process.
#[track_caller]
pub(crate) fn secluded(name: &str, test: impl FnOnce()) {
    match unshare(CloneFlags::CLONE_NEWNS) {
        Ok(()) => {}
        Err(Errno::EPERM) if std::env::var_os(INSIDE).is_none() => return again(name),
        Err(error) => panic!("mounting is not possible here: {error}"),
    }
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .expect("keep mounts to ourselves");
    test();
}

#[track_caller]
fn again(name: &str) {
    let mut command = Command::new("unshare");
    command.arg("-rm").arg(std::env::current_exe().expect("this program"));
    command.args(["--exact", name, "--nocapture"]).env(INSIDE, "yes");
    let output = command.output().expect("start unshare");
    let said = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && said.contains("1 passed");
    assert!(passed, "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// A file system that is mounted as long as this is kept.
pub(crate) struct Mount {
    at: PathBuf,
    /// The other end of one that never answers.
    _silence: Option<File>,
}

impl Mount {
    /// Mounts one in memory at a new directory, with options as `size=1m,nr_inodes=100`.
    #[track_caller]
    pub(crate) fn memory(at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).expect("make a place to mount at");
        mount(Some("none"), at, Some("tmpfs"), MsFlags::empty(), Some(options))
            .expect("mount a file system in memory");
        Self { at: at.to_owned(), _silence: None }
    }

    /// Mounts one that never answers, over whatever is there.
    #[track_caller]
    pub(crate) fn silent(at: &Path) -> Self {
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = device.expect("open /dev/fuse");
        let user = rustix::process::getuid().as_raw();
        let group = rustix::process::getgid().as_raw();
        let fd = device.as_raw_fd();
        let options = format!("fd={fd},rootmode=40000,user_id={user},group_id={group},allow_other");
        mount(Some("none"), at, Some("fuse"), MsFlags::empty(), Some(options.as_str()))
            .expect("mount a file system that hangs");
        Self { at: at.to_owned(), _silence: Some(device) }
    }

    /// Lets nobody write to it any more, or lets everybody again.
    #[track_caller]
    pub(crate) fn set_read_only(&self, read_only: bool) {
        let flags = if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        let nothing = None::<&str>;
        mount(nothing, &self.at, nothing, MsFlags::MS_REMOUNT | flags, nothing).expect("remount");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        umount2(&self.at, MntFlags::MNT_DETACH).ok();
    }
}

const INSIDE: &str = "GANNET_FAULTS_INSIDE";
