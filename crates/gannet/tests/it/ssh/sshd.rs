//! A real OpenSSH server on loopback, and keys that let clients in.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::geteuid;

use super::{Which, programs};
use crate::harness::World;
use crate::harness::world::oracle;

/// An ssh server that lets the user of this process in. Dropping it breaks all connections and
/// waits until their servers have ended.
///
/// Its one port is listened at from the beginning to the end; each connection gets an sshd of its
/// own, as from inetd.
pub(crate) struct Sshd {
    dir: PathBuf,
    port: u16,
    authorized_keys: PathBuf,
    street: Arc<Street>,
    listening: Option<JoinHandle<()>>,
}

/// What the accounts that people log in to are like.
pub(crate) struct Account {
    /// Directories of programs, first in their path.
    pub(crate) programs: String,
    /// Their home, if it is not that of the user.
    pub(crate) home: Option<PathBuf>,
    /// The file of keys that are let in, if it is not one that only this sshd uses.
    pub(crate) authorized_keys: Option<PathBuf>,
}

/// A key that is let in.
pub(crate) struct Login {
    /// A program to use in the place of ssh.
    pub(crate) ssh: PathBuf,
    /// The configuration that it uses.
    pub(crate) config: PathBuf,
    /// The beginning of urls of repositories there: all up to the path.
    base: String,
}

#[derive(Default)]
struct Street {
    closed: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Sshd {
    /// Starts one whose `git-annex-shell` is the one wanted. With Gannet's there is no git-annex.
    pub(crate) fn start(world: &World, which: Which) -> Self {
        let mut programs = text(&programs(world, which)).to_owned();
        if which == Which::Reference {
            programs = format!("{programs}:{}", text(&oracle()));
        }
        let home = Some(world.join("home"));
        Self::start_with(world, &Account { programs, home, authorized_keys: None })
    }

    /// Starts one where accounts look like this.
    pub(crate) fn start_with(world: &World, account: &Account) -> Self {
        let dir = world.fresh("sshd");
        fs::create_dir(&dir).expect("make a directory for sshd");
        make_key(world, &dir.join("host"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen on a free port");
        let port = listener.local_addr().expect("an address").port();
        let authorized_keys =
            account.authorized_keys.clone().unwrap_or_else(|| dir.join("authorized_keys"));
        fs::write(dir.join("sshd_config"), configuration(world, account, &authorized_keys, &dir))
            .expect("write it");
        if geteuid().is_root() {
            // Empty, and without it sshd refuses to start as root.
            fs::create_dir_all("/run/sshd").expect("make the directory for unprivileged parts");
        }
        let street = Arc::new(Street::default());
        let listening = thread::spawn({
            let (street, dir) = (Arc::clone(&street), dir.clone());
            move || street.let_in(&listener, &dir)
        });
        Self { dir, port, authorized_keys, street, listening: Some(listening) }
    }

    /// Makes a key and lets it in, with options as they stand before a key in `authorized_keys`.
    pub(crate) fn admit(&self, world: &World, options: &str) -> Login {
        let key = world.fresh("key");
        make_key(world, &key);
        let line = format!("{options} {}", read(&key.with_extension("pub")));
        let mut admitted = append(&self.authorized_keys);
        admitted.write_all(line.trim_start().as_bytes()).expect("let the key in");
        self.login(world, &key)
    }

    /// Returns what it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Breaks all connections, and lets new ones in.
    pub(crate) fn break_connections(&self) {
        self.street.clear();
    }

    /// Prepares the client's side for a key that is let in already.
    pub(crate) fn login(&self, world: &World, key: &Path) -> Login {
        let Self { dir, port, .. } = self;
        let host = read(&dir.join("host.pub"));
        let known = dir.join("known_hosts");
        fs::write(&known, format!("[127.0.0.1]:{port} {host}")).expect("write the key of the host");
        let config = world.fresh("ssh_config");
        let settings = [
            ("IdentityFile", text(key)),
            ("Port", &port.to_string()),
            ("IdentitiesOnly", "yes"),
            ("UserKnownHostsFile", text(&known)),
            ("GlobalKnownHostsFile", "/dev/null"),
            ("StrictHostKeyChecking", "yes"),
            ("BatchMode", "yes"),
            ("LogLevel", "ERROR"),
        ];
        let line = |(name, value): (&str, &str)| format!("{name} {value}\n");
        let settings = settings.map(line).concat() + "Host example.com\nHostName 127.0.0.1\n";
        fs::write(&config, settings).expect("write the client's settings");
        let ssh = world.fresh("ssh");
        let script = format!("#!/bin/sh\nexec {SSH} -F {} \"$@\"\n", text(&config));
        fs::write(&ssh, script).expect("write the program");
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("make it a program");
        Login { ssh, config, base: format!("ssh://127.0.0.1:{port}") }
    }
}

impl Login {
    /// Returns the url of the repository at `path`.
    pub(crate) fn url(&self, path: &Path) -> String {
        format!("{}{}", self.base, text(path))
    }

    /// Returns a setting by which git uses this key.
    pub(crate) fn git_setting(&self) -> String {
        format!("core.sshCommand={}", text(&self.ssh))
    }

    /// Prepares ssh to have `line` executed there.
    pub(crate) fn command(&self, world: &World, line: &str) -> Command {
        self.command_at(world, "127.0.0.1", line)
    }

    /// The same, as somebody: `user@example.com`.
    pub(crate) fn command_at(&self, world: &World, place: &str, line: &str) -> Command {
        let mut ssh = world.command(world.path(), &self.ssh);
        ssh.args([place, line]);
        ssh
    }

    /// Clones the repository at `path`, and lets git-annex initialise the clone.
    pub(crate) fn clone(&self, world: &World, path: &Path) -> PathBuf {
        let client = world.fresh("client");
        let clone = ["clone", "-q", "-c", &self.git_setting(), &self.url(path), text(&client)];
        world.git(world.path(), &clone);
        // git-annex calls ssh itself.
        let options = format!("-F {}", text(&self.config));
        world.git(&client, &["config", "remote.origin.annex-ssh-options", &options]);
        world.annex(&client, &["init", "--quiet", "client"]);
        client
    }
}

impl Street {
    /// Gives each connection an sshd, until the street is closed.
    fn let_in(&self, listener: &TcpListener, dir: &Path) {
        let mut served = Vec::new();
        for connection in listener.incoming() {
            let connection = connection.expect("a connection");
            let kept = connection.try_clone().expect("keep the connection");
            self.connections.lock().expect("connections").push(kept);
            if self.closed.load(Ordering::SeqCst) {
                break;
            }
            served.push(serve(connection, dir));
        }
        self.clear();
        for connection in served {
            connection.join().expect("an sshd that ends");
        }
    }

    fn clear(&self) {
        for connection in self.connections.lock().expect("connections").drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.street.closed.store(true, Ordering::SeqCst);
        // So that it looks.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(listening) = self.listening.take() {
            drop(listening.join());
        }
        // What logged in may still have to put in order what it did.
        for _ in 0..LOOKS {
            if !has_sessions(&self.dir) {
                break;
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }
}

/// Tells whether programs run that clients of the sshd in this directory of a world started.
fn has_sessions(dir: &Path) -> bool {
    let Some(world) = dir.parent() else { return false };
    let ours = format!("GIT_CONFIG_GLOBAL={}/gitconfig", text(world));
    let is_session = |process: PathBuf| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let variables: Vec<&[u8]> = environment.split(|byte| *byte == 0).collect();
        variables.contains(&ours.as_bytes())
            && variables.iter().any(|variable| variable.starts_with(b"SSH_CONNECTION="))
    };
    let processes = fs::read_dir("/proc").expect("list processes");
    processes.flatten().any(|process| is_session(process.path()))
}

/// Serves a connection by an sshd, for which the thread waits.
fn serve(connection: TcpStream, dir: &Path) -> JoinHandle<()> {
    let input = OwnedFd::from(connection.try_clone().expect("a second descriptor"));
    let mut sshd = Command::new(SSHD);
    sshd.args(["-i", "-e", "-f"]).arg(dir.join("sshd_config")).current_dir(dir).env_clear();
    sshd.stdin(input).stdout(OwnedFd::from(connection)).stderr(append(&dir.join("log")));
    let mut child = sshd.spawn().unwrap_or_else(|error| panic!("cannot start {SSHD}: {error}"));
    drop(sshd); // and its descriptors
    thread::spawn(move || {
        child.wait().expect("wait for sshd");
    })
}

fn configuration(world: &World, account: &Account, keys: &Path, dir: &Path) -> String {
    let path = format!("{}:{}", account.programs, std::env::var("PATH").unwrap_or_default());
    let git = world.join("gitconfig");
    let mut environment = vec![
        ("PATH", &*path),
        ("LANG", "C.UTF-8"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", text(&git)),
    ];
    if let Some(home) = &account.home {
        environment.push(("HOME", text(home)));
    }
    let quoted = |(name, value)| format!(" \"{name}={value}\"");
    let environment: String = environment.into_iter().map(quoted).collect();
    format!(
        "HostKey {}/host\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
         MaxSessions 100\nPermitUserEnvironment GIT_ANNEX_SHELL_*\nLogLevel VERBOSE\nSetEnv{environment}\n",
        text(dir),
        text(keys),
    )
}

/// Makes a key at `path`, and its public half beside it, `.pub`.
pub(crate) fn make_key(world: &World, path: &Path) {
    let type_and_no_password = ["-q", "-t", "ed25519", "-N", ""];
    world.ok(
        world.path(),
        &[&["ssh-keygen"], &type_and_no_password[..], &["-f", text(path)]].concat(),
    );
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("read a file of the ssh server")
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("open a file of the ssh server")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

const LOOKS: u32 = 1000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// What tests call ssh may lead to it.
const SSH: &str = "/usr/bin/ssh";
/// sshd starts itself again by its path.
const SSHD: &str = "/usr/sbin/sshd";
