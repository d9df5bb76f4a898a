//! Who stores, who serves, who is left out: decided here, done elsewhere.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::time::Duration;

use gannet_core::{Facts, Uuid};

/// What matters of a node to whoever wants to store something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taker {
    /// By what is recorded, it has the content.
    pub(crate) has: bool,
    /// It wants the content.
    pub(crate) wants: bool,
    /// Nothing may be stored there.
    pub(crate) read_only: bool,
}

/// Chooses who shall store: those who want the content and lack it; if there are none, those who
/// want it, who have to say so themselves; if nobody wants it, those who lack it; else all
/// (proxy-cluster §7, §12 no. 7). Places in `takers` are returned.
pub(crate) fn store(takers: &[Taker]) -> Vec<usize> {
    let choose = |may: fn(&Taker) -> bool| -> Vec<usize> {
        let chosen = takers.iter().enumerate().filter(|(_, taker)| !taker.read_only && may(taker));
        chosen.map(|(place, _)| place).collect()
    };
    [choose(|it| it.wants && !it.has), choose(|it| it.wants), choose(|it| !it.has)]
        .into_iter()
        .find(|chosen| !chosen.is_empty())
        .unwrap_or_else(|| choose(|_| true))
}

/// What matters of a node to whoever wants to read something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Server {
    /// By what is recorded, it has the content.
    pub(crate) has: bool,
    /// It failed a moment ago.
    pub(crate) resting: bool,
    /// See [`Node::cost`](crate::Node::cost).
    pub(crate) cost: f64,
    /// How long it may be expected to wait.
    pub(crate) wait: Duration,
}

/// In which order nodes are asked for content: believed holders before the others, those that
/// failed lately after those that did not, then by cost, then by how long it may take
/// (proxy-cluster §8). Places in `servers` are returned.
pub(crate) fn serve(servers: &[Server]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..servers.len()).collect();
    order.sort_by(|&a, &b| compare(&servers[a], &servers[b]));
    order
}

fn compare(a: &Server, b: &Server) -> Ordering {
    (b.has.cmp(&a.has))
        .then(a.resting.cmp(&b.resting))
        .then(a.cost.total_cmp(&b.cost))
        .then(a.wait.cmp(&b.wait))
}

/// Whether by what is recorded the node called `uuid` has the content.
///
/// No location log names a cluster. One has what a node of it has; but if it stands for another
/// gateway of the same cluster, our own nodes, `ours`, are not behind it (proxy-cluster §12 no. 4).
pub(crate) fn believed(uuid: &Uuid, facts: &Facts, ours: &BTreeSet<&Uuid>) -> bool {
    match uuid.as_cluster() {
        None => facts.holders.contains(uuid),
        Some(cluster) => facts.book.clusters.get(&cluster).is_some_and(|nodes| {
            nodes.iter().any(|node| !ours.contains(node) && facts.holders.contains(node))
        }),
    }
}

/// Whether a cluster behind another gateway, as far as that is known, must not be asked: the
/// request has passed it already, or has been here before (proxy-cluster §10).
pub(crate) fn is_bypassed(gateway: Option<&Uuid>, us: &Uuid, bypass: &[Uuid]) -> bool {
    bypass.contains(us) || gateway.is_some_and(|it| it == us || bypass.contains(it))
}

#[cfg(test)]
mod tests;
