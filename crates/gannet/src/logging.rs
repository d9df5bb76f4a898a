//! The log, on standard error.

use std::fmt;
use std::io::{self, IsTerminal};

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::serve::Serve;
use crate::cli::shell;

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
    tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// Starts to log for somebody who logged in by ssh, and sees every line: each begins with the name
/// of the program that they know.
pub(crate) fn start_for_shell(debug: bool) {
    let level = if debug { Level::Debug } else { Level::Warn };
    tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_writer(io::stderr)
        // Whoever would read it may be gone before the work is finished.
        .log_internal_errors(false)
        .event_format(ForShell)
        .init();
}

fn filter(level: Level) -> EnvFilter {
    let default = match level {
        Level::Warn => "warn",
        Level::Info => "info",
        // The noise of libraries is for whoever asks for it by name.
        Level::Debug => "info,gannet=debug,gannet_net=debug,gannet_repo=debug",
    };
    EnvFilter::try_from_env("GANNET_LOG").unwrap_or_else(|_| EnvFilter::new(default))
}

/// Lines without time, for they are read as they come.
struct ForShell;

impl<S, N> FormatEvent<S, N> for ForShell
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "{}: ", shell::NAME)?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
