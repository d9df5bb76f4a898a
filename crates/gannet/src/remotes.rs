//! Other repositories, each reached by the way that leads to it, and all alike once they are
//! reached (remotes §2, §3).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gannet_core::annex::Guarded;
use gannet_core::{Annex, Error, Result, Uuid};
use gannet_net::remote::http::{AnnexUrl, BadUrl, HttpClient, HttpRemote, Patience, SignIn};
use gannet_net::remote::line::{Dial, LineLimits, LineRemote, Program, Socket};
use gannet_net::remote::ssh::{self, BadSshUrl, SshOptions, SshUrl};
use gannet_repo::Repo;

use crate::opening::Opening;

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// On a disk of this machine.
    Path(PathBuf),
    /// Behind an ssh server.
    Ssh(SshUrl),
    /// Behind the HTTP API.
    Http(AnnexUrl),
    /// At a socket of this machine, where the line protocol is spoken without a token.
    Socket(PathBuf),
    /// At the standard input and output of a program, which speaks the line protocol. First its
    /// name, then its arguments; no shell reads them.
    Command(Vec<OsString>),
}

/// Text that is no address of a repository with which Gannet can do anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// It says nothing.
    #[error("the address is empty")]
    Empty,
    /// It is reached by a way that Gannet does not know.
    #[error("there is no way to `{0}`")]
    Unknown(String),
    /// It would be reached over ssh.
    #[error(transparent)]
    Ssh(#[from] BadSshUrl),
    /// It would be reached over HTTP.
    #[error(transparent)]
    Http(#[from] BadUrl),
}

impl Address {
    /// Reads the address of a remote as it stands in git's configuration, in all forms that can be
    /// reached, and `unix:///PATH` for a socket. A relative path begins at `base`.
    ///
    /// No text gives a [`Command`](Self::Command): who may name a remote may not run programs.
    ///
    /// # Errors
    /// When it is something else, or dangerous.
    pub fn parse(text: &[u8], base: &Path) -> Result<Self, BadAddress> {
        let path = |bytes: &[u8]| base.join(OsStr::from_bytes(bytes));
        if text.is_empty() {
            return Err(BadAddress::Empty);
        }
        if text.starts_with(b"annex+") {
            let url = String::from_utf8_lossy(text);
            return Ok(Self::Http(url.parse()?));
        }
        if let Some(socket) = text.strip_prefix(b"unix://") {
            return Ok(Self::Socket(path(socket)));
        }
        if let Some(url) = text.strip_prefix(b"file://") {
            let decoded: Vec<u8> = percent_encoding::percent_decode(url).collect();
            return Ok(Self::Path(OsString::from_vec(decoded).into()));
        }
        let unknown = || BadAddress::Unknown(String::from_utf8_lossy(text).into_owned());
        match SshUrl::parse(text) {
            _ if begins_with_scheme(text, b"::") => Err(unknown()),
            Ok(url) => Ok(Self::Ssh(url)),
            Err(BadSshUrl::Other) if begins_with_scheme(text, b"://") => Err(unknown()),
            Err(BadSshUrl::Other) => Ok(Self::Path(path(text))),
            Err(bad) => Err(bad.into()),
        }
    }
}

/// How remotes are reached.
#[derive(Clone)]
pub struct Reach {
    /// The repository that asks, as it is called in the transfer logs of others.
    pub client: Uuid,
    /// What is run to reach those behind ssh.
    pub ssh: SshOptions,
    /// For those that speak the line protocol.
    pub line: LineLimits,
    /// For those behind the HTTP API.
    pub http: HttpClient,
    /// Who we are, when they want to know.
    pub sign_in: Arc<dyn SignIn>,
    /// For how long they may do nothing.
    pub patience: Patience,
}

impl Reach {
    /// The repository `uuid` at `address`. Only one on this disk is opened now; the others are
    /// reached when they are asked something, and fail then if another repository is there.
    ///
    /// What is on this disk is served by this process: no program is started for it.
    ///
    /// # Errors
    /// When there is no repository on the disk, or another one, or it cannot be opened.
    pub async fn open(&self, address: &Address, uuid: &Uuid) -> Result<Reached> {
        Ok(match address {
            Address::Path(path) => {
                Reached::plainly(here(path, Opening::default().open(path).await, uuid)?.0)
            }
            Address::Ssh(url) => self.line(uuid, ssh::program(url, &self.ssh, &self.client, uuid)),
            Address::Socket(path) => self.line(uuid, Socket(path.clone())),
            Address::Command(words) => {
                let Some((program, arguments)) = words.split_first() else {
                    return Err(Error::Unsupported("no program is named".to_owned()));
                };
                let environment = Vec::new();
                let name = program.to_string_lossy().into_owned();
                let (program, arguments) = (program.clone(), arguments.to_vec());
                let attended = false;
                self.line(uuid, Program { name, program, arguments, environment, attended })
            }
            Address::Http(url) => {
                let sign_in = Arc::clone(&self.sign_in);
                let patience = self.patience;
                let remote = HttpRemote::new(uuid.clone(), url, &self.http, sign_in, patience);
                let remote = Arc::new(remote);
                let annex = Arc::clone(&remote) as Arc<dyn Annex>;
                Reached { annex, spoken: Box::new(move || Some(remote.spoken()?.number())) }
            }
        })
    }

    fn line(&self, uuid: &Uuid, dial: impl Dial) -> Reached {
        let remote = Arc::new(LineRemote::new(uuid.clone(), Arc::new(dial), self.line));
        let annex = Arc::clone(&remote) as Arc<dyn Annex>;
        Reached { annex, spoken: Box::new(move || Some(remote.spoken()?.number())) }
    }
}

/// A repository, and what is known of the way to it.
pub struct Reached {
    /// The repository.
    pub annex: Arc<dyn Annex>,
    /// Tells which version of the protocol is spoken with it, once that is known, if there is one.
    pub spoken: Box<dyn Fn() -> Option<u64> + Send + Sync>,
}

impl Reached {
    /// One with which no protocol is spoken.
    #[must_use]
    pub fn plainly(annex: Arc<dyn Annex>) -> Self {
        Self { annex, spoken: Box::new(|| None) }
    }
}

/// A repository on this disk that was opened. Whoever asks it does what his mode allows.
///
/// # Errors
/// When it could not be, or is another one.
pub(crate) fn here(
    path: &Path,
    opened: Result<Repo, String>,
    uuid: &Uuid,
) -> Result<(Arc<dyn Annex>, Repo)> {
    let fault = |why: String| Error::Remote { place: path.display().to_string(), why };
    match opened {
        Ok(repo) if repo.uuid() == uuid => Ok((Arc::new(Guarded::new(repo.clone())), repo)),
        Ok(repo) => Err(fault(format!("it is the repository {}, not {uuid}", repo.uuid()))),
        Err(why) => Err(fault(why)),
    }
}

/// Tells a url, or what git leaves to other programs (`ext::command`), from a path.
fn begins_with_scheme(text: &[u8], then: &[u8]) -> bool {
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(byte));
    end.is_some_and(|end| end > 0 && text[end..].starts_with(then))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kind of an address, and what it leads to.
    fn parsed(text: &str) -> String {
        match Address::parse(text.as_bytes(), Path::new("/base")) {
            Ok(Address::Path(path)) => format!("path {}", path.display()),
            Ok(Address::Ssh(url)) => format!("ssh {url}"),
            Ok(Address::Http(url)) => format!("http {url}"),
            Ok(Address::Socket(path)) => format!("socket {}", path.display()),
            Ok(Address::Command(words)) => format!("command {words:?}"),
            Err(error) => format!("error {error}"),
        }
    }

    #[test]
    fn addresses_are_read_as_git_reads_them() {
        let cases = [
            ("/srv/a b", "path /srv/a b"),
            ("../other", "path /base/../other"),
            ("./a:b", "path /base/./a:b"),
            ("/srv/a:b", "path /srv/a:b"),
            ("file:///srv/a%20b", "path /srv/a b"),
            ("host:dir", "ssh ssh://host/~/dir"),
            ("u@host:/dir", "ssh ssh://u@host/dir"),
            ("ssh://host:22/dir", "ssh ssh://host:22/dir"),
            ("unix:///run/x", "socket /run/x"),
        ];
        for (text, expected) in cases {
            assert_eq!(parsed(text), expected, "{text}");
        }
        assert!(parsed("annex+http://host/").starts_with("http "));
    }

    #[test]
    fn nobody_runs_programs_by_an_address() {
        let texts = [
            "",
            "ext::sh -c evil",
            "tor-annex::x.onion:1",
            "http://host/x",
            "https://host/x",
            "gcrypt::ssh://host/x",
            "annex::x?type=external",
            "ssh://-oProxyCommand=evil/x",
            "-oProxyCommand=evil:x",
            "annex+ftp://host/",
        ];
        for text in texts {
            assert!(parsed(text).starts_with("error "), "{text}: {}", parsed(text));
        }
    }
}
