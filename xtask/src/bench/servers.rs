//! The servers that are compared.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::load::Target;
use crate::oracle;
use crate::run::{Result, Running, announce, cargo, output, root, run, shield};
use crate::tools;

/// Which program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gannet,
    Reference,
    Nginx,
}

impl Kind {
    /// In the order in which they are measured.
    pub(super) const ALL: [Self; 3] = [Self::Gannet, Self::Reference, Self::Nginx];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gannet => "gannet",
            Self::Reference => "reference",
            Self::Nginx => "nginx",
        }
    }

    pub(super) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("no server is called {name}").into())
    }
}

/// A bare repository, and the programs that can serve it.
pub(super) struct Repository {
    path: PathBuf,
    home: PathBuf,
    uuid: String,
    gannet: PathBuf,
    oracle: PathBuf,
}

/// A server that runs. Dropping it ends it.
pub(super) struct Server {
    pub(super) kind: Kind,
    /// The repository itself.
    pub(super) target: Target,
    running: Running,
}

impl Repository {
    /// Makes an empty repository in `dir`, and builds or installs those who shall serve it.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub(super) fn create(dir: &Path, kinds: &[Kind]) -> Result<Self> {
        let gannet = gannet()?;
        if kinds.contains(&Kind::Nginx) {
            tools::install_packages()?;
        }
        let (path, home) = (dir.join("repository"), dir.join("home"));
        fs::create_dir(&home)?;
        if kinds.contains(&Kind::Reference) {
            run(shield(Command::new("git").args(["init", "--quiet", "--bare"]).arg(&path), &home))?;
            run(shield(annex()?.args(["init", "--quiet", "bench"]).current_dir(&path), &home))?;
        } else {
            run(shield(Command::new(&gannet).arg("init").arg(&path), &home))?;
        }
        Self::of(path, home)
    }

    /// A repository that is there already.
    ///
    /// # Errors
    /// When it has no uuid, or the oracle cannot be installed.
    pub(super) fn of(path: PathBuf, home: PathBuf) -> Result<Self> {
        let mut uuid = Command::new("git");
        uuid.arg("-C").arg(&path).args(["config", "annex.uuid"]);
        let uuid = output(shield(&mut uuid, &home))?;
        Ok(Self { path, home, uuid, gannet: gannet()?, oracle: oracle::install()? })
    }

    /// Starts a server, and waits until it answers.
    ///
    /// # Errors
    /// When it does not within 30 seconds.
    pub(super) fn serve(&self, kind: Kind) -> Result<Server> {
        // What an earlier server wrote must not be this one's burden.
        run(&mut Command::new("sync"))?;
        let mut address = free_address()?;
        let mut command = match kind {
            Kind::Gannet => {
                let mut gannet = Command::new(&self.gannet);
                gannet.arg("serve").arg(&self.path).args(["--bind", "127.0.0.1", "--port", "0"]);
                gannet.arg("--wideopen").stdout(Stdio::piped());
                gannet
            }
            Kind::Reference => {
                let mut annex = Command::new(self.oracle.join("git-annex"));
                annex.args(["p2phttp", "--quiet", "--wideopen", "--bind", "127.0.0.1"]);
                annex.args(["--port", &address.port().to_string()]).args(["-J", REFERENCE_JOBS]);
                annex.args(["--clusterjobs", REFERENCE_JOBS]);
                annex.args(["--proxyconnections", REFERENCE_JOBS]);
                annex.env("PATH", path_with(&self.oracle)?).stdout(Stdio::null());
                annex
            }
            Kind::Nginx => {
                let config = self.home.join("nginx.conf");
                fs::write(&config, self.nginx_config(address))?;
                let mut nginx = Command::new("nginx");
                nginx.env("PATH", path_with(Path::new("/usr/sbin"))?);
                nginx.arg("-p").arg(&self.home).arg("-c").arg(config).args(["-e", "stderr"]);
                nginx
            }
        };
        let log = File::create(self.home.join(format!("{}.log", kind.name())))?;
        shield(&mut command, &self.home).current_dir(&self.path).stdin(Stdio::null()).stderr(log);
        let mut running = Running::start(&mut command)?;
        if kind == Kind::Gannet {
            let stdout = running.child().stdout.take().ok_or("gannet has no stdout")?;
            address = address_in(stdout)?;
        }
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if running.child().try_wait()?.is_some() || begin.elapsed() > READY_WITHIN {
                let log = self.home.join(format!("{}.log", kind.name()));
                let said = fs::read_to_string(log)?;
                return Err(format!("{} does not listen:\n{said}", kind.name()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let base = format!("/git-annex/{}", self.uuid);
        Ok(Server { kind, target: Target { address, base }, running })
    }

    /// Where each stored key is as a file, from the root of what nginx serves.
    ///
    /// # Errors
    /// When the objects cannot be listed.
    pub(super) fn files(&self) -> Result<HashMap<String, String>> {
        let list = output(
            Command::new("find").args([".", "-type", "f"]).current_dir(self.path.join(OBJECTS)),
        )?;
        let files = list.lines().filter_map(|line| {
            let path = line.strip_prefix('.')?;
            Some((path.rsplit('/').next()?.to_owned(), path.to_owned()))
        });
        Ok(files.collect())
    }

    fn nginx_config(&self, address: SocketAddr) -> String {
        let root = self.path.join(OBJECTS);
        let user = if tools::is_root_user() { "user root;" } else { "" };
        format!(
            "daemon off; {user} worker_processes auto; pid nginx.pid; \
             events {{ worker_connections 1024; }} \
             http {{ access_log off; sendfile on; tcp_nopush on; \
             keepalive_requests 100000000; default_type application/octet-stream; \
             client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; \
             uwsgi_temp_path uwsgi; scgi_temp_path scgi; \
             server {{ listen {address}; root {}; }} }}\n",
            root.display()
        )
    }
}

impl Server {
    /// The most memory that the server and its children had, in MiB. What they share counts for
    /// each of them.
    ///
    /// # Errors
    /// When the server is gone.
    pub(super) fn peak_memory_mib(&self) -> Result<f64> {
        let family = family_of(self.running.id())?;
        family.into_iter().map(peak_memory_mib).sum()
    }

    /// The same, without its children.
    ///
    /// # Errors
    /// When the server is gone.
    pub(super) fn own_peak_memory_mib(&self) -> Result<f64> {
        peak_memory_mib(self.running.id())
    }

    /// Ends the server as a service manager would.
    ///
    /// # Errors
    /// When it does not end.
    pub(super) fn stop(self) -> Result {
        self.running.stop()
    }
}

/// Gannet as people get it, after [`build`].
///
/// # Errors
/// When this is not run as a chore.
pub(super) fn gannet() -> Result<PathBuf> {
    Ok(target()?.join("release/gannet"))
}

/// The pinned git-annex.
///
/// # Errors
/// When it cannot be installed.
pub(super) fn annex() -> Result<Command> {
    let oracle = oracle::install()?;
    let mut annex = Command::new(oracle.join("git-annex"));
    annex.env("PATH", path_with(&oracle)?);
    Ok(annex)
}

/// Makes it.
///
/// # Errors
/// When it cannot be compiled.
pub(super) fn build() -> Result {
    announce("building gannet");
    let args = ["build", "--release", "-p", "gannet", "--target-dir"];
    run(cargo()?.args(args).arg(target()?))
}

fn target() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => Ok(target.into()),
        None => Ok(root()?.join("target")),
    }
}

fn peak_memory_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.split_whitespace().next()).ok_or("no VmHWM in /proc")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}

/// A process, its children and theirs.
fn family_of(pid: u32) -> Result<Vec<u32>> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&pid) = family.get(next) {
        next += 1;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let children = fs::read_to_string(thread?.path().join("children"))?;
            for child in children.split_whitespace() {
                family.push(child.parse()?);
            }
        }
    }
    Ok(family)
}

/// The address in the line that says that the server is ready.
fn address_in(stdout: impl Read + Send + 'static) -> Result<SocketAddr> {
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let address = parse_address(&line).ok_or_else(|| format!("no address in: {line}"))?;
    // Whatever else it prints must not make it wait for a reader.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    Ok(address)
}

fn parse_address(line: &str) -> Option<SocketAddr> {
    let rest = &line[line.find("http://")? + "http://".len()..];
    let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.' && it != ':');
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

/// An address where nobody listens.
///
/// # Errors
/// When there is none.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The path with one directory more.
///
/// # Errors
/// When the directory cannot be in a path.
pub(super) fn path_with(dir: &Path) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([dir.to_path_buf()]);
    Ok(std::env::join_paths(dirs)?)
}

const OBJECTS: &str = "annex/objects";
const READY_WITHIN: Duration = Duration::from_secs(30);
/// One for each of 16 connections, and one for the server itself.
const REFERENCE_JOBS: &str = "17";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_tells_the_address() {
        let expected = Some("127.0.0.1:4711".parse().unwrap());
        assert_eq!(parse_address("ready: http://127.0.0.1:4711/git-annex/ x\n"), expected);
        assert_eq!(parse_address("http://127.0.0.1:4711"), expected);
        assert_eq!(parse_address("unix:/run/gannet"), None);
    }

    #[test]
    fn a_family_has_its_children() {
        let child = Running::start(Command::new("sleep").arg("60")).unwrap();
        assert!(family_of(std::process::id()).unwrap().contains(&child.id()));
    }
}
