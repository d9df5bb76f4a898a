//! Serving, from the first look at the command line to the last commit.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use gannet_core::Uuid;
use gannet_net::serve::http::{HttpDoor, Limits};
use gannet_repo::{InitOptions, create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::access::Access;
use crate::cli::Failure;
use crate::cli::init::cannot_create;
use crate::cli::serve::Serve;
use crate::clock::SystemClock;
use crate::doors::{Capacity, Doorman, Listener, tcp, tls, unix};
use crate::house::{Grounds, House, blocking, repository_around};
use crate::memory;
use crate::yard::{Disk, Yard};

/// All that can be found out before anything is opened.
pub(crate) struct Plan {
    access: Access,
    tls: Option<TlsAcceptor>,
    grounds: Grounds,
}

impl Plan {
    /// Looks at what was asked for, and creates the repositories that are to be created.
    ///
    /// # Errors
    /// When it makes no sense, or a file or a repository that was named cannot be used.
    pub(crate) fn new(serve: &Serve) -> Result<Self, Failure> {
        let policy = serve.policy()?;
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)
            .map_err(|error| Failure::Failed(format!("the system has no random bytes: {error}")))?;
        let access = Access::new(policy, env::vars_os(), salt)
            .map_err(|error| Failure::Usage(error.to_string()))?;
        if policy.log_in && access.users() == 0 {
            tracing::warn!("nobody can log in: no variable GIT_ANNEX_P2PHTTP_PASSWORD_NAME is set");
        }
        let tls = match (&serve.tls.certfile, &serve.tls.privatekeyfile) {
            (Some(certificate), Some(key)) => {
                let acceptor = tls::acceptor(certificate, key, &serve.tls.chainfile);
                Some(acceptor.map_err(|error| Failure::doing("TLS", &error))?)
            }
            _ => None,
        };
        let grounds = grounds(serve)?;
        Ok(Self { access, tls, grounds })
    }
}

/// Serves until a signal ends it.
///
/// # Errors
/// When it cannot begin.
pub(crate) async fn serve(serve: &Serve, plan: Plan) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::doing("signals", &error))?;
    let scheme = if plan.tls.is_some() { "https" } else { "http" };
    let (listeners, ready) = listen(serve, scheme).await?;
    let uuids = uuids(&plan.grounds.named).await?;
    let ready = ready.with_repositories(&uuids, &plan.grounds);
    let files = allow_many_files();

    let house = House::new(plan.grounds, Arc::new(Disk::new(serve.gateway_bounds())), plan.access);
    house.look_around();
    for uuid in &uuids {
        house
            .open(uuid)
            .await
            .map_err(|error| Failure::Failed(format!("cannot serve {uuid}: {}", error.chain())))?;
    }
    if serve.accepted.jobs.is_some() {
        tracing::info!(
            "--jobs changes nothing: requests do not occupy workers here, see --max-requests"
        );
    }

    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let header_timeout = seconds(serve.limits.header_timeout);
    let wanted = Capacity {
        connections: serve.limits.max_connections.get(),
        connections_per_address: serve.limits.max_connections_per_address.get(),
    };
    let capacity = affordable(wanted, files);
    let limits = limits(serve, capacity);
    let http = HttpDoor::new(Arc::new(house.clone()), limits).below(&serve.listen.base_path);
    let doorman = Doorman::new(http, plan.tls, capacity, header_timeout);
    let (stop, stopping) = watch::channel(false);
    let attend = |listener| doorman.clone().attend(listener, stopping.clone());
    let doors = join_all(listeners.into_iter().map(attend));

    announce(&ready.line());
    let served = async {
        tokio::pin!(doors);
        tokio::select! {
            _ = &mut doors => {}
            () = house.tidy_up() => {}
            () = memory::give_back() => {}
            name = signals.next() => {
                tracing::info!("{name}: letting requests finish");
                stop.send_replace(true);
                tokio::select! {
                    _ = &mut doors => {}
                    () = sleep(seconds(serve.limits.stop_timeout)) => {
                        tracing::warn!("some requests did not finish in time");
                    }
                    name = signals.next() => tracing::warn!("{name}: ending at once"),
                }
            }
        }
    };
    served.await; // whoever is still here is shown out
    if timeout(FLUSH_TIME_MAX, house.flush()).await.is_err() {
        tracing::error!("not everything was committed in time; git-annex will do it");
    }
    tracing::info!("done");
    Ok(())
}

/// What to tell when all is ready.
struct Ready {
    urls: Vec<String>,
    annex_url: Option<String>,
    served: Vec<String>,
}

impl Ready {
    fn with_repositories(mut self, uuids: &[Uuid], grounds: &Grounds) -> Self {
        self.served = uuids.iter().map(Uuid::to_string).collect();
        let below = grounds.directories.iter();
        self.served.extend(below.map(|path| format!("all-below:{}", path.display())));
        self
    }

    /// One line of words, for people and for programs that start this one.
    fn line(&self) -> String {
        let mut words = vec!["gannet: ready at".to_owned()];
        words.extend(self.urls.iter().cloned());
        if let Some(url) = &self.annex_url {
            words.push(format!("for annexUrl {url}"));
        }
        words.push("serving".to_owned());
        words.extend(self.served.iter().cloned());
        words.join(" ")
    }
}

async fn listen(serve: &Serve, scheme: &str) -> Result<(Vec<Listener>, Ready), Failure> {
    let listen = &serve.listen;
    let base = &listen.base_path;
    if let Some(path) = &listen.socket {
        let what = format!("cannot listen at `{}`", path.display());
        let socket = unix::Socket::bind(path).map_err(|error| Failure::doing(what, &error))?;
        let urls = vec![format!("unix:{}", path.display())];
        return Ok((vec![Listener::Unix(socket)], Ready { urls, annex_url: None, served: vec![] }));
    }
    let listeners = tcp::listen(&listen.bind, listen.port)
        .await
        .map_err(|error| Failure::doing("the network", &error))?;
    let mut urls = Vec::new();
    let mut annex_url = None;
    for listener in &listeners {
        let address =
            listener.local_addr().map_err(|error| Failure::doing("the network", &error))?;
        let host = match address {
            _ if address.ip().is_unspecified() => format!("{}:{}", host_name(), address.port()),
            _ => address.to_string(),
        };
        urls.push(format!("{scheme}://{host}{base}/git-annex/"));
        // git-annex itself appends `/git-annex/` to any path but that one (p2p-http §1).
        let path = if base.is_empty() { "/git-annex/".to_owned() } else { format!("{base}/") };
        annex_url.get_or_insert_with(|| format!("annex+{scheme}://{host}{path}"));
    }
    let listeners = listeners.into_iter().map(Listener::Tcp).collect();
    Ok((listeners, Ready { urls, annex_url, served: vec![] }))
}

/// The name by which others may know this machine.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

fn announce(line: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        tracing::warn!(%error, "nobody reads standard output: {line}");
    }
}

fn grounds(serve: &Serve) -> Result<Grounds, Failure> {
    let mut grounds = Grounds::default();
    for path in &serve.repositories {
        let path = absolute(path)?;
        if serve.init {
            // What is complete already stays as it is.
            let options = InitOptions { description: String::new(), bare: true, uuid: None };
            create(&path, &options, &SystemClock)
                .map_err(|error| Failure::doing(cannot_create(&path), &error))?;
        }
        grounds.named.push(path);
    }
    for path in &serve.directory {
        let path = absolute(path)?;
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => grounds.directories.push(path),
            Ok(_) => {
                return Err(Failure::Failed(format!("`{}` is not a directory", path.display())));
            }
            Err(error) => {
                let what = format!("cannot serve what is below `{}`", path.display());
                return Err(Failure::doing(what, &error));
            }
        }
    }
    if grounds.named.is_empty() && grounds.directories.is_empty() {
        let here =
            env::current_dir().map_err(|error| Failure::doing("the current directory", &error))?;
        let Some(around) = repository_around(&here) else {
            return Err(Failure::Failed(NO_REPOSITORY.to_owned()));
        };
        grounds.named.push(around.to_owned());
    }
    Ok(grounds)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::doing("the current directory", &error))
}

/// The uuids of the repositories that were named. A clone that git-annex has not been used in yet
/// is initialised, as git-annex would do.
async fn uuids(named: &[PathBuf]) -> Result<Vec<Uuid>, Failure> {
    let mut uuids = Vec::new();
    for path in named {
        let path = path.clone();
        let look = move || match Disk::default().peek(&path)? {
            Some(glimpse) => Ok(Ok(glimpse.uuid)),
            None => Ok(Disk::default().open(&path).map(|opened| opened.annex.uuid().clone())),
        };
        let uuid = blocking(look)
            .await
            .map_err(|error| Failure::Failed(error.chain()))?
            .map_err(|error| Failure::Failed(format!("{}; {CREATE}", error.chain())))?;
        if !uuids.contains(&uuid) {
            uuids.push(uuid);
        }
    }
    Ok(uuids)
}

/// Raises the number of files that may be open to what the system allows, and returns it.
fn allow_many_files() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, ..limit };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.current = limit.maximum,
            Err(error) => tracing::debug!(%error, "cannot raise the limit of open files"),
        }
    }
    limit.current
}

/// As much of `wanted` as there can be if so many files may be open: a connection needs one, and
/// what it transfers another two. One address keeps its part of what there is.
fn affordable(wanted: Capacity, files: Option<u64>) -> Capacity {
    let Capacity { connections, connections_per_address } = wanted;
    let per_address = connections_per_address.min(connections);
    let most = files.and_then(|files| usize::try_from(files.saturating_sub(FILES_APART) / 3).ok());
    let most = most.map_or(connections, |most| connections.min(most.max(1)));
    if let (true, Some(files)) = (most < connections, files) {
        tracing::warn!("only {files} files may be open: {most} connections, not {connections}");
    }
    let part = per_address as u128 * most as u128 / connections.max(1) as u128;
    let connections_per_address = usize::try_from(part).unwrap_or(per_address).max(1);
    Capacity { connections: most, connections_per_address }
}

fn limits(serve: &Serve, capacity: Capacity) -> Limits {
    let limits = &serve.limits;
    Limits {
        header_seconds_max: limits.header_timeout,
        keep_alive_seconds_max: limits.keep_alive_timeout,
        idle_seconds_max: limits.idle_timeout,
        requests_max: limits.max_requests.get().min(capacity.connections),
        requests_per_address_max: limits.max_requests_per_address.get(),
        connections_max: capacity.connections,
        connections_per_address_max: capacity.connections_per_address,
        locks_max: limits.lockedfiles.get(),
        locks_per_client_max: limits.max_locks_per_client.get(),
        locks_per_address_max: limits.max_locks_per_address.get(),
        head_bytes_max: limits.max_head_bytes,
        streams_max: limits.max_streams,
        resets_max: limits.max_resets,
        ..Limits::default()
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Never waited for. Whoever takes no notice of it is killed when a file grows beyond the
    /// limit of the process; so writing fails instead.
    _file_too_large: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            _file_too_large: signal(SignalKind::from_raw(SIGXFSZ))?,
        })
    }

    /// Waits for the next, and tells its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}

const SIGXFSZ: i32 = rustix::process::Signal::XFSZ.as_raw();

/// Files for what is always there, and for those who are turned away: 64 because there are too many
/// in all, and 64 of one address.
const FILES_APART: u64 = 192;

const NO_REPOSITORY: &str = "\
there is no git repository here: name one, or --directory, or create one with \
`gannet serve --init REPO`";
const CREATE: &str = "--init creates a repository where there is none";
const FLUSH_TIME_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_mean_few_connections_for_everybody() {
        let affordable = |wanted: (usize, usize), files| {
            let (connections, connections_per_address) = wanted;
            let affordable = affordable(Capacity { connections, connections_per_address }, files);
            (affordable.connections, affordable.connections_per_address)
        };
        for (wanted, files, expected) in [
            ((4096, 1024), None, (4096, 1024)),
            ((4096, 1024), Some(1_000_000), (4096, 1024)),
            ((4096, 1024), Some(1024), (277, 69)),
            ((4096, 4096), Some(1024), (277, 277)),
            ((100, 1024), Some(20_000), (100, 100)),
            ((4096, 1024), Some(10), (1, 1)),
            ((1, 1), Some(0), (1, 1)),
            ((usize::MAX, 2), None, (usize::MAX, 2)),
        ] {
            assert_eq!(affordable(wanted, files), expected, "{wanted:?} of {files:?}");
        }
    }
}
