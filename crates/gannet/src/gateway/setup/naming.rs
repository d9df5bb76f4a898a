//! Names of clusters, and clusters that exist at other gateways.

use gannet_core::{Book, ClusterUuid};
use gannet_repo::{Remotes, SpecialRemotes};

use crate::gateway::neighbours::neighbours;

/// Tells whether a cluster can be called so. Its name becomes part of a key of git's configuration,
/// and of the names of remotes (proxy-cluster §2).
///
/// # Errors
/// Why it cannot.
pub fn check_cluster_name(name: &str) -> Result<(), String> {
    let why = |why: &str| Err(format!("`{name}` cannot be the name of a cluster: {why}"));
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.starts_with(['-', '.']) || !name.chars().all(legal) {
        return why(
            "it may have letters, digits, `-`, `_` and `.`, and begins with none of the last three",
        );
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_key = last.starts_with(|c: char| c.is_ascii_alphabetic())
        && last.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !is_key {
        return why(
            "git keeps it as `annex.cluster.NAME`, so it must begin with a letter from a to z after \
             the last dot, and have nothing but such letters, digits and `-` there",
        );
    }
    Ok(())
}

/// What makes a repository another gateway of a cluster.
#[derive(Debug, PartialEq, Eq)]
pub struct Extension {
    /// The cluster.
    pub cluster: ClusterUuid,
    /// What to write into the configuration.
    pub values: Vec<(String, String)>,
}

/// Finds the cluster that the gateway behind the remote `remote` calls `name`.
///
/// # Errors
/// Why it is not to be found, or not to be used, and what to do.
pub fn extension(
    remote: &str,
    name: &str,
    remotes: &Remotes,
    book: &Book,
) -> Result<Extension, String> {
    check_cluster_name(name)?;
    // No special remote is a gateway.
    let all = neighbours(remotes, book, &SpecialRemotes::default());
    let gateway = all.iter().find(|it| it.remote.name == *remote && it.remote.proxied_by.is_none());
    let Some(gateway) = gateway else {
        return Err(format!(
            "there is no remote called `{remote}`: add it with `git remote add {remote} ssh://…`"
        ));
    };
    let Some(uuid) = &gateway.remote.uuid else {
        return Err(format!(
            "the uuid of {remote} is not known: set remote.{remote}.annex-uuid, which `git config \
             annex.uuid` tells there"
        ));
    };
    let full = format!("{remote}-{name}");
    let small = full.to_lowercase();
    let named = |exact: bool| {
        all.iter().find(|it| match exact {
            true => it.remote.name == full,
            false => it.remote.name.to_lowercase() == small,
        })
    };
    let Some(found) = named(true).or_else(|| named(false)) else {
        let said = match book.proxied.get(uuid) {
            None => format!(
                "{remote} has not told that it is a gateway: run `git annex updatecluster`, or `gannet \
                 cluster update`, there, and then `git fetch {remote}` here"
            ),
            Some(_) if remotes.mentioned.contains(&full) => format!(
                "the configuration says something of a remote called `{full}`, which hides the \
                 cluster: run `git config --remove-section remote.{full}`"
            ),
            Some(_) if !is_far(gateway) => format!(
                "{remote} is not reached over ssh or annex+http, by which alone another gateway can \
                 be reached: change remote.{remote}.url"
            ),
            Some(pairs) => {
                let clusters = pairs.iter().filter(|(uuid, _)| uuid.as_cluster().is_some());
                let names: Vec<_> = clusters.map(|(_, name)| name.as_str()).collect();
                match &*names.join(", ") {
                    "" => format!(
                        "{remote} serves no cluster, as far as is known here; `git fetch {remote}` gets the news"
                    ),
                    names => format!(
                        "{remote} serves no cluster called `{name}`, but {names}; `git fetch {remote}` \
                         gets the news"
                    ),
                }
            }
        };
        return Err(said);
    };
    let Some(cluster) = found.remote.uuid.as_ref().and_then(|uuid| uuid.as_cluster()) else {
        return Err(format!("{full} is no cluster, but a repository"));
    };
    if let Some((known, other)) = remotes.cluster(name)
        && *other != cluster
    {
        return Err(format!(
            "this repository is a gateway of another cluster called `{known}`: rename that first \
             (annex.cluster.{known} in its configuration)"
        ));
    }
    let mut values = Vec::new();
    if remotes.cluster(name).is_none() {
        values.push((format!("annex.cluster.{name}"), cluster.as_uuid().to_string()));
    }
    let mut gateways = gateway.remote.cluster_gateways.clone();
    if !gateways.contains(&cluster) {
        gateways.push(cluster.clone());
        let text: Vec<_> = gateways.iter().map(|it| it.as_uuid().as_str()).collect();
        values.push((format!("remote.{remote}.annex-cluster-gateway"), text.join(" ")));
    }
    Ok(Extension { cluster, values })
}

fn is_far(gateway: &crate::gateway::neighbours::Neighbour) -> bool {
    use crate::remotes::Address;
    matches!(gateway.address(), Some(Address::Ssh(_) | Address::Http(_)))
}
