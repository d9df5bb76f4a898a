//! The log, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::cli::serve::Serve;

/// How much is said, unless the environment variable `GANNET_LOG` says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    /// Failures.
    Warn,
    /// And what is worth knowing.
    Info,
    /// And every request.
    Debug,
}

impl Level {
    /// What the command line asks for.
    pub(crate) fn of(serve: &Serve) -> Self {
        match (serve.debug, serve.quiet) {
            (true, _) => Self::Debug,
            (false, true) => Self::Warn,
            (false, false) => Self::Info,
        }
    }
}

/// Starts to log.
pub(crate) fn start(level: Level) {
    let default = match level {
        Level::Warn => "warn",
        Level::Info => "info",
        // The noise of libraries is for whoever asks for it by name.
        Level::Debug => "info,gannet=debug,gannet_net=debug,gannet_repo=debug",
    };
    let filter = EnvFilter::try_from_env("GANNET_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}
