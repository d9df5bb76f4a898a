//! Uuids of remotes that the configuration does not have yet. git-annex learns them when it first
//! looks at a remote; where it is not installed, nobody else does.

use std::path::PathBuf;
use std::time::Duration;

use gannet_core::{Ledger, Result, Uuid};
use gannet_net::remote::line::Dial;
use gannet_net::remote::ssh::{self, SshOptions, SshUrl};
use gannet_repo::{Repo, identify};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::gateway::link::ssh_options;
use crate::gateway::neighbours::neighbours;
use crate::remotes::Address;

/// What was learned.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// Remotes whose uuid the configuration has now.
    pub found: Vec<(String, Uuid)>,
    /// Remotes that did not tell, and why.
    pub failed: Vec<(String, String)>,
}

/// Asks those remotes for their uuids that the configuration wants to be served, or to be gateways,
/// and writes what they say into it. One on this disk is asked even if a uuid is known, for another
/// repository may be there now.
///
/// # Errors
/// When the configuration cannot be read or written.
pub async fn learn_uuids(repo: &Repo) -> Result<Learned> {
    let (remotes, book) = (repo.remotes().await?, repo.book().await?);
    let mut learned = Learned::default();
    let mut values = Vec::new();
    let special = repo.special_remotes().await?;
    for neighbour in neighbours(&remotes, &book, &special) {
        let remote = &neighbour.remote;
        let matters = remote.proxy || !remote.cluster_nodes.is_empty();
        if remote.proxied_by.is_some() || !matters {
            continue;
        }
        let said = match neighbour.address() {
            Some(Address::Path(path)) => on_disk(path.clone()).await,
            Some(Address::Ssh(url)) if remote.uuid.is_none() => {
                over_ssh(url, &ssh_options(remote, remotes.ssh_command.as_ref())).await
            }
            _ => continue,
        };
        match said {
            Ok(uuid) if remote.uuid.as_ref() == Some(&uuid) => {}
            Ok(uuid) => {
                values.push((format!("remote.{}.annex-uuid", remote.name), uuid.to_string()));
                learned.found.push((remote.name.clone(), uuid));
            }
            Err(_) if remote.uuid.is_some() => {}
            Err(why) => learned.failed.push((remote.name.clone(), why)),
        }
    }
    if !values.is_empty() {
        repo.configure(values).await?;
    }
    Ok(learned)
}

async fn on_disk(path: PathBuf) -> Result<Uuid, String> {
    let look = tokio::task::spawn_blocking(move || identify(&path));
    let identity = match timeout(PATIENCE, look).await {
        Ok(Ok(found)) => found.map_err(|error| error.to_string())?,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(SILENT.to_owned()),
    };
    identity.uuid.ok_or_else(|| "git-annex has not been used in it yet".to_owned())
}

/// What `git-annex-shell configlist` says at the other end.
async fn over_ssh(url: &SshUrl, options: &SshOptions) -> Result<Uuid, String> {
    let asking = async {
        let failed = |error: std::io::Error| error.to_string();
        let mut dialled = ssh::config_list(url, options).dial().await.map_err(failed)?;
        drop(dialled.output);
        let mut said = Vec::new();
        let read = (&mut dialled.input).take(ANSWER_BYTES_MAX).read_to_end(&mut said).await;
        drop(dialled.input);
        let words = dialled.farewell.last_words().await;
        read.map_err(failed)?;
        let uuid = said.split(|&byte| byte == b'\n').find_map(|line| {
            let text = line.strip_prefix(b"annex.uuid=")?;
            Uuid::parse(text.trim_ascii()).ok()
        });
        uuid.ok_or_else(|| match &*words {
            "" => "it did not tell a uuid".to_owned(),
            words => words.to_owned(),
        })
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(SILENT.to_owned()))
}

const PATIENCE: Duration = Duration::from_secs(30);
const SILENT: &str = "it did not answer for 30 seconds";
const ANSWER_BYTES_MAX: u64 = 65_536;
