//! The commands of README.md, executed as written.
//!
//! Two things stand in for what a test cannot have: `cargo` is a program that hands the arguments
//! after `--` to the Gannet that is already built, and the port is one that is free, not the fixed
//! one of the README.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::clone;
use super::relay::Relay;
use super::scene::{expect_clean, objects_in, text};
use crate::harness::world::finish;
use crate::harness::{Gannet, Repo, World};

#[test]
fn the_commands_of_the_readme_work_as_written() {
    let [serve, test, client, _] = commands();
    assert_eq!(test, "cargo xtask test", "this test is run by it");
    assert_eq!(client.lines().count(), 5, "five lines are promised");
    let world = World::new();
    let here = world.join("here");
    fs::create_dir(&here).expect("make a directory");

    stand_in_for_cargo(&world);
    let server = Gannet::start(&world, shell(&world, &here, &format!("exec {serve}")));
    let relay = Relay::start(server.address());
    let fixed = "127.0.0.1:9417";
    assert!(client.contains(fixed), "the client does not go where the server is by default");
    let client = client.replace(fixed, &relay.address().to_string());
    let done = finish(&mut shell(&world, &here, &client), PATIENCE);
    assert!(done.success(), "{done}");

    let note = fs::read_to_string(here.join("work/note.txt")).expect("the note that came back");
    assert!(note.contains("UTC"), "not a date: {note}");
    let travelled = relay.take();
    for part in ["/put?", "/keeplocked?", "/key/"] {
        assert_eq!(travelled.count(part), 1, "not by HTTP: {travelled:?}");
    }
    assert_eq!(objects_in(&here.join("annex/annex/objects")).len(), 1, "it was not copied");
    expect_clean(&world, &here.join("annex"));
    assert!(server.stop().success(), "it did not end properly");
}

#[test]
fn a_cluster_is_set_up_by_the_commands_of_the_readme() {
    let [_, _, _, set_up] = commands();
    let world = World::new();
    let here = world.join("here");
    fs::create_dir(&here).expect("make a directory");
    stand_in_for_cargo(&world);
    let done = finish(&mut shell(&world, &here, &set_up), PATIENCE);
    assert!(done.success(), "{done}");
    let said = done.out();
    assert_eq!(said.matches(": reached").count(), 2, "{said}");
    assert!(!said.contains('!'), "something is wrong: {said}");

    let gateway = Repo::open(&world, &here.join("gateway"));
    let server = Gannet::serve(&world, &["--wideopen", gateway.arg()]);
    let client = clone(&world, gateway.path(), &server.annex_url(), gateway.uuid());
    fs::write(client.join("file"), b"some content").expect("write a file");
    world.annex(&client, &["add", "--quiet", "file"]);
    world.annex(&client, &["move", "--quiet", "--to", "origin-mycluster", "file"]);
    for node in ["near", "other"] {
        assert_eq!(objects_in(&here.join(node).join("annex/objects")).len(), 1, "{node}");
    }
    assert!(server.stop().success(), "it did not end properly");
}

#[test]
fn the_port_of_the_readme_is_the_default() {
    let world = World::new();
    let help = Gannet::run(&world, world.path(), &["serve", "--help"]).expect_ok();
    let (_, port) = help.split_once("--port <PORT>").expect("an option for the port");
    let (port, _) = port.split_once("--socket").expect("the option after it");
    assert!(port.contains("[default: 9417]"), "{port}");
}

/// Returns the `sh` blocks of the README.
fn commands() -> [String; 4] {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).expect("read README.md");
    let blocks = readme.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap_or_default().trim());
    let blocks: Vec<String> = blocks.map(str::to_owned).collect();
    blocks
        .try_into()
        .expect("four blocks of commands: to serve, to test, to use, to set up a cluster")
}

/// Prepares a shell with nothing in git's configuration but who commits.
fn shell(world: &World, dir: &Path, script: &str) -> Command {
    let config = world.join("only-name");
    let name = "[user]\n\tname = Reader\n\temail = reader@gannet.invalid\n";
    fs::write(&config, name).expect("write the git configuration");
    let mut command = world.command(dir, "sh");
    let path = command.get_envs().find_map(|(name, value)| (name == "PATH").then_some(value));
    let path = path.flatten().expect("a path").to_str().expect("a path of ASCII").to_owned();
    let path = format!("{}:{path}", text(&world.join("stand-ins")));
    command.args(["-e", "-c", script]).env("PATH", path).env("GIT_CONFIG_GLOBAL", config);
    command
}

fn stand_in_for_cargo(world: &World) {
    let dir = world.join("stand-ins");
    fs::create_dir(&dir).expect("make a directory");
    let cargo = dir.join("cargo");
    let gannet = env!("CARGO_BIN_EXE_gannet");
    let script = format!(
        "#!/bin/sh\n\
         [ \"$1 $2 $3 $4 $5\" = 'run --release -p gannet --' ] || exit 101\n\
         shift 5\n\
         exec '{gannet}' \"$@\" --port 0\n"
    );
    fs::write(&cargo, script).expect("write the program in the place of cargo");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("make it a program");
    symlink(gannet, dir.join("gannet")).expect("link to the program");
}

const PATIENCE: Duration = Duration::from_secs(60);
