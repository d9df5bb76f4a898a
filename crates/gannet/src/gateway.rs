//! A repository, and what it lets others reach: remotes under their own uuids, and clusters.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use futures_util::future::join_all;
use gannet_cluster::{Cluster, Gateway as ClusterGateway, Limits, Node, Proxy};
use gannet_core::annex::Guarded;
use gannet_core::{Annex, Book, ClusterUuid, Ledger, Result, Uuid};
use gannet_repo::{Jobs, Remotes, Repo, SpecialRemotes};

use crate::clock::SystemClock;

mod gate;
mod link;
mod neighbours;
pub mod setup;
mod special;
pub mod status;

use gate::{Behind, View};
use link::{Link, Ways};
use neighbours::Neighbour;

/// How much a gateway does at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// How many nodes of a cluster one request asks at once, where it need not ask them all; `None`:
    /// as many as `annex.jobs` says, or else as usual.
    pub cluster_jobs: Option<NonZeroUsize>,
    /// How many connections that nobody uses are kept to each remote; `None`: as usual.
    pub idle_connections: Option<usize>,
}

/// A repository as a gateway. Most are none: then nothing is behind it, and finding that out costs
/// a look at its configuration.
///
/// Configuration and git-annex branch may change at any time; whoever asks next is told what holds
/// then. Remotes are opened when they are needed first, and closed with the gateway, or when the
/// configuration does not lead to them any more.
pub struct Gateway {
    repo: Repo,
    ledger: Arc<dyn Ledger>,
    ways: Arc<Ways>,
    bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    view: Option<Arc<Glance>>,
    /// By the names of remotes.
    links: HashMap<String, Arc<Link>>,
    fronts: HashMap<Uuid, Front>,
}

/// What was known at one moment.
struct Glance {
    remotes: Arc<Remotes>,
    book: Arc<Book>,
    special: Arc<SpecialRemotes>,
    view: View,
}

/// What is behind one uuid, put together.
enum Front {
    Proxy { link: Arc<Link>, annex: Arc<dyn Annex> },
    Cluster { links: Vec<Arc<Link>>, cluster: Arc<Cluster>, annex: Arc<dyn Annex> },
}

impl Gateway {
    /// The repository as a gateway.
    #[must_use]
    pub fn new(repo: Repo, bounds: Bounds) -> Self {
        Self {
            ledger: Arc::new(repo.clone()),
            ways: Arc::new(Ways::new(repo.clone(), bounds)),
            bounds,
            state: Mutex::default(),
            repo,
        }
    }

    /// All uuids behind it, its own left out.
    ///
    /// # Errors
    /// When configuration or branch cannot be read.
    pub async fn served(&self) -> Result<Vec<Uuid>> {
        Ok(match self.glance().await? {
            Some(glance) => glance.view.served(&glance.book),
            None => Vec::new(),
        })
    }

    /// The place behind it that has this uuid; it refuses what its asker may not do. `None`: there
    /// is none, or it must not be reached through this gateway.
    ///
    /// # Errors
    /// When configuration or branch cannot be read.
    pub async fn behind(&self, uuid: &Uuid) -> Result<Option<Arc<dyn Annex>>> {
        let Some(glance) = self.glance().await? else { return Ok(None) };
        Ok(match glance.view.behind(uuid, &glance.book) {
            Some(Behind::Remote(neighbour)) => Some(self.proxy(uuid, neighbour, &glance.remotes)),
            Some(Behind::Cluster(cluster, name, members)) => {
                let members = members.into_iter().filter_map(|member| {
                    let link = self.link(&mut self.state(), member.neighbour, &glance.remotes)?;
                    Some((link, member.gateway.cloned()))
                });
                let limits = self.limits(&glance.remotes);
                Some(self.cluster(cluster, name, members.collect(), limits))
            }
            None => {
                self.state().fronts.remove(uuid);
                None
            }
        })
    }

    /// Commits what was recorded, here and in remotes on this disk.
    ///
    /// # Errors
    /// The first, after all have been tried.
    pub async fn flush(&self) -> Result<()> {
        let links: Vec<_> = self.state().links.values().cloned().collect();
        let done = self.repo.flush().await;
        let others = join_all(links.iter().map(|link| link.flush())).await;
        others.into_iter().fold(done, Result::and)
    }

    /// Whether somebody has a place that is behind it.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.state().fronts.values().any(|front| Arc::strong_count(front.annex()) > 1)
    }

    /// What is known right now; `None` if the configuration lets nobody through.
    async fn glance(&self) -> Result<Option<Arc<Glance>>> {
        let remotes = self.repo.remotes().await?;
        if !remotes.has_gates() {
            *self.state() = State::default();
            return Ok(None);
        }
        let book = self.repo.book().await?;
        let special = self.repo.special_remotes().await?;
        let mut state = self.state();
        if let Some(known) = &state.view
            && Arc::ptr_eq(&known.remotes, &remotes)
            && Arc::ptr_eq(&known.book, &book)
            && Arc::ptr_eq(&known.special, &special)
        {
            return Ok(Some(Arc::clone(known)));
        }
        let view = View::new(self.repo.uuid(), &remotes, &book, &special);
        let served = view.served(&book);
        state.fronts.retain(|uuid, _| served.contains(uuid));
        state.links.retain(|name, _| view.has_neighbour(name));
        let glance = Arc::new(Glance { view, remotes, book, special });
        state.view = Some(Arc::clone(&glance));
        Ok(Some(glance))
    }

    fn proxy(&self, uuid: &Uuid, neighbour: &Neighbour, remotes: &Remotes) -> Arc<dyn Annex> {
        let mut state = self.state();
        let link = self.link_to(&mut state, neighbour, uuid, remotes);
        if let Some(Front::Proxy { link: known, annex }) = state.fronts.get(uuid)
            && Arc::ptr_eq(known, &link)
        {
            return Arc::clone(annex);
        }
        let ledger = Arc::clone(&self.ledger);
        let (own, clock) = (self.repo.uuid().clone(), Arc::new(SystemClock));
        let proxy = Proxy::new(node(&link, None), own, ledger, clock);
        let annex: Arc<dyn Annex> = Arc::new(Guarded::new(proxy));
        let front = Front::Proxy { link, annex: Arc::clone(&annex) };
        state.fronts.insert(uuid.clone(), front);
        annex
    }

    fn cluster(
        &self,
        cluster: ClusterUuid,
        name: &str,
        members: Vec<(Arc<Link>, Option<Uuid>)>,
        limits: Limits,
    ) -> Arc<dyn Annex> {
        let nodes: Vec<_> =
            members.iter().map(|(link, gateway)| node(link, gateway.clone())).collect();
        let now: Vec<_> = members.into_iter().map(|(link, _)| link).collect();
        let mut state = self.state();
        if let Some(Front::Cluster { links, cluster, annex }) =
            state.fronts.get_mut(cluster.as_uuid())
        {
            let same = links.len() == now.len()
                && links.iter().zip(&now).all(|(known, now)| Arc::ptr_eq(known, now));
            if !same {
                cluster.set_nodes(&nodes);
                *links = now;
            }
            return Arc::clone(annex);
        }
        let uuid = cluster.as_uuid().clone();
        let gateway = ClusterGateway {
            cluster,
            name: name.to_owned(),
            uuid: self.repo.uuid().clone(),
            ledger: Arc::clone(&self.ledger),
            clock: Arc::new(SystemClock),
            limits,
        };
        let cluster = Arc::new(Cluster::new(gateway, &nodes));
        let place = Arc::clone(&cluster) as Arc<dyn Annex>;
        let annex: Arc<dyn Annex> = Arc::new(Guarded::new(place));
        let front = Front::Cluster { links: now, cluster, annex: Arc::clone(&annex) };
        state.fronts.insert(uuid, front);
        annex
    }

    fn limits(&self, remotes: &Remotes) -> Limits {
        let configured = || {
            remotes.jobs.map(|jobs| match jobs {
                Jobs::Number(number) => number,
                Jobs::Cpus => thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            })
        };
        let usual = Limits::default();
        let jobs = self.bounds.cluster_jobs.or_else(configured);
        Limits { jobs: jobs.map_or(usual.jobs, NonZeroUsize::get), ..usual }
    }

    fn link(
        &self,
        state: &mut State,
        neighbour: &Neighbour,
        remotes: &Remotes,
    ) -> Option<Arc<Link>> {
        let uuid = neighbour.remote.uuid.as_ref()?;
        Some(self.link_to(state, neighbour, uuid, remotes))
    }

    /// The way to a remote: the one that is known, if it still leads there.
    fn link_to(
        &self,
        state: &mut State,
        neighbour: &Neighbour,
        uuid: &Uuid,
        remotes: &Remotes,
    ) -> Arc<Link> {
        let name = &neighbour.remote.name;
        if let Some(known) = state.links.get(name)
            && known.neighbour == *neighbour
        {
            return Arc::clone(known);
        }
        let (ssh_command, ways) = (remotes.ssh_command.clone(), Arc::clone(&self.ways));
        let link = Arc::new(Link::new(neighbour.clone(), uuid.clone(), ssh_command, ways));
        state.links.insert(name.clone(), Arc::clone(&link));
        link
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Front {
    fn annex(&self) -> &Arc<dyn Annex> {
        match self {
            Self::Proxy { annex, .. } | Self::Cluster { annex, .. } => annex,
        }
    }
}

fn node(link: &Arc<Link>, gateway: Option<Uuid>) -> Node {
    let Neighbour { remote, cost, .. } = &link.neighbour;
    Node {
        uuid: link.uuid().clone(),
        name: remote.name.clone(),
        cost: *cost,
        read_only: link.neighbour.is_read_only(),
        gateway,
        annex: Arc::clone(link) as Arc<dyn Annex>,
    }
}
