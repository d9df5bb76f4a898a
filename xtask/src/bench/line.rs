//! The line protocol on the standard input and output of a shell, as sshd starts one: the same
//! contents in and out again, for each shell in turn. The best of a few rounds counts.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use super::load::{Sizes, count, mebibytes};
use super::objects::{Object, Objects};
use super::servers::{Kind, gannet, path_with};
use super::table::Table;
use crate::oracle;
use crate::run::{Result, Running, announce, run, shield};

/// Measures the shells of these servers, each with a repository of its own in `dir`.
///
/// # Errors
/// When one of them gives a wrong answer, or none.
pub(super) fn measure(dir: &Path, kinds: &[Kind], sizes: &Sizes, table: &mut Table) -> Result {
    let shells = kinds.iter().filter(|kind| **kind != Kind::Nginx);
    let shells: Vec<Shell> = shells.map(|kind| Shell::new(dir, *kind)).collect::<Result<_>>()?;
    announce("preparing objects for shells");
    let objects = Objects::make(&dir.join("of-shells"), sizes)?;
    let big = std::slice::from_ref(&objects.big);
    let tiny = objects.tiny.get(..sizes.line_count).unwrap_or(&objects.tiny);
    let groups = [(big, "MiB/s", mebibytes(objects.big.len)), (tiny, "/s", count(tiny.len()))];
    for (objects, unit, amount) in groups {
        announce(&format!("measuring shells, contents: {}", objects.len()));
        let mut best = vec![[f64::INFINITY; 2]; shells.len()];
        for round in 1..=ROUNDS {
            for (shell, [put, get]) in shells.iter().zip(&mut best) {
                *put = put.min(shell.session(Way::Put, objects)?);
                *get = get.min(shell.session(Way::Get, objects)?);
                if round < ROUNDS {
                    shell.session(Way::Remove, objects)?;
                }
            }
        }
        let size = match unit {
            "/s" => "4 KiB".to_owned(),
            _ => format!("{} MiB", sizes.big_bytes >> 20),
        };
        for (row, way) in ["PUT", "GET"].into_iter().enumerate() {
            for (shell, seconds) in shells.iter().zip(&best) {
                table.add(
                    &format!("{way} {size}, by shell"),
                    unit,
                    shell.kind,
                    amount / seconds[row],
                );
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    Put,
    Get,
    Remove,
}

/// A shell, and a bare repository that only it has to do with.
struct Shell {
    kind: Kind,
    home: PathBuf,
    repository: PathBuf,
}

impl Shell {
    fn new(dir: &Path, kind: Kind) -> Result<Self> {
        let home = dir.join(format!("home-{}", kind.name()));
        let repository = dir.join(format!("shell-{}.git", kind.name()));
        fs::create_dir(&home)?;
        let shell = Self { kind, home, repository };
        if kind == Kind::Gannet {
            let mut init = Command::new(gannet()?);
            run(shield(init.arg("init").arg(&shell.repository), &shell.home))?;
        } else {
            let mut init = Command::new("git");
            init.args(["init", "--quiet", "--bare"]).arg(&shell.repository);
            run(shield(&mut init, &shell.home))?;
            let mut init = Command::new(oracle::install()?.join("git-annex"));
            init.args(["init", "--quiet", "bench"]).current_dir(&shell.repository);
            run(shield(&mut init, &shell.home).env("PATH", path_with(&oracle::install()?)?))?;
        }
        Ok(shell)
    }

    /// Starts it, does one after the other, and waits until it has ended; returns the seconds
    /// from its greeting to its end.
    fn session(&self, way: Way, objects: &[Object]) -> Result<f64> {
        run(&mut Command::new("sync"))?;
        let mut command = match self.kind {
            Kind::Gannet => {
                let mut command = Command::new(gannet()?);
                command.arg("shell");
                command
            }
            _ => {
                let mut command = Command::new(oracle::install()?.join("git-annex-shell"));
                command.env("PATH", path_with(&oracle::install()?)?);
                command
            }
        };
        command.arg("p2pstdio").arg(&self.repository).arg(CLIENT);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut running = Running::start(shield(&mut command, &self.home))?;
        let child = running.child();
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut line = Line {
            says: input.ok_or("no standard input")?,
            hears: BufReader::with_capacity(BUFFER_BYTES, output.ok_or("no standard output")?),
        };
        line.expect("AUTH-SUCCESS ")?;
        line.say("VERSION 4")?;
        line.expect("VERSION 4")?;
        let begin = Instant::now();
        for object in objects {
            match way {
                Way::Put => line.put(object)?,
                Way::Get => line.get(object)?,
                Way::Remove => {
                    line.say(&format!("REMOVE {}", object.key))?;
                    line.expect("SUCCESS")?;
                }
            }
        }
        drop(line);
        let status = running.child().wait()?;
        match status.success() {
            true => Ok(begin.elapsed().as_secs_f64()),
            false => Err(format!("the shell of {} ended with {status}", self.kind.name()).into()),
        }
    }
}

/// Both directions of the connection.
struct Line {
    says: ChildStdin,
    hears: BufReader<ChildStdout>,
}

impl Line {
    /// Puts a content as git-annex does: it asks first whether it is there.
    fn put(&mut self, object: &Object) -> Result {
        self.say(&format!("CHECKPRESENT {}", object.key))?;
        self.expect("FAILURE")?;
        self.say(&format!("PUT a%file {}", object.key))?;
        self.expect("PUT-FROM 0")?;
        self.say(&format!("DATA {}", object.len))?;
        // The system moves these bytes itself (splice).
        io::copy(&mut File::open(&object.file)?, &mut self.says)?;
        self.say("VALID")?;
        self.expect("SUCCESS")
    }

    fn get(&mut self, object: &Object) -> Result {
        self.say(&format!("GET 0 a%file {}", object.key))?;
        self.expect(&format!("DATA {}", object.len))?;
        let mut left = object.len;
        while left > 0 {
            let len = self.hears.fill_buf()?.len().min(usize::try_from(left)?);
            if len == 0 {
                return Err("the shell ended within a content".into());
            }
            self.hears.consume(len);
            left -= len as u64;
        }
        self.expect("VALID")?;
        self.say("SUCCESS")
    }

    fn say(&mut self, message: &str) -> Result {
        Ok(self.says.write_all(format!("{message}\n").as_bytes())?)
    }

    fn expect(&mut self, beginning: &str) -> Result {
        let mut said = String::new();
        Read::by_ref(&mut self.hears).take(LINE_BYTES_MAX).read_line(&mut said)?;
        match said.starts_with(beginning) {
            true => Ok(()),
            false => Err(format!("the shell said {said:?} instead of {beginning}").into()),
        }
    }
}

/// A machine is never quite quiet.
const ROUNDS: usize = 3;
const CLIENT: &str = "c1c1c1c1-0000-4000-8000-000000000002";
const BUFFER_BYTES: usize = 256 * 1024;
const LINE_BYTES_MAX: u64 = 32 * 1024;
