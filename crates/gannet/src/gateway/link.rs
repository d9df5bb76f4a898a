//! The way to one remote, gone when it is needed first.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use gannet_core::{
    Annex, Asker, AssociatedFile, Content, Error, Key, Lock, PutOffset, Removal, Result, Span,
    Stored, Timestamp, Uuid,
};
use gannet_net::remote::http::{HttpClient, HttpClientOptions, Known, Patience, SignIn};
use gannet_net::remote::line::LineLimits;
use gannet_net::remote::ssh::SshOptions;
use gannet_net::serve::p2p::Version;
use gannet_repo::{Location, Remote, Repo};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::Bounds;
use super::neighbours::{Neighbour, Way};
use super::special::Depot;
use crate::credentials::{GitCredentials, credential_url};
use crate::opening::Opening;
use crate::remotes::{Address, Reach, Reached, here};

/// A remote that is opened when it is asked something. An opening that failed is tried again.
pub(super) struct Link {
    pub(super) neighbour: Neighbour,
    uuid: Uuid,
    ssh_command: Option<OsString>,
    ways: Arc<Ways>,
    opening: Opening,
    opened: OnceCell<Opened>,
}

/// What all links of a gateway share.
pub(super) struct Ways {
    /// The gateway.
    pub(super) repo: Repo,
    bounds: Bounds,
    http: OnceLock<HttpClient>,
    depot: OnceCell<Depot>,
}

struct Opened {
    reached: Reached,
    /// What is on this disk is served by this process, which has to write down what it did.
    here: Option<Repo>,
}

impl Ways {
    pub(super) fn new(repo: Repo, bounds: Bounds) -> Self {
        Self { repo, bounds, http: OnceLock::new(), depot: OnceCell::new() }
    }

    async fn depot(&self) -> Result<&Depot> {
        self.depot.get_or_try_init(|| Depot::open(&self.repo)).await
    }

    fn http(&self) -> Result<HttpClient> {
        if let Some(client) = self.http.get() {
            return Ok(client.clone());
        }
        let usual = HttpClientOptions::default();
        let idle_max = self.bounds.idle_connections.unwrap_or(usual.idle_max);
        let client = HttpClient::new(HttpClientOptions { idle_max, ..usual })
            .map_err(|error| Error::Internal(error.to_string()))?;
        Ok(self.http.get_or_init(|| client).clone())
    }
}

impl Link {
    /// The way to this neighbour, which has that uuid.
    pub(super) fn new(
        neighbour: Neighbour,
        uuid: Uuid,
        ssh_command: Option<OsString>,
        ways: Arc<Ways>,
    ) -> Self {
        Self {
            neighbour,
            uuid,
            ssh_command,
            ways,
            opening: Opening::default(),
            opened: OnceCell::new(),
        }
    }

    /// Commits what was recorded at the other end, if that is on this disk.
    pub(super) async fn flush(&self) -> Result<()> {
        match self.opened.get().and_then(|opened| opened.here.as_ref()) {
            Some(repo) => repo.flush().await,
            None => Ok(()),
        }
    }

    /// Which version of the protocol is spoken there, once that is known, if there is one.
    pub(super) fn spoken_version(&self) -> Option<u64> {
        self.opened.get().and_then(|opened| (opened.reached.spoken)())
    }

    async fn annex(&self) -> Result<&Arc<dyn Annex>> {
        let opening = self.opened.get_or_try_init(|| self.open());
        let opened = match &self.neighbour.way {
            // Others are reached when they are asked something, and are given up then.
            Ok(Way::Repository(Address::Path(_))) => match timeout(OPENING_MAX, opening).await {
                Ok(opened) => opened?,
                Err(_) => {
                    let why = "the disk does not answer".to_owned();
                    return Err(Error::Remote { place: self.to_string(), why });
                }
            },
            _ => opening.await?,
        };
        Ok(&opened.reached.annex)
    }

    async fn open(&self) -> Result<Opened> {
        let address = match &self.neighbour.way {
            Ok(Way::Repository(address)) => address,
            Ok(Way::Special(special)) => {
                let (depot, http) = (self.ways.depot().await?, self.ways.http()?);
                let annex = special.open(&self.neighbour.remote, &self.uuid, depot, http).await?;
                return Ok(Opened { reached: Reached::plainly(annex), here: None });
            }
            Err(why) => {
                return Err(Error::Remote { place: self.to_string(), why: why.clone() });
            }
        };
        if let Address::Path(path) = address {
            let (annex, repo) = here(path, self.opening.open(path).await, &self.uuid)?;
            return Ok(Opened { reached: Reached::plainly(annex), here: Some(repo) });
        }
        let reach = Reach {
            client: self.ways.repo.uuid().clone(),
            ssh: ssh_options(&self.neighbour.remote, self.ssh_command.as_ref()),
            line: self.line_limits(),
            http: self.ways.http()?,
            sign_in: self.sign_in(address),
            patience: Patience::default(),
        };
        Ok(Opened { reached: reach.open(address, &self.uuid).await?, here: None })
    }

    /// What stands in the url is who we are, else git may know.
    fn sign_in(&self, address: &Address) -> Arc<dyn SignIn> {
        let Address::Http(url) = address else { return Arc::new(Known::default()) };
        let known = Known::from_url(url);
        let Location::Git { url, annex_url } = &self.neighbour.remote.location else {
            return Arc::new(known);
        };
        if known.0.is_some() {
            return Arc::new(known);
        }
        let url = credential_url(url, annex_url.as_deref());
        Arc::new(GitCredentials::new(self.ways.repo.path().to_owned(), url))
    }

    fn line_limits(&self) -> LineLimits {
        let usual = LineLimits::default();
        let idle_max = self.ways.bounds.idle_connections.unwrap_or(usual.idle_max);
        LineLimits { oldest: oldest(&self.uuid), idle_max, ..usual }
    }
}

/// What the configuration says of how a remote is reached over ssh.
pub(super) fn ssh_options(remote: &Remote, command: Option<&OsString>) -> SshOptions {
    let setting = |name: &str| match name.rsplit_once('.') {
        Some((_, "annex-ssh-options")) => remote.ssh_options.clone(),
        Some((_, "annex-shell")) => remote.shell.clone(),
        Some(("core", _)) => command.cloned(),
        _ => None,
    };
    SshOptions::of_remote(&remote.name, |name: &str| std::env::var_os(OsStr::new(name)), setting)
}

/// A cluster behind another gateway, whoever asks us, has to be told which gateways were passed:
/// without that requests between the two would never end (proxy-cluster §10, §12 no. 3).
fn oldest(uuid: &Uuid) -> Version {
    if uuid.as_cluster().is_some() { Version::V2 } else { Version::V0 }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Annex for Link {
    fn uuid(&self) -> &Uuid {
        &self.uuid
    }

    async fn check_present(&self, asker: &Asker, key: &Key) -> Result<bool> {
        self.annex().await?.check_present(asker, key).await
    }

    async fn get(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        span: Span,
    ) -> Result<Content> {
        self.annex().await?.get(asker, key, file, span).await
    }

    async fn put_offset(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
    ) -> Result<PutOffset> {
        self.annex().await?.put_offset(asker, key, file).await
    }

    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        content: Content,
    ) -> Result<Stored> {
        self.annex().await?.put(asker, key, file, content).await
    }

    async fn put_present(&self, asker: &Asker, key: &Key, file: &AssociatedFile) -> Result<Stored> {
        self.annex().await?.put_present(asker, key, file).await
    }

    async fn remove(&self, asker: &Asker, key: &Key) -> Result<Removal> {
        self.annex().await?.remove(asker, key).await
    }

    async fn remove_before(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Timestamp,
    ) -> Result<Removal> {
        self.annex().await?.remove_before(asker, key, deadline).await
    }

    async fn timestamp(&self, asker: &Asker) -> Result<Timestamp> {
        self.annex().await?.timestamp(asker).await
    }

    async fn lock(&self, asker: &Asker, key: &Key) -> Result<Option<Lock>> {
        self.annex().await?.lock(asker, key).await
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the remote {}", self.neighbour.remote.name)
    }
}

/// How long a repository on a disk may take to be opened. To put in order what a crash left takes some
/// seconds, where much was going on.
const OPENING_MAX: Duration = Duration::from_secs(60);
