//! Users and passwords for remotes, from git's credential helpers (p2p-http §7.4).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gannet_net::remote::http::{Login, SignIn};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

/// What `git credential` knows of a remote, as the configuration of a repository sets it up.
///
/// Nobody is there to be asked: a helper that knows nothing is as good as none, and one that does not
/// answer is ended.
pub(crate) struct GitCredentials {
    git: OsString,
    repository: PathBuf,
    url: Vec<u8>,
    patience: Duration,
    /// What git said last, which it wants to hear again.
    said: Mutex<Option<(Login, Vec<u8>)>>,
}

impl GitCredentials {
    /// Those for this url, seen from the repository there.
    pub(crate) fn new(repository: PathBuf, url: Vec<u8>) -> Self {
        Self { git: "git".into(), repository, url, patience: PATIENCE, said: Mutex::default() }
    }

    /// Runs `git credential VERB`, and returns what it says.
    async fn run(&self, verb: &str, input: &[u8]) -> io::Result<Vec<u8>> {
        let mut command = Command::new(&self.git);
        command
            .args(["-c", "credential.interactive=false", "credential", verb])
            .current_dir(&self.repository)
            // An empty one is none, and keeps git from looking for others.
            .env("GIT_ASKPASS", "")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GCM_INTERACTIVE", "never")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let talking = async {
            if let Some(mut stdin) = child.stdin.take() {
                // Who has heard enough may have gone.
                stdin.write_all(input).await.ok();
            }
            let mut said = Vec::new();
            if let Some(stdout) = child.stdout.take() {
                stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut said).await?;
            }
            io::Result::Ok((child.wait().await?, said))
        };
        let talked = timeout(self.patience, talking).await;
        let (status, said) = talked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        // What a helper leaves running on purpose, as a cache does, may stay.
        group.0 = None;
        match status.success() {
            true => Ok(said),
            false => Err(io::Error::other(format!("git credential {verb} failed: {status}"))),
        }
    }

    async fn tell(&self, verb: &str, login: &Login) {
        let said = self.said().clone().filter(|(known, _)| known == login);
        if let Some((_, said)) = said
            && let Err(error) = self.run(verb, &said).await
        {
            tracing::debug!("cannot tell git of a login: {error}");
        }
    }

    fn said(&self) -> MutexGuard<'_, Option<(Login, Vec<u8>)>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SignIn for GitCredentials {
    async fn login(&self, challenges: &[String]) -> Option<Login> {
        // Nothing of these may pass for another line.
        let is_line = |text: &[u8]| !text.iter().any(u8::is_ascii_control);
        if !is_line(&self.url) {
            return None;
        }
        let mut input = [b"url=", &*self.url, b"\n"].concat();
        for challenge in challenges.iter().filter(|text| is_line(text.as_bytes())) {
            input.extend_from_slice(format!("wwwauth[]={challenge}\n").as_bytes());
        }
        input.push(b'\n');
        match self.run("fill", &input).await {
            Ok(said) => {
                let (login, lines) = read(&said)?;
                *self.said() = Some((login.clone(), lines));
                Some(login)
            }
            Err(error) => {
                tracing::debug!("git knows no login: {error}");
                None
            }
        }
    }

    async fn accepted(&self, login: &Login) {
        self.tell("approve", login).await;
    }

    async fn rejected(&self, login: &Login) {
        self.tell("reject", login).await;
        self.said().take();
    }
}

/// The url by which git is asked for users and passwords of a remote: its own, if that is HTTP at the
/// same host, so that they need not be told twice; else the one that leads to the contents.
pub(crate) fn credential_url(url: &[u8], annex_url: Option<&[u8]>) -> Vec<u8> {
    let Some(annex_url) = annex_url else { return url.to_vec() };
    let known = host(url).is_some_and(|known| {
        let annex = annex_url.strip_prefix(b"annex+").and_then(host);
        annex.is_some_and(|annex| annex.eq_ignore_ascii_case(known))
    });
    if known { url } else { annex_url }.to_vec()
}

/// The host of an HTTP url.
fn host(url: &[u8]) -> Option<&[u8]> {
    let rest = url.strip_prefix(b"http://").or_else(|| url.strip_prefix(b"https://"))?;
    let authority = rest.split(|byte| b"/?#".contains(byte)).next()?;
    let host = authority.rsplit(|&byte| byte == b'@').next()?;
    let colon = match host.iter().rposition(|&byte| byte == b':') {
        Some(at) if host[at..].contains(&b']') => None,
        colon => colon,
    };
    Some(&host[..colon.unwrap_or(host.len())])
}

/// What git says of a login: that, and the lines that it wants to hear again, sorted by their names.
fn read(said: &[u8]) -> Option<(Login, Vec<u8>)> {
    let pair = |line: &[u8]| {
        let equals = line.iter().position(|&byte| byte == b'=')?;
        Some((line[..equals].to_vec(), line[equals + 1..].to_vec()))
    };
    let lines: BTreeMap<_, _> = said.split(|&byte| byte == b'\n').filter_map(pair).collect();
    let login = Login {
        user: lines.get(&b"username"[..])?.clone(),
        password: lines.get(&b"password"[..])?.clone(),
    };
    let mut text = Vec::new();
    for (name, value) in lines {
        text.extend_from_slice(&[&name, &b"="[..], &value, b"\n"].concat());
    }
    text.push(b'\n');
    Some((login, text))
}

/// A process group whose leader has not been waited for. Dropping this kills it.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!("cannot end git: {error}");
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 65_536;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use gannet_testkit::ScratchDir;

    use super::*;

    /// A program in the place of git, and what it is asked.
    fn fake(script: &str) -> (GitCredentials, ScratchDir) {
        let dir = ScratchDir::new();
        let git = dir.path().join("git");
        fs::write(&git, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).unwrap();
        let mut credentials = GitCredentials::new(dir.path().to_owned(), b"http://h/r".to_vec());
        credentials.git = git.into();
        (credentials, dir)
    }

    fn login(user: &str, password: &str) -> Login {
        Login { user: user.into(), password: password.into() }
    }

    #[tokio::test]
    async fn git_is_asked_and_told_what_came_of_it() {
        let answer = "echo protocol=http; echo username=u; echo password=a=b; echo host=h";
        let script =
            format!("echo \"$4\" >> log; cat >> log; [ \"$4\" != fill ] || {{ {answer}; }}");
        let (credentials, dir) = fake(&script);
        let found = credentials.login(&["Basic realm=\"x\"".to_owned(), "a\nb".to_owned()]).await;
        assert_eq!(found, Some(login("u", "a=b")));
        credentials.accepted(&login("u", "other")).await;
        credentials.accepted(&login("u", "a=b")).await;
        credentials.rejected(&login("u", "a=b")).await;
        credentials.rejected(&login("u", "a=b")).await;
        let lines = "host=h\npassword=a=b\nprotocol=http\nusername=u\n\n";
        let asked = "url=http://h/r\nwwwauth[]=Basic realm=\"x\"\n\n";
        let log = fs::read_to_string(dir.path().join("log")).unwrap();
        assert_eq!(log, format!("fill\n{asked}approve\n{lines}reject\n{lines}"));
    }

    #[tokio::test]
    async fn nobody_is_waited_for_and_nothing_is_left() {
        let (mut credentials, dir) = fake("sleep 4321 & echo $! > pid; wait");
        credentials.patience = Duration::from_millis(300);
        assert_eq!(credentials.login(&[]).await, None);
        let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
        let runs = || {
            let line = fs::read_to_string(format!("/proc/{}/cmdline", pid.trim()));
            line.is_ok_and(|line| line.contains("4321"))
        };
        for _ in 0..500 {
            if !runs() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!runs(), "it was left");
    }

    #[tokio::test]
    async fn without_an_answer_there_is_no_login() {
        for script in ["exit 1", "echo username=u", "echo nonsense", "echo username=u; exit 1"] {
            assert_eq!(fake(script).0.login(&[]).await, None, "{script}");
        }
        let (mut credentials, _dir) = fake("echo username=u; echo password=p");
        assert!(credentials.login(&[]).await.is_some());
        credentials.url = b"http://h/\nhost=other".to_vec();
        assert_eq!(credentials.login(&[]).await, None);
        credentials.url = b"http://h/".to_vec();
        credentials.git = "/nowhere/git".into();
        assert_eq!(credentials.login(&[]).await, None);
    }

    #[test]
    fn the_url_of_the_repository_counts_if_it_is_at_the_same_host() {
        let cases = [
            ("http://h/git/r", Some("annex+http://h:9417/git-annex/"), "http://h/git/r"),
            ("http://a@H:12/r", Some("annex+https://h/"), "http://a@H:12/r"),
            ("http://[::1]:80/r", Some("annex+http://[::1]:9417/"), "http://[::1]:80/r"),
            ("http://other/r", Some("annex+http://h/"), "annex+http://h/"),
            ("ssh://h/r", Some("annex+http://h/"), "annex+http://h/"),
            ("/h", Some("annex+http://h/"), "annex+http://h/"),
            ("annex+http://h/", None, "annex+http://h/"),
        ];
        for (url, annex_url, expected) in cases {
            let found = credential_url(url.as_bytes(), annex_url.map(str::as_bytes));
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{url}");
        }
    }
}
