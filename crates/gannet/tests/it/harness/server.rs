//! Servers under test: Gannet itself, and `git annex p2phttp` to compare it with.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::http::{Connection, Reply, Request};
use super::patience::eventually;
use super::world::{Finished, User, World, finish};

/// Starts `gannet serve`.
pub(crate) enum Gannet {}

/// Starts `git annex p2phttp`.
pub(crate) enum Reference {}

/// A running server; dropping it ends it.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    ready_line: String,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Gannet {
    /// Starts `gannet serve ARGS… --bind 127.0.0.1 --port 0` and waits until it says that it is
    /// ready.
    #[track_caller]
    pub(crate) fn serve(world: &World, args: &[&str]) -> Server {
        Self::serve_with(world, args, &[])
    }

    /// Starts it with more environment variables.
    #[track_caller]
    pub(crate) fn serve_with(world: &World, args: &[&str], env: &[(&str, &str)]) -> Server {
        let mut command = Self::command(world, args);
        command.args(["--bind", "127.0.0.1", "--port", "0"]).envs(env.iter().copied());
        Self::start(world, command)
    }

    /// Starts a prepared `gannet serve` that listens where its own arguments say.
    #[track_caller]
    pub(crate) fn start(world: &World, mut command: Command) -> Server {
        let log = world.fresh("gannet-log");
        command
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).expect("make a log file"))
            .process_group(0);
        let mut child = command.spawn().expect("start gannet");
        let (said, hears) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("a piped standard output"));
        thread::spawn(move || tell_first_line_and_drain(stdout, &said));
        let ready_line = hears.recv_timeout(READY).unwrap_or_default();
        if ready_line.is_empty() {
            kill_process(Pid::from_child(&child), Signal::KILL).ok();
            let status = child.wait();
            let said = fs::read_to_string(&log).unwrap_or_default();
            panic!("gannet printed no ready line ({status:?}); its log:\n{said}");
        }
        let address = address_in(&ready_line).unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        Server { child, address, ready_line, log, ended: None }
    }

    /// Runs `gannet serve ARGS…` that is expected to refuse, to its end.
    pub(crate) fn refuses(world: &World, args: &[&str], env: &[(&str, &str)]) -> Finished {
        let mut command = Self::command(world, args);
        command.args(["--bind", "127.0.0.1", "--port", "0"]).envs(env.iter().copied());
        finish(&mut command, READY)
    }

    /// Runs any `gannet` command line in `dir` to its end, e.g. `["init", "new"]`.
    pub(crate) fn run(world: &World, dir: &Path, args: &[&str]) -> Finished {
        let mut command = world.command(dir, GANNET);
        finish(command.args(args), READY)
    }

    /// Prepares `gannet serve ARGS…`.
    pub(crate) fn command(world: &World, args: &[&str]) -> Command {
        let mut command = world.command(world.path(), GANNET);
        command.arg("serve").args(args);
        command
    }

    /// Starts `gannet serve ARGS… --bind 127.0.0.1 --port 0` as another user.
    #[track_caller]
    pub(crate) fn serve_as(user: User, world: &World, args: &[&str]) -> Server {
        let mut command = world.command_of(Some(user), world.path(), GANNET);
        command.arg("serve").args(args).args(["--bind", "127.0.0.1", "--port", "0"]);
        Self::start(world, command)
    }
}

impl Reference {
    /// Starts `git annex p2phttp ARGS…` in `repo` and waits until it accepts connections.
    #[track_caller]
    pub(crate) fn serve(world: &World, repo: &Path, args: &[&str]) -> Server {
        Self::serve_with(world, repo, args, &[])
    }

    /// Starts it with more environment variables.
    #[track_caller]
    pub(crate) fn serve_with(
        world: &World,
        repo: &Path,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Server {
        Self::start(world.command(repo, "git-annex"), world, args, env)
    }

    /// Starts it with these words after a prepared command line that runs `git-annex`.
    #[track_caller]
    pub(crate) fn start(
        mut command: Command,
        world: &World,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Server {
        let address = free_address();
        let port = address.port().to_string();
        let log = world.fresh("reference-log");
        command
            .args(["p2phttp", "--bind", "127.0.0.1", "--port", &port])
            .args(args)
            .envs(env.iter().copied())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("make a log file"))
            .process_group(0);
        if !args.iter().any(|arg| arg.starts_with("--jobs")) {
            command.arg("--jobs=10");
        }
        let child = command.spawn().expect("start git-annex");
        let server = Server { child, address, ready_line: String::new(), log, ended: None };
        eventually(READY, || {
            TcpStream::connect(address).map_err(|error| format!("{error}: {}", server.log()))
        });
        server
    }
}

impl Server {
    /// Returns the address it listens on; port 0 when it only listens on a socket file.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the line it printed when it was ready.
    pub(crate) fn ready_line(&self) -> &str {
        &self.ready_line
    }

    /// Returns the url that a git-annex remote has in `annexUrl`.
    pub(crate) fn annex_url(&self) -> String {
        format!("annex+http://{}/git-annex/", self.address)
    }

    /// Opens a connection to it.
    #[track_caller]
    pub(crate) fn connect(&self) -> Connection {
        Connection::tcp(self.address)
    }

    /// Sends one request on a connection of its own and returns the reply.
    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Reply {
        self.connect().exchange(request)
    }

    /// Returns what it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Counts its open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).expect("list descriptors").count()
    }

    /// Lists what its open file descriptors lead to.
    pub(crate) fn open_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.proc("fd")).expect("list descriptors");
        entries.flatten().flat_map(|entry| fs::read_link(entry.path())).collect()
    }

    /// Counts its threads.
    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(self.proc("task")).expect("list threads").count()
    }

    /// Counts its child processes.
    pub(crate) fn children(&self) -> usize {
        let tasks = fs::read_dir(self.proc("task")).expect("list threads");
        let children = |task: fs::DirEntry| fs::read_to_string(task.path().join("children"));
        tasks.flatten().flat_map(children).map(|line| line.split_whitespace().count()).sum()
    }

    /// Returns its resident memory now, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// Returns what of that is not read from its files, in bytes: the code of a program that was not
    /// optimised is twice what people run, and says nothing of what it needs for its work.
    pub(crate) fn anonymous_bytes(&self) -> u64 {
        self.status_bytes("RssAnon:")
    }

    /// Returns the most resident memory it ever had, in bytes.
    pub(crate) fn resident_bytes_peak(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Sends SIGTERM and returns how it ended; SIGKILL follows if it does not.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.end()
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal`, and nothing else.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal the server");
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub(crate) fn kill9(mut self) {
        self.signal(Signal::KILL);
        self.ended = Some(self.child.wait().expect("wait for the server"));
    }

    fn end(&mut self) -> ExitStatus {
        if let Some(status) = self.ended {
            return status;
        }
        let status = self.terminate();
        self.ended = Some(status);
        status
    }

    fn terminate(&mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        if let Some(status) = self.child.try_wait().expect("ask for the server") {
            return status;
        }
        kill_process(pid, Signal::TERM).expect("terminate the server");
        let start = Instant::now();
        while start.elapsed() < STOP {
            if let Some(status) = self.child.try_wait().expect("ask for the server") {
                return status;
            }
            thread::sleep(Duration::from_millis(2));
        }
        kill_process(pid, Signal::KILL).expect("kill the server");
        self.child.wait().expect("wait for the server")
    }

    fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.child.id()).into()
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("read the status of a process");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect(field);
        let kibibytes = line.trim().trim_end_matches("kB").trim();
        kibibytes.parse::<u64>().expect("a number of kB") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let status = self.end();
        if thread::panicking() {
            eprintln!("server ended with {status} (signal {:?})", status.signal());
            eprintln!("its log:\n{}", self.log());
        }
    }
}

fn tell_first_line_and_drain(mut stdout: BufReader<impl Read>, said: &mpsc::Sender<String>) {
    let mut line = String::new();
    stdout.read_line(&mut line).ok();
    said.send(line).ok();
    std::io::copy(&mut stdout, &mut std::io::sink()).ok();
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("://127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(([127, 0, 0, 1], digits.parse().ok()?).into())
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("find a free port");
    listener.local_addr().expect("ask for the port")
}

pub(crate) const GANNET: &str = env!("CARGO_BIN_EXE_gannet");
const READY: Duration = Duration::from_secs(30);
/// Longer than Gannet itself gives running requests at shutdown.
const STOP: Duration = Duration::from_secs(30);
