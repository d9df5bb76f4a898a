//! Pipes to and from other programs.

use std::os::fd::AsFd;

use rustix::pipe::fcntl_setpipe_size;

/// Lets a pipe hold more than one side takes at a time. Otherwise both sides sleep in turn, which
/// on a machine with nothing else to do takes longer than to copy the bytes.
///
/// Users have a limited number of such pipes (`/proc/sys/fs/pipe-user-pages-soft`); one more stays
/// as it was.
pub fn widen(pipe: impl AsFd) {
    if let Err(error) = fcntl_setpipe_size(pipe, PIPE_BYTES) {
        tracing::debug!("a pipe stays narrow: {error}");
    }
}

/// Four times what it holds by itself; so many may have hundreds of them.
const PIPE_BYTES: usize = 256 * 1024;
