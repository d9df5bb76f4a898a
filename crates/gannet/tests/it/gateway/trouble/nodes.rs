//! A gateway whose nodes can be made to fail, each in the ways in which such a node fails.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::relay::Relay;
use crate::faults::secluded::Mount;
use crate::gateway::GATEWAY;
use crate::harness::{Gannet, Repo, Server, World};
use crate::places::text;
use crate::ssh::endings::servers;

/// A gateway and its nodes, all of them in one cluster.
pub(super) struct Scene {
    pub(super) gateway: Repo,
    pub(super) nodes: [Node; 3],
    pub(super) cluster: String,
    pub(super) world: World,
}

/// A node on a disk of its own.
pub(super) struct Node {
    pub(super) name: &'static str,
    pub(super) repo: Repo,
    way: Way,
    disk: PathBuf,
    _mount: Mount,
}

/// How the gateway reaches it.
enum Way {
    /// It is on a disk of the gateway's machine.
    Path,
    /// git-annex-shell answers there, by something like ssh. The file says what shall become of it.
    Ssh { mode: PathBuf },
    /// Gannet answers there, over a network that may fail.
    Http { server: Server, relay: Relay },
}

/// What can be wrong with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    /// It cannot be reached.
    Down,
    /// It does nothing for a moment.
    Slow,
    /// Its disk is full.
    Full,
    /// It says that it has everything, and then has nothing.
    Liar,
    /// It is killed, or the way to it breaks, in the middle of a transfer.
    Killed,
    /// It sends other bytes than those of the content.
    Corrupt,
    /// It lost the content after the gateway knew that it had it.
    Vanished,
}

impl Scene {
    pub(super) fn new() -> Self {
        let world = World::new();
        let gateway = Repo::create(&world, "gateway", GATEWAY, false);
        world.git(gateway.path(), &["commit", "-q", "--allow-empty", "-m", "begin"]);
        write_program(&world.join("bin/ssh"), SSH);
        let nodes = NODES.map(|(name, uuid)| Node::new(&world, &gateway, name, uuid));
        world.annex(gateway.path(), &["merge", "--quiet"]);
        world.annex(gateway.path(), &["initcluster", "--quiet", "mycluster"]);
        for (name, _) in NODES {
            let member = format!("remote.{name}.annex-cluster-node");
            world.git(gateway.path(), &["config", &member, "mycluster"]);
        }
        world.annex(gateway.path(), &["updatecluster", "--quiet"]);
        let cluster = world.git(gateway.path(), &["config", "annex.cluster.mycluster"]);
        Self { gateway, nodes, cluster: cluster.trim().to_owned(), world }
    }

    /// How many programs answer at nodes, but for servers.
    pub(super) fn far_processes(&self) -> usize {
        let shells = |node: &Node| {
            let all = servers(node.repo.path());
            all.iter().filter(|(_, line)| line.contains("p2pstdio")).count()
        };
        self.nodes.iter().map(shells).sum()
    }

    pub(super) fn serve(&self) -> Server {
        Gannet::serve(&self.world, &["--wideopen", self.gateway.arg()])
    }
}

impl Node {
    fn new(world: &World, gateway: &Repo, name: &'static str, uuid: &str) -> Self {
        let disk = world.join(format!("disk-{name}"));
        let mount = Mount::memory(&disk, "size=48m");
        let repo = Repo::create(world, &format!("disk-{name}/repo"), uuid, true);
        world.git(repo.path(), &["config", "annex.diskreserve", "0"]);
        let config = |setting: &str, value: &str| {
            let setting = format!("remote.{name}.{setting}");
            world.git(gateway.path(), &["config", &setting, value])
        };
        config("annex-uuid", uuid);
        let branch = format!("+git-annex:refs/remotes/{name}/git-annex");
        world.git(gateway.path(), &["fetch", "-q", repo.arg(), &branch]);
        let way = match name {
            "near" => {
                config("url", repo.arg());
                Way::Path
            }
            "ssh" => {
                let mode = world.join("mode");
                fs::write(&mode, "well").expect("write it");
                let shell = world.join("node-shell");
                let script = SHELL.replace("@mode@", text(&mode)).replace("@uuid@", uuid);
                write_program(&shell, &script);
                config("url", &format!("ssh://host.invalid{}", repo.arg()));
                config("annex-shell", text(&shell));
                Way::Ssh { mode }
            }
            _ => {
                let server = Gannet::serve(world, &["--wideopen", repo.arg()]);
                let relay = Relay::start(server.address());
                config("url", "ssh://nowhere.invalid/node");
                config("annexUrl", &relay.annex_url());
                Way::Http { server, relay }
            }
        };
        Self { name, repo, way, disk, _mount: mount }
    }

    /// Whether this can be wrong with it.
    pub(super) fn can(&self, fault: Fault) -> bool {
        match fault {
            Fault::Slow | Fault::Killed => !matches!(self.way, Way::Path),
            Fault::Liar => matches!(self.way, Way::Ssh { .. }),
            _ => true,
        }
    }

    /// Lets this be wrong with it, until it is mended. What breaks a transfer is called in the
    /// middle of one.
    pub(super) fn break_by(&self, fault: Fault, key: &str) {
        match (&self.way, fault) {
            (_, Fault::Nothing | Fault::Killed) => {}
            (Way::Path, Fault::Down) => {
                fs::rename(self.repo.path(), self.elsewhere()).expect("take it away");
            }
            (Way::Ssh { mode }, Fault::Down | Fault::Liar) => {
                let word = if fault == Fault::Down { "down" } else { "liar" };
                fs::write(mode, word).expect("write it");
                self.signal(Signal::KILL);
            }
            (Way::Http { relay, .. }, Fault::Down) => {
                relay.lead_to(NOWHERE);
                relay.cut();
            }
            (_, Fault::Slow) => self.signal(Signal::STOP),
            (_, Fault::Full) => {
                let mut ballast = fs::File::create(self.disk.join("ballast")).expect("make it");
                for len in [1 << 16, 1 << 12] {
                    while ballast.write(&vec![b'x'; len]).is_ok_and(|written| written > 0) {}
                }
            }
            (_, Fault::Corrupt) => {
                let object = self.repo.object(key).expect("an object");
                let len = fs::metadata(&object).expect("look at it").len();
                fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).expect("open it");
                let len = usize::try_from(len).expect("a small content");
                fs::write(&object, vec![b'?'; len]).expect("write other bytes");
                fs::set_permissions(&object, fs::Permissions::from_mode(0o444)).expect("close it");
            }
            (_, Fault::Vanished) => {
                // Nobody at this node will say that it had it.
                let object = self.repo.object(key).expect("an object");
                let dir = object.parent().expect("a directory");
                fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("open it");
                fs::remove_dir_all(dir).expect("remove it");
            }
            (Way::Path | Way::Http { .. }, Fault::Liar) => unreachable!("it cannot lie"),
        }
    }

    /// Breaks what is under way.
    pub(super) fn kill(&self) {
        match &self.way {
            Way::Path => {}
            Way::Ssh { .. } => self.signal(Signal::KILL),
            Way::Http { relay, .. } => relay.cut(),
        }
    }

    pub(super) fn mend(&self, fault: Fault) {
        match (&self.way, fault) {
            (Way::Path, Fault::Down) => {
                // The gateway may have wanted to commit something there meanwhile.
                if self.repo.path().exists() {
                    fs::remove_dir_all(self.repo.path()).expect("clear its place");
                }
                fs::rename(self.elsewhere(), self.repo.path()).expect("bring it back");
            }
            (Way::Ssh { mode }, Fault::Down | Fault::Liar) => {
                fs::write(mode, "well").expect("write it");
                self.signal(Signal::KILL);
            }
            (Way::Http { server, relay }, Fault::Down) => relay.lead_to(server.address()),
            (_, Fault::Slow) => self.signal(Signal::CONT),
            (_, Fault::Full) => {
                fs::remove_file(self.disk.join("ballast")).expect("make room");
            }
            _ => {}
        }
    }

    fn elsewhere(&self) -> PathBuf {
        self.disk.join("elsewhere")
    }

    /// Signals the programs that answer there.
    fn signal(&self, signal: Signal) {
        match &self.way {
            Way::Path => {}
            Way::Ssh { .. } => {
                for (pid, _) in servers(self.repo.path()) {
                    // It may have ended already.
                    kill_process(pid, signal).ok();
                }
            }
            Way::Http { server, .. } => {
                let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw);
                kill_process(pid.expect("a process"), signal).expect("signal the server");
            }
        }
    }

    /// Where its object of this key is, if its bytes are right.
    pub(super) fn has(&self, key: &str, bytes: &[u8]) -> bool {
        let object = self.repo.object(key);
        object.is_some_and(|object| fs::read(object).is_ok_and(|found| found == bytes))
    }
}

fn write_program(path: &Path, script: &str) {
    fs::write(path, script).expect("write a program");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("make it a program");
}

/// The names of the nodes, by which is known how they are reached, and their uuids.
pub(super) const NODES: [(&str, &str); 3] = [
    ("near", "0de00001-0000-4000-8000-000000000001"),
    ("ssh", "0de00002-0000-4000-8000-000000000002"),
    ("http", "0de00003-0000-4000-8000-000000000003"),
];
/// Nobody listens there.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
const SSH: &str = "\
#!/bin/sh
for command; do :; done # the last argument
exec sh -c \"exec $command\"
";
/// In the place of git-annex-shell.
const SHELL: &str = "\
#!/bin/sh
case $(cat '@mode@') in
down)
    echo 'ssh: connect to host: Connection refused' >&2
    exit 255
    ;;
well) exec git-annex-shell \"$@\" ;;
esac
echo 'AUTH-SUCCESS @uuid@'
while IFS= read -r line; do
    case $line in
    VERSION*) echo 'VERSION 4' ;;
    CHECKPRESENT*) echo SUCCESS ;;
    GET*) printf 'DATA 0\\nINVALID\\n' ;;
    BYPASS* | SUCCESS | FAILURE) ;;
    GETTIMESTAMP) echo 'TIMESTAMP 1000' ;;
    REMOVE* | LOCKCONTENT*) echo FAILURE ;;
    PUT*) echo 'ERROR there is no room' ;;
    *) echo 'ERROR what' ;;
    esac
done
";
