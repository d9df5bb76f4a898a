//! What special remotes need to sign in somewhere: files that nobody else may read (remotes §7).

use std::path::{Path, PathBuf};

use gannet_core::{Credentials, Error, Result, Uuid};

use crate::durable::{Temporary, create_dirs, path_of, read_if_exists, sync_dir};
use crate::settings::Settings;
use crate::step::Step;

/// Reads what is kept for `remote`: all that it has, or what it calls `name`.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn read(
    settings: &Settings,
    remote: &Uuid,
    name: Option<&[u8]>,
) -> Result<Option<Credentials>> {
    let text = read_if_exists(&place(settings, remote, name))?;
    Ok(text.as_deref().and_then(Credentials::parse))
}

/// Keeps that, durably.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn keep(
    settings: &Settings,
    remote: &Uuid,
    name: Option<&[u8]>,
    credentials: &Credentials,
) -> Result<()> {
    let Some(text) = credentials.to_lines() else {
        let why = "credentials of several lines cannot be kept";
        return Err(Error::Unsupported(why.to_owned()));
    };
    let place = place(settings, remote, name);
    let dir = dir(settings);
    create_dirs(&dir, settings)?;
    Temporary::write_secret(&text, settings)?.move_to(Step::KeepCredentials, &place)?;
    sync_dir(Step::SyncCredentials, &dir)
}

fn dir(settings: &Settings) -> PathBuf {
    settings.annex.join("creds")
}

fn place(settings: &Settings, remote: &Uuid, name: Option<&[u8]>) -> PathBuf {
    let mut file = remote.as_str().as_bytes().to_vec();
    if let Some(name) = name {
        file.push(b'-');
        file.extend(name.iter().map(|&byte| if byte == b'/' { b'_' } else { byte }));
    }
    dir(settings).join(Path::new(path_of(&file)))
}
