//! Speed and memory beside the pinned git-annex, and beside nginx where files are just files:
//! over HTTP, through the shells that ssh starts, and as gateways.
//!
//! All servers run one after the other on the same machine, in the same run, on the same
//! repository; so the ratios mean something even where the numbers depend on the machine.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{Result, announce, cargo, root};
use objects::Objects;
use servers::{Kind, Repository};
use table::Table;

mod gateway;
mod http;
mod line;
mod load;
mod objects;
mod servers;
mod sshd;
mod table;

/// Measures every server and prints a table. `words` are the options of the command.
///
/// # Errors
/// When an option is unknown, or a server gives a wrong answer, or none.
pub(crate) fn run(words: &[&str]) -> Result {
    let options = Options::parse(words)?;
    if cfg!(debug_assertions) {
        // Chores are compiled to start soon, not to run fast; a slow client would measure itself.
        let release = ["run", "--quiet", "--release", "--package", "xtask", "--", "bench"];
        return crate::run::run(cargo()?.args(release).args(words));
    }
    compare(&options)
}

/// What to compare, and how long.
struct Options {
    quick: bool,
    kinds: Vec<Kind>,
    parts: Vec<Part>,
}

/// Which way contents go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Http,
    Line,
    Gateway,
}

impl Options {
    /// Reads `--quick`, `--only NAME,…` and `--part http`, `line` or `gateway`.
    fn parse(words: &[&str]) -> Result<Self> {
        let parts = vec![Part::Http, Part::Line, Part::Gateway];
        let mut options = Self { quick: false, kinds: Kind::ALL.to_vec(), parts };
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--quick" => options.quick = true,
                "--only" => {
                    let names = words.next().ok_or("--only wants names of servers")?;
                    options.kinds = names.split(',').map(Kind::named).collect::<Result<_>>()?;
                }
                "--part" => match words.next() {
                    Some(&"http") => options.parts = vec![Part::Http],
                    Some(&"line") => options.parts = vec![Part::Line],
                    Some(&"gateway") => options.parts = vec![Part::Gateway],
                    _ => return Err("--part wants http, line or gateway".into()),
                },
                _ => return Err(format!("bench has no option {word}").into()),
            }
        }
        Ok(options)
    }
}

/// Measures every server and prints a table.
fn compare(options: &Options) -> Result {
    let scratch = Scratch::new(&root()?.join("target/bench"))?;
    let sizes = if options.quick { load::Sizes::QUICK } else { load::Sizes::FULL };
    if options.kinds.contains(&Kind::Gannet) {
        servers::build()?;
    }
    let mut table = Table::default();
    if options.parts.contains(&Part::Http) {
        compare_http(&scratch.0, &options.kinds, &sizes, &mut table)?;
    }
    if options.parts.contains(&Part::Line) {
        line::measure(&scratch.0, &options.kinds, &sizes, &mut table)?;
    }
    if options.parts.contains(&Part::Gateway) {
        gateway::measure(&scratch.0, &options.kinds, &sizes, &mut table)?;
    }
    print!("{table}");
    Ok(())
}

fn compare_http(dir: &Path, kinds: &[Kind], sizes: &load::Sizes, table: &mut Table) -> Result {
    announce("preparing objects");
    // Each server is sent contents of its own, so that none finds another's.
    let mut objects = Vec::new();
    for kind in kinds {
        objects.push(match kind {
            Kind::Nginx => None,
            _ => Some(Objects::make(&dir.join(kind.name()), sizes)?),
        });
    }
    let repository = Repository::create(dir, kinds)?;
    let mut stored: Option<&Objects> = None;
    for (kind, own) in kinds.iter().zip(&objects) {
        let server = repository.serve(*kind)?;
        announce(&format!("measuring {}", kind.name()));
        if let Some(own) = own {
            load::measure(&server, own, sizes, table)?;
            stored = Some(own);
        } else {
            let stored = stored.ok_or("nginx serves what another server has stored")?;
            load::measure_files(&server, &repository, stored, sizes, table)?;
        }
        table.add("peak resident memory", "MiB", *kind, server.peak_memory_mib()?);
        server.stop()?;
    }
    Ok(())
}

/// A directory that is removed when dropped, read-only directories of objects included.
struct Scratch(PathBuf);

impl Scratch {
    fn new(below: &Path) -> Result<Self> {
        let dir = below.join(std::process::id().to_string());
        fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut chmod = std::process::Command::new("chmod");
        if chmod.args(["-R", "u+w"]).arg(&self.0).status().is_ok() {
            fs::remove_dir_all(&self.0).ok();
        }
    }
}
