//! `gannet shell`: what people reach by ssh, also under the name `git-annex-shell` (p2p-line §11).

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use clap::{Args, Parser};

mod git;
mod line;
mod order;
mod paths;
mod repository;
mod rsync;
mod rules;
mod stdio;
mod words;

use order::{Order, Task};
use rules::Rules;

use crate::cli::{self, Cli};

/// What `gannet shell` is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Shell {
    /// Nothing may be changed; pushing is refused too.
    #[arg(long)]
    readonly: bool,
    /// Nothing may be removed; pushes may neither delete nor rewind branches.
    #[arg(long)]
    appendonly: bool,
    /// Only the commands of git-annex-shell, and no git.
    #[arg(long)]
    limited: bool,
    /// Only the repository at DIR.
    #[arg(long, value_name = "DIR")]
    directory: Option<OsString>,
    /// What to do: `-c` and a command line, or a command, a directory, and more
    /// [default: what the variable SSH_ORIGINAL_COMMAND says].
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Why something was not done, in one line.
#[derive(Debug)]
struct Refusal {
    code: u8,
    text: String,
}

type Outcome = Result<ExitCode, Refusal>;

impl Refusal {
    fn new(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }
}

impl Shell {
    /// Does what is asked for.
    pub(crate) fn run(self) -> ExitCode {
        end(self.perform())
    }

    fn perform(self) -> Outcome {
        let asked = std::env::var_os("SSH_ORIGINAL_COMMAND");
        let words = match asked {
            Some(asked) if self.words.is_empty() => vec![asked],
            _ => self.words,
        };
        let mut rules = Rules::of(&|name| std::env::var_os(name));
        rules.tighten(self.readonly, self.appendonly, self.limited, self.directory);
        perform(&words, &rules)
    }
}

/// Tells whether the program was started under the name of git-annex's own; login shells have a
/// dash before their name.
pub(crate) fn is_meant(program: &OsStr) -> bool {
    let name = Path::new(program).file_name().unwrap_or_default().as_encoded_bytes();
    name.strip_prefix(b"-").unwrap_or(name) == NAME.as_bytes()
}

/// Does what `git-annex-shell` would do with these arguments.
pub(crate) fn run_as_git_annex_shell(words: &[OsString]) -> ExitCode {
    if words.first().is_some_and(|word| word == "--help") {
        return match std::io::stdout().write_all(USAGE.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    end(match forced(words) {
        Some(shell) => shell.and_then(Shell::perform),
        None => perform(words, &Rules::of(&|name| std::env::var_os(name))),
    })
}

/// What a key is tied to. Who has this program as login shell has `gannet shell` of
/// `authorized_keys` handed to it, as whatever else a client wants; it can only take rights away.
fn forced(words: &[OsString]) -> Option<Result<Shell, Refusal>> {
    let [dash_c, line] = words else { return None };
    let mut split = words::split(line);
    split.retain(|word| !word.is_empty());
    let is_ours = dash_c == "-c"
        && Path::new(split.first()?).file_name().is_some_and(|name| name == "gannet")
        && split.get(1)? == "shell";
    is_ours.then(|| match Cli::try_parse_from(split) {
        Ok(Cli { command: cli::Command::Shell(shell) }) => Ok(shell),
        Ok(_) => Err(Refusal::new("bad parameters")),
        Err(error) => Err(Refusal::new(error.to_string())),
    })
}

fn perform(words: &[OsString], rules: &Rules) -> Outcome {
    match Order::read(words)? {
        Order::Annex(task) => annex(task, rules),
        Order::Git(words) => git_shell(&words, rules),
    }
}

fn end(done: Outcome) -> ExitCode {
    done.unwrap_or_else(|refusal| {
        // Whoever would read it may be gone already.
        let text = refusal.text.trim_end().replace('\n', " ");
        writeln!(std::io::stderr(), "{NAME}: {text}").ok();
        ExitCode::from(refusal.code)
    })
}

fn annex(mut task: Task, rules: &Rules) -> Outcome {
    rules.permit(task.command)?;
    task.dir = rules.permit_directory(&task.dir)?;
    crate::logging::start_for_shell(task.debug);
    repository::serve(task, rules)
}

/// Leaves it to git-shell.
fn git_shell(words: &[OsString], rules: &Rules) -> Outcome {
    let mut command = Command::new("git-shell");
    command.arg("-c").args(rules.permit_git(words)?).envs(rules.git_environment().iter().copied());
    let status = command
        .status()
        .map_err(|error| Refusal::new(format!("cannot start git-shell: {error}")))?;
    Ok(exit_code(status))
}

fn exit_code(status: ExitStatus) -> ExitCode {
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The name under which clients ask for it.
pub(crate) const NAME: &str = "git-annex-shell";

const USAGE: &str = "\
Usage: git-annex-shell [-c] COMMAND DIRECTORY [ARGUMENT]...
This is Gannet in the place of git-annex-shell; see: gannet shell --help
";

const EXAMPLES: &str = "\
Serves git-annex over ssh. Clients ask for `git-annex-shell`: make a link of that name to this
program in the PATH of those who log in,
  ln -s /usr/local/bin/gannet /usr/local/bin/git-annex-shell
or make it what a key is good for, in ~/.ssh/authorized_keys:
  command=\"gannet shell --readonly --directory /srv/annex/music.git\",restrict ssh-ed25519 AAAA...

It may also be a login shell. What is not for git-annex goes to git-shell, as git push and fetch do.
The environment variables GIT_ANNEX_SHELL_READONLY, GIT_ANNEX_SHELL_APPENDONLY,
GIT_ANNEX_SHELL_LIMITED and GIT_ANNEX_SHELL_DIRECTORY mean what they mean to git-annex-shell:
READONLY and APPENDONLY of these leave pushes alone.";
