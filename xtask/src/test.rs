//! Every check and every test, the quick ones first.

use std::process::Command;

use crate::run::{Result, announce, cargo, root, run};
use crate::{oracle, tidy, tools};

/// Checks and tests everything, and stops at the first check that fails.
///
/// The tests themselves come last and are all run; their summary is the last that is printed.
///
/// # Errors
/// With what failed.
pub(crate) fn everything() -> Result {
    tools::install_packages()?;
    oracle::install()?;

    announce("format");
    run(cargo()?.args(["fmt", "--all", "--check"]))
        .map_err(|error| format!("{error}\n`cargo fmt --all` puts it right"))?;

    announce("tidy");
    tidy::check()?;

    announce("lints");
    run(cargo()?.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;

    announce("licences, bans and sources of dependencies");
    deny()?;

    announce("documentation");
    run(cargo()?.args(["doc", "--no-deps", "--workspace"]).env("RUSTDOCFLAGS", "-D warnings"))?;

    announce("examples in the documentation");
    run(cargo()?.args(["test", "--doc", "--workspace", "--quiet"]))?;

    announce("tests");
    if tools::has_nextest() {
        run(cargo()?.args(["nextest", "run", "--workspace"]))
    } else {
        run(cargo()?.args(["test", "--workspace", "--all-targets", "--no-fail-fast"]))
    }
}

/// Runs every test, or those whose names hold one of `names`, with `GANNET_LONG=1`: tests that read
/// it do much more of what they do, up to an hour each.
///
/// # Errors
/// With what failed.
pub(crate) fn long(names: &[&str]) -> Result {
    tools::install_packages()?;
    oracle::install()?;
    let mut tests = cargo()?;
    if tools::has_nextest() {
        tests.args(["nextest", "run", "--workspace", "--profile", "long"]);
    } else {
        tests.args(["test", "--workspace", "--all-targets", "--no-fail-fast", "--"]);
    }
    run(tests.args(names).env("GANNET_LONG", "1"))
}

fn deny() -> Result {
    let mut deny = Command::new(tools::cargo_deny()?);
    deny.current_dir(root()?).args(["--all-features", "--log-level", "error", "check"]);
    run(deny.args(["--hide-inclusion-graph", "bans", "licenses", "sources"]))
}
