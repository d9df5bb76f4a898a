//! Conversations with programs, one line after the other.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use super::sshd::Login;
use crate::harness::{CLIENT, Repo, World, eventually};

/// A program that is spoken to. Little more than what is heard is taken from it. Dropping it
/// kills it.
pub(crate) struct Talk {
    program: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Talk {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut program = command.spawn().expect("start a program");
        let input = program.stdin.take();
        let mut output = BufReader::new(program.stdout.take().expect("a piped standard output"));
        let (said, lines) = sync_channel(LINES_AHEAD);
        thread::spawn(move || {
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                if said.send(text).is_err() {
                    break; // nobody hears it any more
                }
            }
        });
        Self { program, input, lines }
    }

    /// Starts the newest version of the line protocol with the repository, through ssh.
    pub(crate) fn through(login: &Login, world: &World, repo: &Repo) -> Self {
        let asked = format!("git-annex-shell 'p2pstdio' '{}' '{CLIENT}'", repo.arg());
        let mut talk = Self::start(login.command(world, &asked));
        talk.expect(&format!("AUTH-SUCCESS {}", repo.uuid()));
        talk.ask("VERSION 4", "VERSION 4");
        talk
    }

    /// Says this, as it is.
    pub(crate) fn say(&mut self, text: &str) {
        let input = self.input.as_mut().expect("an input");
        input.write_all(text.as_bytes()).expect("write to a program");
    }

    /// Says a line, and expects one that begins so.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str, beginning: &str) {
        self.say(&format!("{line}\n"));
        self.expect_beginning(beginning);
    }

    /// Returns the next line that it says.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("another line")
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &str) {
        assert_eq!(self.hear(), expected);
    }

    #[track_caller]
    pub(crate) fn expect_beginning(&mut self, beginning: &str) {
        let line = self.hear();
        assert!(line.starts_with(beginning), "{line}");
    }

    /// Passes over what does not begin so.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, beginning: &str) {
        while !self.hear().starts_with(beginning) {}
    }

    /// Closes its input, and returns its exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        drop(self.input.take());
        self.wait()
    }

    /// Waits for its end, and returns its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        eventually(PATIENCE, || {
            let status = self.program.try_wait().expect("wait for a program");
            status.ok_or_else(|| "it runs on".to_owned())
        })
        .code()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.program.kill());
        drop(self.program.wait());
    }
}

const LINES_AHEAD: usize = 16;
const PATIENCE: Duration = Duration::from_secs(60);
