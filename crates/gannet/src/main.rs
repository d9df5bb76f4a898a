//! The program: puts the rooms together, and knows them all.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use cli::{Cli, Command, Failure, shell};
use gannet::clock;
use tokio::runtime::{Builder, Runtime};

mod access;
mod cli;
mod doors;
mod house;
mod logging;
mod memory;
mod serving;
mod yard;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|program| shell::is_meant(&program)) {
        return shell::run_as_git_annex_shell(&words.collect::<Vec<_>>());
    }
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(Failure::Usage(text)) => {
            eprintln!("gannet: {text}\n\nFor more information, try '--help'.");
            ExitCode::from(2)
        }
        Err(Failure::Failed(text)) => {
            eprintln!("gannet: {text}");
            ExitCode::FAILURE
        }
        Err(Failure::Unknown(text)) => {
            eprintln!("gannet: {text}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Init(init) => init.run().map(|()| ExitCode::SUCCESS),
        Command::Shell(shell) => Ok(shell.run()),
        Command::Check(check) => check.run(),
        Command::Cluster(cluster) => cluster.run(),
        Command::Proxy(proxy) => proxy.run(),
        Command::Matches(matches) => matches.run(),
        Command::Man(man) => man.run().map(|()| ExitCode::SUCCESS),
        Command::Completions(completions) => {
            completions.run();
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve(serve) => {
            logging::start(logging::Level::of(&serve));
            let plan = serving::Plan::new(&serve)?;
            let runtime = runtime(serve.limits.cpus)?;
            let result = runtime.block_on(serving::serve(&serve, plan));
            // A disk that hangs must not keep the program from ending.
            runtime.shutdown_background();
            result.map(|()| ExitCode::SUCCESS)
        }
    }
}

fn runtime(cpus: Option<u16>) -> Result<Runtime, Failure> {
    let processors = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let cpus = cpus.map_or_else(processors, usize::from);
    Builder::new_multi_thread()
        .worker_threads(cpus)
        .max_blocking_threads(cpus + DISK_THREADS)
        .thread_name("gannet")
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("cannot start threads", &error))
}

/// Threads beyond one per processor that may wait for disks. Each repository has a few at most; so
/// many can be lost to disks that hang before others have to wait. They come when they are needed,
/// and go.
const DISK_THREADS: usize = 500;
