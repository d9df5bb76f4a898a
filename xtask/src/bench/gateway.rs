//! A gateway in front of nodes that are reached by ssh and have the real git-annex-shell: the same
//! nodes for every gateway that is compared, each with a set of its own.
//!
//! Encryption and hashes of three nodes are more than a small machine has to give, and then say
//! little of the gateway. So one put goes to a cluster that has a node behind a slow link, too, and
//! beside it stands how long that node takes alone.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::load::{Sizes, Target, big_row, count, get_each, mebibytes, put_each_in_turn, put_file};
use super::objects::{Object, Objects};
use super::servers::{Kind, Repository, annex};
use super::sshd::{Link, Sshd};
use super::table::Table;
use crate::run::{Result, announce, output, run, shield};

/// Measures the gateways of these kinds, each with nodes of its own in `dir`.
///
/// # Errors
/// When one of them gives a wrong answer, or none.
pub(super) fn measure(dir: &Path, kinds: &[Kind], sizes: &Sizes, table: &mut Table) -> Result {
    announce("preparing objects for gateways");
    let dir = dir.join("gateways");
    fs::create_dir(&dir)?;
    let objects = Objects::make(&dir.join("objects"), sizes)?;
    let [to_one, to_three] = two(&dir.join("bigs"), sizes.big_bytes)?;
    let [to_slow, to_slowed] = two(&dir.join("slow"), sizes.slow_bytes)?;
    let sshd = Sshd::start(&dir.join("sshd"))?;
    for kind in kinds.iter().filter(|kind| **kind != Kind::Nginx) {
        let scene = Scene::set_up(&dir.join(kind.name()), &sshd)?;
        announce(&format!("measuring {} as a gateway", kind.name()));
        let server = scene.gateway.serve(*kind)?;
        let at = |uuid: &str| Target {
            address: server.target.address,
            base: format!("/git-annex/{uuid}"),
        };
        let [one, _, _, slow] = &scene.nodes[..] else { return Err("four nodes".into()) };

        let rate = mebibytes(to_one.len) / put_file(&at(one), &to_one)?;
        table.add(&big_row("PUT to an ssh node,", sizes), "MiB/s", *kind, rate);
        let seconds = get_each(&at(one), std::slice::from_ref(&to_one))?;
        table.add(&big_row("GET from it,", sizes), "MiB/s", *kind, mebibytes(to_one.len) / seconds);
        let rate = count(objects.small.len()) / put_each_in_turn(&at(one), &objects.small)?;
        table.add("PUT 16 KiB to an ssh node, 1 connection", "/s", *kind, rate);
        let rate = count(objects.small.len()) / get_each(&at(one), &objects.small)?;
        table.add("GET 16 KiB from it, 1 connection", "/s", *kind, rate);
        let rate = mebibytes(to_three.len) / put_file(&at(&scene.three), &to_three)?;
        table.add(&big_row("PUT to three ssh nodes,", sizes), "MiB/s", *kind, rate);
        let rate = mebibytes(to_slow.len) / put_file(&at(slow), &to_slow)?;
        table.add("PUT to a slow node", "MiB/s", *kind, rate);
        let rate = mebibytes(to_slowed.len) / put_file(&at(&scene.slowed), &to_slowed)?;
        table.add("PUT to it and two others", "MiB/s", *kind, rate);
        // The programs that it runs to reach its nodes are the same for all.
        table.add(
            "peak resident memory of the gateway",
            "MiB",
            *kind,
            server.own_peak_memory_mib()?,
        );
        server.stop()?;
        scene.hang_up()?;
    }
    Ok(())
}

fn two(dir: &Path, len: u64) -> Result<[Object; 2]> {
    let both = Objects::group(dir, 2, len)?;
    both.try_into().map_err(|_| "two objects".into())
}

/// A gateway, and what it lets others reach.
struct Scene {
    path: PathBuf,
    gateway: Repository,
    nodes: Vec<String>,
    /// The cluster of the first three nodes.
    three: String,
    /// The cluster of two of them, and the slow one.
    slowed: String,
}

impl Scene {
    /// Lets git-annex set up all of it: for those who serve it, there is no difference.
    fn set_up(dir: &Path, sshd: &Sshd) -> Result<Self> {
        let home = dir.join("home");
        fs::create_dir_all(&home)?;
        let gateway = dir.join("gateway");
        init(&home, &gateway, &[])?;
        let git = |words: &[&str]| {
            output(shield(Command::new("git").current_dir(&gateway).args(words), &home))
        };
        let annex = |words: &[&str]| run(shield(annex()?.current_dir(&gateway).args(words), &home));
        let mut nodes = Vec::new();
        for (name, link, clusters) in NODES {
            let path = dir.join(name);
            nodes.push(init(&home, &path, &["--bare"])?);
            let uuid = nodes.last().ok_or("a node")?;
            for (setting, value) in [
                ("url", &*sshd.url(link, &path)?),
                ("annex-uuid", uuid),
                ("annex-ssh-options", &sshd.options()),
                ("annex-proxy", "true"),
                ("annex-cluster-node", clusters),
            ] {
                git(&["config", &format!("remote.{name}.{setting}"), value])?;
            }
        }
        for cluster in ["three", "slowed"] {
            annex(&["initcluster", "--quiet", cluster])?;
        }
        annex(&["updatecluster", "--quiet"])?;
        let [three, slowed] =
            [git(&["config", "annex.cluster.three"])?, git(&["config", "annex.cluster.slowed"])?];
        Ok(Self {
            path: gateway.clone(),
            gateway: Repository::of(gateway, home)?,
            nodes,
            three,
            slowed,
        })
    }

    /// Ends the ssh processes that git-annex leaves behind, to be shared by its next commands.
    fn hang_up(&self) -> Result {
        let Ok(sockets) = fs::read_dir(self.path.join(".git/annex/ssh")) else { return Ok(()) };
        for socket in sockets {
            let socket = socket?;
            if socket.file_type()?.is_socket() {
                let mut ssh = Command::new("ssh");
                ssh.args(["-q", "-O", "exit", "-S"]).arg(socket.path()).arg("localhost");
                run(ssh.stderr(Stdio::null()))?;
            }
        }
        Ok(())
    }
}

/// Makes a repository, and returns its uuid.
fn init(home: &Path, path: &PathBuf, words: &[&str]) -> Result<String> {
    run(shield(Command::new("git").args(["init", "--quiet"]).args(words).arg(path), home))?;
    run(shield(annex()?.args(["init", "--quiet", "bench"]).current_dir(path), home))?;
    output(shield(Command::new("git").current_dir(path).args(["config", "annex.uuid"]), home))
}

/// Their names, how they are reached, and to which clusters they belong.
const NODES: [(&str, Link, &str); 4] = [
    ("one", Link::Fast, "three slowed"),
    ("two", Link::Fast, "three slowed"),
    ("last", Link::Fast, "three"),
    ("slow", Link::Slow, "slowed"),
];
