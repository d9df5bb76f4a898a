//! Who is asking, and what they may do (p2p-http §5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use gannet_core::Mode;
use gannet_net::serve::http::{Login, Rights, Standing};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// What strangers may do, and the users who may do more.
pub(crate) struct Access {
    anonymous: Mode,
    users: Vec<User>,
    salt: [u8; 32],
}

/// What the command line says about rights.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    /// Strangers may do everything.
    pub(crate) wide_open: bool,
    /// Strangers may read, and lock.
    pub(crate) unauth_read_only: bool,
    /// Strangers may read, lock and add.
    pub(crate) unauth_append_only: bool,
    /// Strangers may not lock, whatever else they may do.
    pub(crate) unauth_no_locking: bool,
    /// The users of the environment may log in.
    pub(crate) log_in: bool,
}

/// What is wrong with the users of the environment. Never tells a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadUsers {
    /// A permission that does not exist, which must not be taken for "everything".
    #[error(
        "{PERMISSIONS}{user} must be `readonly` or `appendonly`, or not be set at all \
         (which gives user {user} every right), but it is `{word}`"
    )]
    UnknownPermission {
        /// Whose.
        user: String,
        /// The word that was found.
        word: String,
    },
    /// Anybody could log in.
    #[error("{PASSWORD}{user} is empty: give user {user} a password")]
    EmptyPassword {
        /// Whose.
        user: String,
    },
    /// The header of a login ends the name at its first colon.
    #[error("{PASSWORD}{user} names a user with a colon, who could never log in")]
    ColonInName {
        /// Whose.
        user: String,
    },
}

impl Access {
    /// Reads the users from `environment` if they may log in at all.
    ///
    /// # Errors
    /// [`BadUsers`]; then nothing must be served.
    pub(crate) fn new(
        policy: Policy,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        salt: [u8; 32],
    ) -> Result<Self, BadUsers> {
        let users = if policy.log_in { users(policy, environment, &salt)? } else { Vec::new() };
        Ok(Self { anonymous: anonymous(policy), users, salt })
    }

    /// How many users may log in.
    pub(crate) fn users(&self) -> usize {
        self.users.len()
    }

    /// What whoever sends `login`, or none, may do.
    ///
    /// Takes equally long for a wrong password and an unknown user. Where nobody can log in, a
    /// login counts as none.
    pub(crate) fn rights(&self, login: Option<&Login>) -> Rights {
        let can_login = !self.users.is_empty();
        let (Some(login), true) = (login, can_login) else {
            return Rights { mode: self.anonymous, standing: Standing::Anonymous, can_login };
        };
        let proof = proof(&self.salt, &login.user, &login.password);
        let mut mode = self.anonymous;
        let mut known = Choice::from(0);
        for user in &self.users {
            let same = user.proof.ct_eq(&proof);
            known |= same;
            if bool::from(same) {
                mode = mode.union(user.mode);
            }
        }
        let standing = if bool::from(known) { Standing::Accepted } else { Standing::Wrong };
        Rights { mode, standing, can_login }
    }
}

/// A user of the environment. The password itself is not kept.
struct User {
    proof: [u8; 32],
    mode: Mode,
}

/// A digest of name and password together, so that comparing tells nothing of either's length.
fn proof(salt: &[u8; 32], user: &[u8], password: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(salt)
        .chain_update((user.len() as u64).to_le_bytes())
        .chain_update(user)
        .chain_update(password)
        .finalize()
        .into()
}

fn anonymous(policy: Policy) -> Mode {
    let mode = match policy {
        Policy { wide_open: true, .. } => Mode::FULL,
        Policy { unauth_append_only: true, .. } => Mode::APPEND_ONLY,
        Policy { unauth_read_only: true, .. } => Mode::READ_ONLY,
        _ => Mode::NOTHING,
    };
    if policy.unauth_no_locking { mode.without_lock() } else { mode }
}

fn users(
    policy: Policy,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    salt: &[u8; 32],
) -> Result<Vec<User>, BadUsers> {
    let mut passwords = Vec::new();
    let mut permissions = Vec::new();
    for (name, value) in environment {
        if let Some(user) = name.as_bytes().strip_prefix(PASSWORD.as_bytes()) {
            passwords.push((user.to_vec(), value));
        } else if let Some(user) = name.as_bytes().strip_prefix(PERMISSIONS.as_bytes()) {
            let mode = match value.as_bytes() {
                // A reader who could not even lock would have less than a stranger may have.
                b"readonly" if policy.unauth_no_locking => Mode::READ_ONLY.without_lock(),
                b"readonly" => Mode::READ_ONLY,
                b"appendonly" => Mode::APPEND_ONLY,
                _ => {
                    let word = value.to_string_lossy().into_owned();
                    return Err(BadUsers::UnknownPermission { user: printable(user), word });
                }
            };
            permissions.push((user.to_vec(), mode));
        }
    }
    let mut users = Vec::new();
    for (user, password) in passwords {
        if password.is_empty() {
            return Err(BadUsers::EmptyPassword { user: printable(&user) });
        }
        if user.contains(&b':') {
            return Err(BadUsers::ColonInName { user: printable(&user) });
        }
        let restricted = permissions.iter().find(|(name, _)| *name == user);
        let mode = restricted.map_or(Mode::FULL, |(_, mode)| *mode);
        users.push(User { proof: proof(salt, &user, password.as_bytes()), mode });
    }
    Ok(users)
}

fn printable(user: &[u8]) -> String {
    String::from_utf8_lossy(user).into_owned()
}

const PASSWORD: &str = "GIT_ANNEX_P2PHTTP_PASSWORD_";
const PERMISSIONS: &str = "GIT_ANNEX_P2PHTTP_PERMISSIONS_";

#[cfg(test)]
mod tests;
