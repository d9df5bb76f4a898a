//! Changes a repository's own configuration file as git itself does.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gix::config::{File, Source};

use super::{OpenError, Place};
use crate::durable::{read_if_exists, remove_if_exists, sync_dir};
use crate::step::{self, Step};

/// Sets values in the configuration file of the repository, all of them at once, durably. What
/// else is in the file stays as it is.
///
/// # Errors
/// When somebody else is changing the file, or it is broken, or a disk refuses.
pub(crate) fn set_values(place: &Place, values: &[(&str, &str)]) -> Result<(), OpenError> {
    let [path, _] = place.config_files();
    let lock = path.with_file_name("config.lock");
    let mode = fs::metadata(&path).map_or(0o666, |found| found.permissions().mode() & 0o777);
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&lock);
    let file = opened.map_err(|error| OpenError::disk("create", &lock, error))?;
    step::done(Step::LockConfig);
    let done = replace(place, &path, &lock, file, values);
    if done.is_err() {
        remove_if_exists(Step::DropTemporary, &lock)?;
    }
    done
}

fn replace(
    place: &Place,
    path: &Path,
    lock: &Path,
    mut file: fs::File,
    values: &[(&str, &str)],
) -> Result<(), OpenError> {
    let text = read_if_exists(path)?.unwrap_or_default();
    let text = with_values(&text, values).map_err(|error| OpenError::Git {
        path: place.git_dir.clone(),
        why: super::describe(&error),
    })?;
    let written = || -> io::Result<()> {
        step::write(Step::WriteConfig, &mut file, &text)?;
        step::sync(Step::SyncConfig, &file)?;
        step::rename(Step::MoveConfig, lock, path)
    };
    let mut written = written;
    written().map_err(|error| OpenError::disk("write", path, error))?;
    sync_dir(Step::SyncConfigDir, &place.common_dir)?;
    Ok(())
}

fn with_values(text: &[u8], values: &[(&str, &str)]) -> gix::Result<Vec<u8>> {
    let meta = gix::config::file::Metadata::from(Source::Local);
    let mut config = File::from_bytes_no_includes(text, meta, Default::default())?;
    for (key, value) in values {
        config.set_raw_value(*key, *value)?;
    }
    Ok(config.to_bstring().into())
}
