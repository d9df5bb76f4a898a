//! An OpenSSH server on loopback, where the real git-annex-shell is, and a slow way to it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::servers::{free_address, path_with};
use crate::oracle;
use crate::run::{Result, Running, run};
use crate::tools;

/// How a server is reached.
#[derive(Clone, Copy)]
pub(super) enum Link {
    Fast,
    Slow,
}

/// A server that lets the user of this process in. Dropping it ends it.
pub(super) struct Sshd {
    dir: PathBuf,
    address: SocketAddr,
    slow: Brake,
    _running: Running,
}

impl Sshd {
    /// Starts it, with all that it needs in `dir`, and waits until it listens.
    ///
    /// # Errors
    /// When it does not within ten seconds.
    pub(super) fn start(dir: &Path) -> Result<Self> {
        tools::install_packages()?;
        fs::create_dir(dir)?;
        for name in ["host", "key"] {
            let mut keygen = Command::new("ssh-keygen");
            run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(name)))?;
        }
        let at = dir.display();
        let path = path_with(&oracle::install()?)?;
        let server = format!(
            "HostKey {at}/host\nAuthorizedKeysFile {at}/key.pub\nPidFile none\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nMaxSessions 100\nMaxStartups 100\n\
             SetEnv \"PATH={}\" \"HOME={at}\" GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null\n",
            path.display()
        );
        fs::write(dir.join("sshd_config"), server)?;
        let client = format!(
            "IdentityFile {at}/key\nIdentitiesOnly yes\nStrictHostKeyChecking no\n\
             UserKnownHostsFile /dev/null\nGlobalKnownHostsFile /dev/null\nBatchMode yes\n\
             LogLevel ERROR\n"
        );
        fs::write(dir.join("ssh_config"), client)?;
        if tools::is_root_user() {
            // Empty, and without it sshd refuses to start as root.
            fs::create_dir_all("/run/sshd")?;
        }
        let address = free_address()?;
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-E"]).arg(dir.join("log")).arg("-f").arg(dir.join("sshd_config"));
        sshd.args(["-o", &format!("ListenAddress={address}")])
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let mut running = Running::start(&mut sshd)?;
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if running.child().try_wait()?.is_some() || begin.elapsed() > READY_WITHIN {
                return Err(format!("sshd: {}", fs::read_to_string(dir.join("log"))?).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { dir: dir.to_owned(), address, slow: Brake::start(address)?, _running: running })
    }

    /// The url of a repository, reached that way.
    ///
    /// # Errors
    /// When no url can have its path.
    pub(super) fn url(&self, link: Link, path: &Path) -> Result<String> {
        let address = match link {
            Link::Fast => self.address,
            Link::Slow => self.slow.address,
        };
        Ok(format!("ssh://{address}{}", path.to_str().ok_or("a path that is not UTF-8")?))
    }

    /// The options by which ssh gets in.
    pub(super) fn options(&self) -> String {
        format!("-F {}/ssh_config", self.dir.display())
    }
}

/// Passes connections on, at most so fast towards the server. Dropping it breaks them.
struct Brake {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Brake {
    fn start(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let over = Arc::new(AtomicBool::new(false));
        let listening = thread::spawn({
            let over = Arc::clone(&over);
            move || {
                let mut passing = Vec::new();
                for connection in listener.incoming().flatten() {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    passing.extend(pass(connection, to));
                }
                for (thread, ends) in passing {
                    // Those that have ended by themselves are closed already.
                    ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
                    drop(thread.join());
                }
            }
        });
        Ok(Self { address, over, listening: Some(listening) })
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // So that it looks.
        drop(TcpStream::connect(self.address));
        if let Some(listening) = self.listening.take() {
            drop(listening.join());
        }
    }
}

type Passing = (JoinHandle<()>, [TcpStream; 2]);

fn pass(client: TcpStream, to: SocketAddr) -> Option<Passing> {
    let server = TcpStream::connect(to).ok()?;
    let ends = [client.try_clone().ok()?, server.try_clone().ok()?];
    let back = (server.try_clone().ok()?, client.try_clone().ok()?);
    let thread = thread::spawn(move || {
        thread::scope(|both| {
            both.spawn(|| forward(back.0, back.1, None));
            forward(client, server, Some(SLOW_BYTES_PER_SECOND));
        });
    });
    Some((thread, ends))
}

/// Passes bytes on until there are no more, or nobody wants them.
fn forward(mut from: TcpStream, mut to: TcpStream, rate: Option<u32>) {
    let mut buffer = vec![0; 64 * 1024];
    let mut due = Instant::now();
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if let Some(rate) = rate {
            due = due.max(Instant::now());
            let bytes = u32::try_from(len).unwrap_or(u32::MAX);
            due += Duration::from_secs(1) * bytes / rate;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Write).ok();
}

const READY_WITHIN: Duration = Duration::from_secs(10);
/// Far below what any machine encrypts and hashes.
const SLOW_BYTES_PER_SECOND: u32 = 24 << 20;
