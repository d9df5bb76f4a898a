//! Gannet's chores. `cargo xtask help` lists them.

use std::process::ExitCode;

use crate::run::Result;

mod bench;
mod fuzz;
mod moto;
mod oracle;
mod python;
mod run;
mod test;
mod tidy;
mod tools;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match chore(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn chore(words: &[&str]) -> Result {
    match words {
        ["test"] => test::everything(),
        ["soak", options @ ..] => test::soak(options),
        ["long", names @ ..] => test::long(names),
        ["tidy"] => tidy::check(),
        ["map"] => tidy::redraw_map(),
        ["oracle"] => oracle::install().map(|bin| println!("{}", bin.display())),
        ["moto"] => moto::install().map(|bin| println!("{}", bin.display())),
        ["fuzz", options @ ..] => fuzz::fuzz(options),
        ["bench", options @ ..] => bench::run(options),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(format!("no such chore: {}\n{HELP}", words.join(" ")).into()),
    }
}

const HELP: &str = "\
cargo xtask test     every check and every test; installs what they need
cargo xtask long [NAME…]
                     every test, or those whose names hold a NAME, with the large counts
cargo xtask soak [--minutes N] [--release]
                     everybody works on one server for so long; reports whether it grows
cargo xtask tidy     the house rules that a machine can check
cargo xtask map      adds new files to the map in ARCHITECTURE.md and drops vanished ones
cargo xtask oracle   installs the pinned git-annex that tests and bench compare with
cargo xtask moto     installs the server of S3 that tests store to
cargo xtask fuzz [--seconds N] [--target NAME]
                     lets libFuzzer try to break what reads what strangers send
cargo xtask bench [--quick] [--only gannet,reference,nginx] [--part http|line]
                     speed and memory beside the pinned git-annex, in one run
";
