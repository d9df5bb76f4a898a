//! All repositories that a gateway can reach: its remotes, and what is behind those of them that
//! are gateways themselves (remotes §2, §4; proxy-cluster §4).

use gannet_core::{Book, Uuid};
use gannet_repo::{Location, Remote, Remotes};

use crate::remotes::Address;

/// A remote, and the way to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Neighbour {
    pub(super) remote: Remote,
    /// What it costs to ask it.
    pub(super) cost: f64,
    /// Where it is, or why it cannot be reached.
    pub(super) address: Result<Address, String>,
}

/// All of them, the cheapest first.
pub(super) fn neighbours(remotes: &Remotes, book: &Book) -> Vec<Neighbour> {
    let neighbour = |remote: Remote| {
        let address = address(&remote, remotes);
        let cost = cost(&remote, &address);
        Neighbour { remote, cost, address }
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
    let is_usable = matches!(gateway.address, Ok(Address::Ssh(_) | Address::Http(_)));
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

fn address(remote: &Remote, remotes: &Remotes) -> Result<Address, String> {
    match &remote.location {
        Location::Git { url, annex_url } => {
            Address::parse(annex_url.as_ref().unwrap_or(url), &remotes.base)
                .map_err(|error| error.to_string())
        }
        Location::Special { kind, .. } => {
            Err(format!("special remotes of this kind ({kind}) cannot be proxied"))
        }
    }
}

/// As git-annex computes with single precision, so do we.
fn cost(remote: &Remote, address: &Result<Address, String>) -> f64 {
    let set = remote.cost.as_ref().and_then(|cost| cost.parse::<f32>().ok());
    set.map_or_else(|| default_cost(remote, address), f64::from)
}

fn default_cost(remote: &Remote, address: &Result<Address, String>) -> f64 {
    match &remote.location {
        Location::Special { kind, .. } => match *kind {
            "directory" => 100.0,
            "buprepo" | "borgrepo" | "ddarrepo" => 110.0,
            "adb" => 175.0,
            "mask" => 225.0,
            "glacier" | "compute" => 1000.0,
            _ => 200.0,
        },
        Location::Git { .. } => match address {
            Ok(Address::Path(_) | Address::Socket(_)) => 100.0,
            Ok(_) | Err(_) => 200.0,
        },
    }
}

/// Nodes cost a little more than the cluster that they belong to.
const NODE_COST: &str = "200.1";
