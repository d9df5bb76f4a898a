//! Every check and every test, the quick ones first.

use std::process::Command;

use crate::run::{Result, announce, cargo, output, root, run};
use crate::{moto, oracle, tidy, tools};

/// Checks and tests everything, and stops at the first check that fails.
///
/// The tests themselves come last and are all run; their summary is the last that is printed.
///
/// # Errors
/// With what failed.
pub(crate) fn everything() -> Result {
    tools::install_packages()?;
    oracle::install()?;
    moto::install()?;

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

    repository_as_another_user()?;

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
    moto::install()?;
    let mut tests = cargo()?;
    if tools::has_nextest() {
        tests.args(["nextest", "run", "--workspace", "--profile", "long"]);
    } else {
        tests.args(["test", "--workspace", "--all-targets", "--no-fail-fast", "--"]);
    }
    run(tests.args(names).env("GANNET_LONG", "1"))
}

/// Runs the soak, for two minutes unless `--minutes N` says otherwise, against a server that is built
/// for speed with `--release`. The report is printed, and written to `target/soak/report.txt`.
///
/// # Errors
/// When an option is unknown, an answer was wrong, or the server grew.
pub(crate) fn soak(options: &[&str]) -> Result {
    let (mut minutes, mut release) = ("2", false);
    let mut options = options.iter();
    while let Some(&option) = options.next() {
        match option {
            "--release" => release = true,
            "--minutes" => {
                minutes = options.next().copied().unwrap_or_default();
                let number: u64 = minutes.parse().map_err(|_| "--minutes wants a number")?;
                if number == 0 {
                    return Err("--minutes wants at least 1".into());
                }
            }
            _ => return Err(format!("soak has no option {option}").into()),
        }
    }
    oracle::install()?;
    let mut soak = cargo()?;
    soak.args(["test", "--package", "gannet", "--test", "it"]);
    if release {
        soak.arg("--release");
    }
    soak.args(["--", "--nocapture", "--exact", SOAK]);
    run(soak.env("GANNET_SOAK_MINUTES", minutes))
}

/// Root may do everything, so what depends on permissions is only shown by somebody else: where the
/// tests run as root, those of the repository run as nobody, too.
fn repository_as_another_user() -> Result {
    if output(Command::new("id").arg("-u"))? != "0" {
        return Ok(()); // then all tests do
    }
    announce("tests of the repository, as another user");
    let place = root()?.join("target");
    let (program, args) = NOBODY.split_first().ok_or("nobody to be")?;
    let reaches = Command::new(program).args(args).args(["test", "-x"]).arg(&place).status()?;
    if !reaches.success() {
        announce(&format!("NOT RUN: other users may not enter {}", place.display()));
        return Ok(());
    }
    let host = output(Command::new("rustc").arg("--print=host-tuple"))?;
    let runner = format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_"));
    let mut tests = cargo()?;
    if tools::has_nextest() {
        // All of the workspace, so that nothing is built anew.
        tests.args(["nextest", "run", "--workspace", "--status-level", "fail"]);
        tests.args(["--final-status-level", "fail"]);
        tests.args(["--filterset", AS_NOBODY]);
    } else {
        tests.args(["test", "--package", "gannet-repo", "--lib", "--test", "crash", "--quiet"]);
    }
    run(tests.env(runner, NOBODY.join(" ")))
}

fn deny() -> Result {
    let mut deny = Command::new(tools::cargo_deny()?);
    deny.current_dir(root()?).args(["--all-features", "--log-level", "error", "check"]);
    run(deny.args(["--hide-inclusion-graph", "bans", "licenses", "sources"]))
}

/// All tests of the repository pass as another user. These show most of what depends on it in little
/// time: where permission is needed, disks that refuse and files of the work tree add nothing.
const AS_NOBODY: &str = "package(gannet-repo) and \
    (kind(lib) or binary(clock) or binary(crash) and not test(/a_file|create_|every_step/))";
/// Starts a program as a user who owns nothing and has no home.
const NOBODY: [&str; 6] =
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "HOME=/nonexistent"];
const SOAK: &str = "client::soak::mixed_load_stays_right_and_the_server_does_not_grow";
