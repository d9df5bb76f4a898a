//! The settings of special remotes, as far as they may be relied on (remotes §1).

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;

use gannet_core::{Error, Result, Uuid};

use crate::durable::read_if_exists;
use crate::git::Session;
use crate::journal::read_log_in;
use crate::logs::remote;
use crate::settings::{Location, Remote, Settings};

/// The settings of a special remote, by name.
pub type SpecialSettings = BTreeMap<Vec<u8>, Vec<u8>>;

/// What is known of special remotes: what the git-annex branch says, in which anybody who can push
/// writes, and what the owner of the repository found to be right, who keeps that to himself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialRemotes {
    recorded: BTreeMap<Uuid, SpecialSettings>,
    /// `None`: git-annex never asked him.
    verified: Option<BTreeMap<Uuid, SpecialSettings>>,
}

/// Why the settings of a special remote may not be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreliable {
    /// There are none.
    #[error("the git-annex branch has no settings of the special remote")]
    Unknown,
    /// They may be anybody's.
    #[error("the special remote is not verified (git-annex verifyremote {0})")]
    Unverified(String),
}

impl SpecialRemotes {
    /// The settings of a remote. What was verified once stays in force, whatever the branch says
    /// later. What never was counts if the configuration says that it is right; for directories
    /// also where git-annex has not begun to ask, as their settings cannot lead elsewhere.
    ///
    /// # Errors
    /// When they may not be relied on.
    pub fn settings(&self, remote: &Remote) -> Result<SpecialSettings, Unreliable> {
        let uuid = remote.config_uuid.as_ref().or(remote.uuid.as_ref());
        let uuid = uuid.ok_or(Unreliable::Unknown)?;
        if let Some(settings) = self.verified.as_ref().and_then(|verified| verified.get(uuid)) {
            return Ok(settings.clone());
        }
        match remote.verified {
            Some(true) => {}
            None if self.verified.is_none() && is_directory(remote) => {}
            _ => return Err(Unreliable::Unverified(remote.name.clone())),
        }
        let settings = self.recorded.get(uuid).ok_or(Unreliable::Unknown)?;
        Ok(self.with_inherited(settings))
    }

    /// What the branch says of a remote, be it right or not.
    #[must_use]
    pub fn recorded(&self, uuid: &Uuid) -> Option<&SpecialSettings> {
        self.recorded.get(uuid)
    }

    /// What is the same as another remote keeps its contents in the same form.
    fn with_inherited(&self, settings: &SpecialSettings) -> SpecialSettings {
        let mut settings = settings.clone();
        let other = settings.get(&b"sameas-uuid"[..]).and_then(|uuid| Uuid::parse(uuid).ok());
        if let Some(other) = other.and_then(|other| self.recorded.get(&other)) {
            for name in INHERITED {
                settings.remove(*name);
                settings.extend(other.get(*name).map(|value| (name.to_vec(), value.clone())));
            }
        }
        settings
    }
}

/// What the branch says, of which nobody was asked whether it is right.
impl FromIterator<(Uuid, SpecialSettings)> for SpecialRemotes {
    fn from_iter<T: IntoIterator<Item = (Uuid, SpecialSettings)>>(recorded: T) -> Self {
        Self { recorded: recorded.into_iter().collect(), verified: None }
    }
}

fn is_directory(remote: &Remote) -> bool {
    matches!(remote.location, Location::Special { kind: "directory", .. })
}

/// Reads what is known.
///
/// # Errors
/// When the branch or the file cannot be read.
pub(super) fn read(settings: &Settings, session: &Session) -> Result<SpecialRemotes> {
    let verified = read_if_exists(&settings.annex.join(VERIFIED))?;
    Ok(SpecialRemotes {
        recorded: remote::parse(&read_log_in(settings, session, remote::PATH)?),
        verified: verified.map(|text| remote::parse(&text)),
    })
}

/// What the disk says of the file with what was verified; `None` if there is none.
///
/// # Errors
/// When the disk does not answer.
pub(super) fn metadata(settings: &Settings) -> Result<Option<Metadata>> {
    let path = settings.annex.join(VERIFIED);
    match path.symlink_metadata() {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::disk("look at", path, error)),
    }
}

const VERIFIED: &str = "verified-remote.log";
const INHERITED: &[&[u8]] =
    &[b"encryption", b"mac", b"cipher", b"cipherkeys", b"pubkeys", b"chunksize", b"chunk"];

#[cfg(test)]
mod tests {
    use super::*;

    fn remotes(recorded: &str, verified: Option<&str>) -> SpecialRemotes {
        let parse = |text: &str| remote::parse(text.as_bytes());
        SpecialRemotes { recorded: parse(recorded), verified: verified.map(parse) }
    }

    fn remote(uuid: &str, config_uuid: Option<&str>, verified: Option<bool>) -> Remote {
        let parse = |uuid: &str| Uuid::parse(uuid.as_bytes()).unwrap();
        let location = Location::Special { kind: "directory", value: b"/d".to_vec() };
        Remote {
            uuid: Some(parse(uuid)),
            config_uuid: config_uuid.map(parse),
            verified,
            ..Remote::named("d", location)
        }
    }

    /// The settings in words, or why there are none.
    fn said(remotes: &SpecialRemotes, remote: &Remote) -> String {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match remotes.settings(remote) {
            Ok(settings) => {
                let words = settings.iter().map(|(name, value)| [shown(name), shown(value)]);
                words.map(|word| word.join("=")).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_was_verified_stays_in_force() {
        let known = remotes("u chunk=2 timestamp=2s", Some("u chunk=1 timestamp=1s"));
        for verified in [None, Some(false), Some(true)] {
            assert_eq!(said(&known, &remote("u", None, verified)), "chunk=1");
        }
    }

    #[test]
    fn what_was_not_verified_counts_only_if_nobody_was_asked() {
        let unverified = "the special remote is not verified (git-annex verifyremote d)";
        let log = "u chunk=2 timestamp=2s";
        for (verified_log, verified, expected) in [
            (None, None, "chunk=2"),
            (None, Some(true), "chunk=2"),
            (None, Some(false), unverified),
            (Some(""), None, unverified),
            (Some("v chunk=1"), Some(false), unverified),
            (Some("v chunk=1"), Some(true), "chunk=2"),
        ] {
            let known = remotes(log, verified_log);
            assert_eq!(said(&known, &remote("u", None, verified)), expected, "{verified_log:?}");
        }
        let location = Location::Special { kind: "externaltype", value: b"x".to_vec() };
        let external = Remote { location, ..remote("u", None, None) };
        assert_eq!(said(&remotes(log, None), &external), unverified);
        let unknown = said(&remotes("", None), &remote("u", None, None));
        assert_eq!(unknown, "the git-annex branch has no settings of the special remote");
    }

    #[test]
    fn what_is_the_same_as_another_is_stored_in_its_form() {
        let log = "u chunk=2 encryption=shared name=x timestamp=1s\n\
                   c sameas-uuid=u encryption=none chunksize=1 url=y timestamp=1s\n";
        let same = said(&remotes(log, None), &remote("u", Some("c"), None));
        assert_eq!(same, "chunk=2 encryption=shared sameas-uuid=u url=y");
    }
}
