//! Lets libFuzzer try to break what reads what strangers send (see `fuzz/targets/src/lib.rs`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Result, announce, cargo, output, root, run};
use crate::tools;

/// Fuzzes every target, or the one that `--target` names, for `--seconds` in total, and prints
/// how often each ran and how much of the code it reached.
///
/// What was found to be worth trying is kept in `target/fuzz/corpus`, and what broke something
/// in `target/fuzz/found`.
///
/// # Errors
/// When an option is unknown, the fuzzer cannot be built, or something broke.
pub(crate) fn fuzz(options: &[&str]) -> Result {
    let options = Options::read(options)?;
    tools::install_packages()?;
    let place = root()?.join("target/fuzz");
    let corpus = place.join("corpus");
    announce("what to begin with");
    run(cargo()?.args(["run", "--quiet", "--package", "gannet-fuzz", "--"]).arg(&corpus))?;
    let list = output(cargo()?.args(["run", "--quiet", "--package", "gannet-fuzz"]))?;
    let targets: Vec<&str> = match &options.target {
        Some(target) => vec![target],
        None => list.lines().collect(),
    };
    announce("the fuzzer");
    let driver = build(&place)?;
    let seconds = (options.seconds / targets.len() as u64).max(1);
    let mut broken = Vec::new();
    println!("{:<18} {:>12} {:>10} {:>8}", "target", "executions", "per second", "edges");
    for name in targets {
        let target = Target { name, place: &place, driver: &driver };
        match target.fuzz(seconds)? {
            Outcome::Held(line) => println!("{name:<18} {line}"),
            Outcome::Broke(why) => {
                println!("{name:<18} BROKEN\n{why}");
                broken.push(name);
            }
        }
    }
    match broken.as_slice() {
        [] => Ok(()),
        broken => Err(format!(
            "broken: {}; what broke it is in {}; `GANNET_FUZZ_TARGET=NAME {} FILE` does it again",
            broken.join(", "),
            place.join("found").display(),
            driver.display(),
        )
        .into()),
    }
}

struct Options {
    seconds: u64,
    target: Option<String>,
}

impl Options {
    fn read(words: &[&str]) -> Result<Self> {
        let mut options = Self { seconds: 60, target: None };
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            let value = words.next().copied().unwrap_or_default();
            match word {
                "--seconds" => {
                    options.seconds = value.parse().map_err(|_| "--seconds wants a number")?;
                }
                "--target" => options.target = Some(value.to_owned()),
                _ => return Err(format!("fuzz has no option {word}").into()),
            }
        }
        Ok(options)
    }
}

/// Builds the driver, and all that it tests, with counters on every edge of the code.
fn build(place: &Path) -> Result<PathBuf> {
    let host = output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let host = host.trim();
    let mut build = cargo()?;
    build
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(root()?.join("fuzz/driver/Cargo.toml"))
        .args(["--target", host, "--target-dir"])
        .arg(place.join("build"))
        .env("RUSTFLAGS", INSTRUMENTED);
    run(&mut build)?;
    Ok(place.join("build").join(host).join("release/gannet-fuzz-driver"))
}

struct Target<'a> {
    name: &'a str,
    place: &'a Path,
    driver: &'a Path,
}

enum Outcome {
    Held(String),
    Broke(String),
}

impl Target<'_> {
    fn fuzz(&self, seconds: u64) -> Result<Outcome> {
        let (corpus, found) = (self.place.join("corpus").join(self.name), self.place.join("found"));
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&found)?;
        let mut artifacts = found.join(self.name).into_os_string();
        artifacts.push("-");
        let fuzzed = Command::new(self.driver)
            .current_dir(root()?)
            .env("GANNET_FUZZ_TARGET", self.name)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}", artifacts.display()))
            .args(["-print_final_stats=1", "-timeout=60", "-rss_limit_mb=2048", "-max_len=8192"])
            .arg(corpus)
            .output()?;
        let said = String::from_utf8_lossy(&fuzzed.stderr);
        if !fuzzed.status.success() {
            let from = said.len().saturating_sub(SAID_BYTES_MAX);
            let from = said.ceil_char_boundary(from);
            return Ok(Outcome::Broke(said[from..].to_owned()));
        }
        let executions = statistic(&said, "stat::number_of_executed_units:").unwrap_or_default();
        let edges = said.rsplit("cov: ").next().and_then(|rest| rest.split(' ').next());
        let edges: u64 = edges.and_then(|edges| edges.parse().ok()).unwrap_or_default();
        let per_second = executions / seconds.max(1);
        Ok(Outcome::Held(format!("{executions:>12} {per_second:>10} {edges:>8}")))
    }
}

fn statistic(said: &str, name: &str) -> Option<u64> {
    said.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The pass that libFuzzer needs is one of LLVM's, which stable compilers have too; sanitizers,
/// which they have not, would find little in code without `unsafe`.
const INSTRUMENTED: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cdebug-assertions";
const SAID_BYTES_MAX: usize = 3000;
