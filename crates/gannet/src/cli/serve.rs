//! `gannet serve`: what it can be told, and what makes no sense.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use gannet::gateway::Bounds;

use super::Failure;
use crate::access::Policy;

/// What `gannet serve` is told. The options have the names of `git annex p2phttp`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// Repositories to serve [default: the one around the current directory].
    #[arg(value_name = "REPO")]
    pub(crate) repositories: Vec<PathBuf>,

    /// Serve every repository below DIR, at any depth, also those that appear later. Repeatable.
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Vec<PathBuf>,

    /// Create each REPO that does not exist yet, as a bare repository, before serving it.
    #[arg(long, requires = "repositories")]
    pub(crate) init: bool,

    /// Log every request too. The environment variable GANNET_LOG sets a finer filter.
    #[arg(short, long)]
    pub(crate) debug: bool,
    /// Log failures only.
    #[arg(short, long, conflicts_with = "debug")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) listen: Listen,
    #[command(flatten)]
    pub(crate) tls: Tls,
    #[command(flatten)]
    pub(crate) rights: Rights,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) accepted: Accepted,
}

/// Where to listen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where to listen")]
pub(crate) struct Listen {
    /// Address or host name to listen on; `::` means all addresses. Repeatable
    /// [default: 127.0.0.1 and, where there is IPv6, ::1: this machine only].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Vec<String>,
    /// Port to listen on; 0 picks a free one, which the line on standard output tells.
    #[arg(long, value_name = "PORT", default_value_t = 9417)]
    pub(crate) port: u16,
    /// Listen on a unix socket instead, which only your user may use.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["bind", "port", "certfile"])]
    pub(crate) socket: Option<PathBuf>,
    /// Expect this in front of /git-annex/ in every path, as some reverse proxies leave it.
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true,
          value_parser = base_path)]
    pub(crate) base_path: String,
}

/// How to prove who we are.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct Tls {
    /// Serve HTTPS with this certificate (PEM; may contain the whole chain).
    #[arg(long, value_name = "FILE", requires = "privatekeyfile")]
    pub(crate) certfile: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "certfile")]
    pub(crate) privatekeyfile: Option<PathBuf>,
    /// More certificates of the chain (PEM). Repeatable.
    #[arg(long, value_name = "FILE", requires = "certfile")]
    pub(crate) chainfile: Vec<PathBuf>,
}

/// Who may do what. At least one of these must be chosen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Who may do what (choose at least one)")]
pub(crate) struct Rights {
    /// Everybody may do everything, remove content too.
    #[arg(long)]
    pub(crate) wideopen: bool,
    /// Everybody may read content, and lock it.
    #[arg(long)]
    pub(crate) unauth_readonly: bool,
    /// Everybody may read content, lock it, and add more.
    #[arg(long)]
    pub(crate) unauth_appendonly: bool,
    /// Nobody may lock content without logging in; readonly users may not either.
    #[arg(long)]
    pub(crate) unauth_nolocking: bool,
    /// The users of the environment may log in. Needs --certfile, because passwords would
    /// travel in clear.
    #[arg(long)]
    pub(crate) authenv: bool,
    /// The users of the environment may log in, over plain HTTP too: for use behind a reverse
    /// proxy that ends TLS, or in a network you trust.
    #[arg(long)]
    pub(crate) authenv_http: bool,
}

/// What is too much. `docs/limits.md` has the reason for each.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits (each also by the environment variable in brackets)")]
pub(crate) struct Limits {
    /// Requests that are worked on at once; more are told to come back (503).
    #[arg(long, env = "GANNET_MAX_REQUESTS", value_name = "NUMBER", default_value = "1024")]
    pub(crate) max_requests: NonZeroUsize,
    /// Of these requests, those of one address. A reverse proxy is one address; a unix socket has
    /// none, and no such limit.
    #[arg(
        long,
        env = "GANNET_MAX_REQUESTS_PER_ADDRESS",
        value_name = "NUMBER",
        default_value = "768"
    )]
    pub(crate) max_requests_per_address: NonZeroUsize,
    /// Connections that are open at once; more are told to come back (503).
    #[arg(long, env = "GANNET_MAX_CONNECTIONS", value_name = "NUMBER", default_value = "4096")]
    pub(crate) max_connections: NonZeroUsize,
    /// Of these connections, those of one address; more are told to come back, or just closed.
    #[arg(
        long,
        env = "GANNET_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "NUMBER",
        default_value = "1024"
    )]
    pub(crate) max_connections_per_address: NonZeroUsize,
    /// Locks that clients may hold at once.
    #[arg(long, env = "GANNET_LOCKEDFILES", value_name = "NUMBER", default_value = "100")]
    pub(crate) lockedfiles: NonZeroUsize,
    /// Locks that one client may hold, by the uuid that it says it has.
    #[arg(long, env = "GANNET_MAX_LOCKS_PER_CLIENT", value_name = "NUMBER", default_value = "50")]
    pub(crate) max_locks_per_client: NonZeroUsize,
    /// Locks that one address may hold, whatever uuids it makes up.
    #[arg(long, env = "GANNET_MAX_LOCKS_PER_ADDRESS", value_name = "NUMBER", default_value = "75")]
    pub(crate) max_locks_per_address: NonZeroUsize,
    /// The head of a request, or the start of TLS, must arrive within so many seconds.
    #[arg(long, env = "GANNET_HEADER_TIMEOUT", value_name = "SECONDS", default_value_t = 30)]
    pub(crate) header_timeout: u32,
    /// A transfer that does not move for so many seconds is given up. Held locks are exempt.
    #[arg(long, env = "GANNET_IDLE_TIMEOUT", value_name = "SECONDS", default_value_t = 300)]
    pub(crate) idle_timeout: u32,
    /// A connection is closed when no request begins for so many seconds.
    #[arg(long, env = "GANNET_KEEP_ALIVE_TIMEOUT", value_name = "SECONDS", default_value_t = 600)]
    pub(crate) keep_alive_timeout: u32,
    /// Bytes that the head of a request may have; also how much of a body is in memory at once.
    #[arg(long, env = "GANNET_MAX_HEAD_BYTES", value_name = "BYTES", default_value_t = 131_072,
          value_parser = clap::value_parser!(u32).range(8192..=16_777_216))]
    pub(crate) max_head_bytes: u32,
    /// Requests that share one HTTP/2 connection at once. On all of these connections together,
    /// there may be as many as there may be connections.
    #[arg(long, env = "GANNET_MAX_STREAMS", value_name = "NUMBER", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_streams: u32,
    /// Requests that a client of HTTP/2 may take back unread; more end its connection.
    #[arg(long, env = "GANNET_MAX_RESETS", value_name = "NUMBER", default_value_t = 20)]
    pub(crate) max_resets: usize,
    /// When told to stop, wait so many seconds for requests to finish.
    #[arg(long, env = "GANNET_STOP_TIMEOUT", value_name = "SECONDS", default_value_t = 30)]
    pub(crate) stop_timeout: u32,
    /// Nodes of a cluster that one request asks at once, where it need not ask them all: a put always
    /// goes to all that want it.
    #[arg(long, env = "GANNET_CLUSTERJOBS", value_name = "NUMBER", default_value = "8")]
    pub(crate) clusterjobs: NonZeroUsize,
    /// Connections that are kept for later to each remote that is reached through a gateway.
    #[arg(long, env = "GANNET_PROXYCONNECTIONS", value_name = "NUMBER", default_value_t = 8)]
    pub(crate) proxyconnections: usize,
    /// Threads that run at once [default: one per processor].
    #[arg(long, env = "GANNET_CPUS", value_name = "NUMBER",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) cpus: Option<u16>,
}

/// An option of `git annex p2phttp` that is accepted and changes nothing.
#[derive(Debug, Args)]
#[command(next_help_heading = "Accepted without effect (there are no workers to run out of)")]
pub(crate) struct Accepted {
    /// Requests do not occupy workers; see --max-requests.
    #[arg(short = 'J', long, value_name = "NUMBER|cpus", value_parser = jobs)]
    pub(crate) jobs: Option<usize>,
}

impl Serve {
    /// What the options say about rights.
    ///
    /// # Errors
    /// When they say nothing, or something that would have no effect.
    pub(crate) fn policy(&self) -> Result<Policy, Failure> {
        let rights = &self.rights;
        let log_in = rights.authenv || rights.authenv_http;
        if !(log_in || rights.wideopen || rights.unauth_readonly || rights.unauth_appendonly) {
            return Err(Failure::Usage(CHOOSE.to_owned()));
        }
        if rights.authenv && !rights.authenv_http && self.tls.certfile.is_none() {
            return Err(Failure::Usage(NEEDS_TLS.to_owned()));
        }
        Ok(Policy {
            wide_open: rights.wideopen,
            unauth_read_only: rights.unauth_readonly,
            unauth_append_only: rights.unauth_appendonly,
            unauth_no_locking: rights.unauth_nolocking,
            log_in,
        })
    }

    /// What the options say about gateways.
    pub(crate) fn gateway_bounds(&self) -> Bounds {
        Bounds {
            cluster_jobs: Some(self.limits.clusterjobs),
            idle_connections: Some(self.limits.proxyconnections),
        }
    }
}

fn jobs(text: &str) -> Result<usize, String> {
    match text {
        "cpus" => Ok(0),
        number => number.parse().map_err(|_| "must be a number, or `cpus`".to_owned()),
    }
}

/// Reads `/annex/` or `annex` as `/annex`, and `/` as nothing.
fn base_path(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    if !text.bytes().all(plain) {
        return Err("may hold letters, digits, `/`, `-`, `.`, `_` and `~`".to_owned());
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    Ok(parts.iter().map(|part| format!("/{part}")).collect())
}

const CHOOSE: &str = "\
say who may do what; choose at least one of these:
  --unauth-readonly    everybody may read
  --unauth-appendonly  everybody may read and add
  --wideopen           everybody may do everything, remove too
  --authenv            users of the environment may log in (HTTPS)
  --authenv-http       users of the environment may log in (HTTP too)
A user NAME exists if GIT_ANNEX_P2PHTTP_PASSWORD_NAME is set, and may do everything unless
GIT_ANNEX_P2PHTTP_PERMISSIONS_NAME is `readonly` or `appendonly`.";

const NEEDS_TLS: &str = "\
--authenv lets users log in over HTTPS only, but this would serve plain HTTP: add --certfile and
--privatekeyfile, or use --authenv-http if a reverse proxy ends TLS or you trust the network";

const EXAMPLES: &str = "\
Prints one line to standard output when it is ready, and logs to standard error. SIGTERM and
SIGINT end it: requests that run may finish, and then all is committed.

Users: NAME may log in if GIT_ANNEX_P2PHTTP_PASSWORD_NAME is set in the environment. Without
GIT_ANNEX_P2PHTTP_PERMISSIONS_NAME, which can be `readonly` or `appendonly`, NAME may do everything.
Whoever logs in may also do what strangers may.

Examples:
  gannet serve --wideopen                     the repository here, for programs on this machine
  gannet serve --init --wideopen ./annex      one that is created first
  gannet serve --unauth-readonly --bind :: --directory /srv/annex
                                              all below /srv/annex, to read, for everybody
  GIT_ANNEX_P2PHTTP_PASSWORD_joey=sesame gannet serve --authenv \\
      --certfile cert.pem --privatekeyfile key.pem --bind example.com /srv/annex/music.git";

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::{CommandFactory, Parser};

    fn parse(line: &str) -> Result<Serve, clap::Error> {
        let words = ["gannet", "serve"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::Serve(serve) => Ok(*serve),
            Command::Init(_)
            | Command::Shell(_)
            | Command::Check(_)
            | Command::Cluster(_)
            | Command::Proxy(_)
            | Command::Matches(_)
            | Command::Man(_)
            | Command::Completions(_) => {
                panic!("not serve")
            }
        }
    }

    fn refusal(line: &str) -> String {
        match parse(line).unwrap().policy() {
            Err(Failure::Usage(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_options_of_p2phttp_are_accepted() {
        let serve = parse(
            "--port 80 --bind a --certfile c --privatekeyfile k --chainfile ch --authenv \
             --authenv-http --unauth-readonly --unauth-appendonly --unauth-nolocking --wideopen \
             --proxyconnections 3 -J 4 --clusterjobs 2 --cpus 2 --lockedfiles 7 --directory d \
             --directory e r s",
        )
        .unwrap();
        assert_eq!(serve.directory, ["d", "e"].map(PathBuf::from));
        assert_eq!(serve.repositories, ["r", "s"].map(PathBuf::from));
        assert_eq!(serve.limits.lockedfiles.get(), 7);
        let bounds = serve.gateway_bounds();
        assert_eq!(bounds.cluster_jobs.map(NonZeroUsize::get), Some(2));
        assert_eq!((bounds.idle_connections, serve.accepted.jobs), (Some(3), Some(4)));
        assert!(parse("--jobs cpus --socket s").is_ok());
        assert_eq!(parse("").unwrap().listen.port, 9417);
        assert_eq!(parse("").unwrap().accepted.jobs, None);
    }

    /// Which option, which default, and why: `docs/limits.md` tells it for each limit.
    #[test]
    fn every_limit_is_documented_with_its_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/limits.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with("| `--"))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        let mut told: Vec<_> = rows.iter().map(|row| (row[0], row[1], row[2])).collect();
        let limits = Limits::augment_args(clap::Command::new("limits"));
        let mut true_ones: Vec<(String, String, String)> = Vec::new();
        for arg in limits.get_arguments() {
            let option = format!("`--{}`", arg.get_long().unwrap());
            let variable = format!("`{}`", arg.get_env().unwrap().to_str().unwrap());
            let default = arg.get_default_values().first().map_or("all", |it| it.to_str().unwrap());
            true_ones.push((option, variable, default.to_owned()));
        }
        told.sort_unstable();
        true_ones.sort_unstable();
        let true_ones: Vec<_> =
            true_ones.iter().map(|it| (it.0.as_str(), it.1.as_str(), it.2.as_str())).collect();
        assert_eq!(told, true_ones);
        for row in rows {
            assert!(row.len() == 4 && row[3].len() > 40, "no reason: {row:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let lines = [
            "--jobs many",
            "--cpus 0",
            "--lockedfiles 0",
            "--clusterjobs 0",
            "--port 65536",
            "--certfile c",
            "--privatekeyfile k",
            "--chainfile c",
            "--socket s --port 1",
            "--socket s --bind a",
            "--socket s --certfile c --privatekeyfile k",
            "--init",
            "--base-path a?b",
            "--wide-open",
        ];
        for line in lines {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn without_rights_nothing_is_served() {
        for line in ["", "repo", "--unauth-nolocking", "--jobs 2"] {
            let text = refusal(line);
            let options =
                ["--wideopen", "--unauth-readonly", "--unauth-appendonly", "--authenv", "-http"];
            for option in options {
                assert!(text.contains(option), "{line}: {text}");
            }
        }
        for line in ["--wideopen", "--unauth-readonly", "--unauth-appendonly", "--authenv-http"] {
            assert!(parse(line).unwrap().policy().is_ok(), "{line}");
        }
    }

    #[test]
    fn passwords_do_not_travel_in_clear_unless_told_so() {
        for line in ["--authenv", "--authenv --wideopen", "--authenv --socket s"] {
            assert!(refusal(line).contains("--authenv-http"), "{line}");
        }
        let lines = ["--authenv --certfile c --privatekeyfile k", "--authenv --authenv-http"];
        for line in lines {
            assert!(parse(line).unwrap().policy().unwrap().log_in, "{line}");
        }
    }

    #[test]
    fn a_base_path_starts_with_a_slash_and_ends_without() {
        let cases = [("/", ""), ("", ""), ("annex", "/annex"), ("/a//b/", "/a/b")];
        for (text, expected) in cases {
            assert_eq!(base_path(text).as_deref(), Ok(expected), "{text}");
        }
    }
}
