//! The command line: one file per command.

use clap::{Parser, Subcommand};

pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod init;
pub(crate) mod matches;
pub(crate) mod papers;
pub(crate) mod proxy;
pub(crate) mod serve;
pub(crate) mod shell;

/// Serves git-annex repositories to git-annex, over HTTP and ssh.
#[derive(Debug, Parser)]
#[command(name = "gannet", version, about, long_about = None, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve repositories over HTTP, like `git annex p2phttp`.
    Serve(Box<serve::Serve>),
    /// Create a repository that can be served.
    Init(init::Init),
    /// Serve repositories to those who log in by ssh, like `git-annex-shell`.
    Shell(shell::Shell),
    /// Look whether a repository is as it should be, and mend it.
    Check(check::Check),
    /// Set up clusters, and look how they are.
    Cluster(cluster::Cluster),
    /// Set up proxies.
    Proxy(proxy::Proxy),
    /// Explain why content is or is not wanted, term by term.
    Matches(matches::Matches),
    /// Write the manual pages of all commands.
    Man(papers::Man),
    /// Print what lets a shell complete command lines.
    Completions(papers::Completions),
}

/// Why a command did not do what it was told.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was told something that makes no sense.
    Usage(String),
    /// It could not.
    Failed(String),
    /// It could not even look whether something is wrong, which is another thing than that
    /// something is.
    Unknown(String),
}

impl Failure {
    /// It could not do this, because of `error` and what lies behind it.
    pub(crate) fn doing(what: impl std::fmt::Display, error: &dyn std::error::Error) -> Self {
        let mut text = format!("{what}: {error}");
        let mut source = error.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        Self::Failed(text)
    }

    /// The same, where failing must not look like having found something.
    pub(crate) fn grave(self) -> Self {
        match self {
            Self::Failed(text) => Self::Unknown(text),
            other => other,
        }
    }
}
