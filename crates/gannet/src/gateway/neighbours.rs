//! All repositories that a gateway can reach: its remotes, and what is behind those of them that
//! are gateways themselves (remotes §2, §4; proxy-cluster §4).

use gannet_core::{Book, Uuid};
use gannet_repo::{Location, Remote, Remotes, SpecialRemotes};

use super::special::Special;
use crate::remotes::Address;

/// A remote, and the way to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Neighbour {
    pub(super) remote: Remote,
    /// What it costs to ask it.
    pub(super) cost: f64,
    /// The way to it, or why there is none.
    pub(super) way: Result<Way, String>,
}

/// How a remote is reached.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Way {
    /// As a repository.
    Repository(Address),
    /// By way of what keeps its objects.
    Special(Special),
}

impl Neighbour {
    /// Where it is, if it is a repository that can be reached.
    pub(super) fn address(&self) -> Option<&Address> {
        match &self.way {
            Ok(Way::Repository(address)) => Some(address),
            _ => None,
        }
    }

    /// Whether nothing there may be changed.
    pub(super) fn is_read_only(&self) -> bool {
        let never = matches!(&self.way, Ok(Way::Special(special)) if !special.is_writable());
        self.remote.read_only || never
    }
}

/// All of them, the cheapest first.
pub(super) fn neighbours(
    remotes: &Remotes,
    book: &Book,
    special: &SpecialRemotes,
) -> Vec<Neighbour> {
    let neighbour = |remote: Remote| {
        let way = way(&remote, remotes, special);
        let cost = cost(&remote, &way);
        Neighbour { remote, cost, way }
    };
    let mut all: Vec<_> = remotes.all.iter().cloned().map(neighbour).collect();
    let behind: Vec<_> =
        all.iter().flat_map(|gateway| behind(gateway, remotes, book)).map(neighbour).collect();
    all.extend(behind);
    all.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    all
}

/// What another gateway serves, as far as the configuration says nothing else of it.
fn behind(gateway: &Neighbour, remotes: &Remotes, book: &Book) -> Vec<Remote> {
    let is_usable = matches!(gateway.way, Ok(Way::Repository(Address::Ssh(_) | Address::Http(_))));
    let base = &gateway.remote;
    let Some((uuid, pairs)) = base.uuid.as_ref().and_then(|it| book.proxied.get_key_value(it))
    else {
        return Vec::new();
    };
    let is_node = |node: &Uuid| {
        let clusters = pairs.keys().filter_map(Uuid::as_cluster);
        clusters.filter_map(|it| book.clusters.get(&it)).any(|nodes| nodes.contains(node))
    };
    let remote = |(node, name): (&Uuid, &String)| Remote {
        name: format!("{}-{name}", base.name),
        uuid: Some(node.clone()),
        location: base.location.clone(),
        cost: if is_node(node) { Some(NODE_COST.to_owned()) } else { base.cost.clone() },
        trust: None,
        cluster_nodes: Vec::new(),
        cluster_gateways: Vec::new(),
        proxied_by: Some(uuid.clone()),
        ..base.clone()
    };
    let all = pairs.iter().filter(|_| is_usable).map(remote);
    all.filter(|remote| !remotes.mentioned.contains(&remote.name)).collect()
}

fn way(remote: &Remote, remotes: &Remotes, special: &SpecialRemotes) -> Result<Way, String> {
    match &remote.location {
        Location::Git { url, annex_url } => {
            Address::parse(annex_url.as_ref().unwrap_or(url), &remotes.base)
                .map(Way::Repository)
                .map_err(|error| error.to_string())
        }
        Location::Special { kind, value } => {
            let settings = special.settings(remote).map_err(|error| error.to_string())?;
            Special::read(kind, value, settings, &remotes.base).map(Way::Special)
        }
    }
}

/// As git-annex computes with single precision, so do we.
fn cost(remote: &Remote, way: &Result<Way, String>) -> f64 {
    let recorded = match way {
        Ok(Way::Special(special)) => special.cost(),
        _ => None,
    };
    let set = remote.cost.as_ref().and_then(|cost| cost.parse::<f32>().ok());
    set.or(recorded).map_or_else(|| default_cost(remote, way), f64::from)
}

fn default_cost(remote: &Remote, way: &Result<Way, String>) -> f64 {
    match &remote.location {
        Location::Special { kind, .. } => match *kind {
            "directory" => 100.0,
            "buprepo" | "borgrepo" | "ddarrepo" => 110.0,
            "adb" => 175.0,
            "mask" => 225.0,
            "glacier" | "compute" => 1000.0,
            _ => 200.0,
        },
        Location::Git { .. } => match way {
            Ok(Way::Repository(Address::Path(_) | Address::Socket(_))) => 100.0,
            Ok(_) | Err(_) => 200.0,
        },
    }
}

/// Nodes cost a little more than the cluster that they belong to.
const NODE_COST: &str = "200.1";
