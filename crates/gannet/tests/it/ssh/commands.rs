//! What git-annex-shell was recorded to do with its arguments is done again, by both.

use std::fs;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use serde_json::Value;

use super::{Which, programs};
use crate::harness::server::GANNET;
use crate::harness::world::finish;
use crate::harness::{Finished, Repo, SERVER, World};

#[test]
fn gannet_does_what_was_recorded() {
    replay(Which::Gannet, &DEVIATIONS);
}

#[test]
fn the_reference_still_does_what_was_recorded() {
    replay(Which::Reference, &[]);
}

#[test]
fn options_limit_a_key_as_the_environment_does_and_pushes_too() {
    let world = repositories();
    let (srv, bare) = (path(&world, "/repos/srv"), path(&world, "/repos/bare"));
    let (read, write) = (format!("git-upload-pack '{srv}'"), format!("git-receive-pack '{srv}'"));
    let other = format!("git-upload-pack '{bare}'");
    let roundabout = format!("git-upload-pack '{bare}/../srv'");
    // As git-shell reads them, these are pushes, and one of them to a directory that is not there.
    let (tab, line_feed) = (write.replacen('-', "\t", 1), write.replacen('-', "\n", 1));
    let two_words = format!(r"git-upload-pack '{bare}'\'' {srv}'");
    let quoted = format!("git-upload-pack '{}'", path(&world, r"/repos/sp ace/r'\''q"));
    let strange = path(&world, "/repos/sp ace/r'q");
    let drop = format!("git-annex-shell 'dropkey' '{srv}' '--force' 'X--a'");
    let list = format!("git-annex-shell 'configlist' '{bare}' '--' 'autoinit=1' '--'");
    let no_other = Some("only fetching and pushing is allowed here");
    let cases: [(&[&str], &str, Option<&str>); 20] = [
        (&["--readonly"], &read, None),
        (&["--readonly"], &write, Some("Action blocked by --readonly")),
        (&["--readonly"], &drop, Some("Action blocked by --readonly")),
        (&["--readonly"], &list, Some("Action blocked by --readonly")),
        (&["--appendonly"], &write, None),
        (&["--appendonly"], &drop, Some("Action blocked by --appendonly")),
        (&["--limited"], &read, Some("Action blocked by --limited")),
        (&["--directory", &srv], &read, None),
        (&["--directory", &srv], &other, Some("Only allowed to access")),
        (&["--directory", &srv], &roundabout, None),
        (&["--readonly"], &tab, Some("Action blocked by --readonly")),
        (&["--readonly"], &line_feed, Some("Action blocked by --readonly")),
        (&["--readonly"], "cvs server", no_other),
        (&["--appendonly"], "cvs server", no_other),
        (&["--readonly"], &quoted, None),
        (&["--directory", &strange], &quoted, None),
        (&["--directory", &srv], &two_words, Some("Only allowed to access")),
        (&["--directory", &srv], "git-receive-pack", no_other),
        (&[], &drop, None),
        (&[], "", Some("bad parameters")),
    ];
    let gannet = programs(&world, Which::Gannet);
    for (options, asked, refusal) in cases {
        for way in ["by hand", "tied to a key", "tied to a key, as login shell"] {
            let mut command = world.command(world.path(), gannet.join("gannet"));
            command.stdin(no_wish(&world));
            match way {
                "by hand" if asked.is_empty() => command.arg("shell").args(options),
                "by hand" => command.arg("shell").args(options).args(["-c", asked]),
                "tied to a key" => command.arg("shell").args(options),
                _ => {
                    command = world.command(world.path(), gannet.join("git-annex-shell"));
                    let options: String =
                        options.iter().map(|word| format!(" \"{word}\"")).collect();
                    let line = format!("/some/where/gannet  shell{options}");
                    command.args(["-c", &line]).stdin(no_wish(&world))
                }
            };
            if way != "by hand" && !asked.is_empty() {
                command.env("SSH_ORIGINAL_COMMAND", asked);
            }
            let said = finish(&mut command, PATIENCE);
            match refusal {
                None => assert!(said.success(), "{way}: {options:?} {asked}: {said}"),
                Some(text) => {
                    assert_eq!(said.code, Some(1), "{way}: {options:?} {asked}: {said}");
                    assert!(said.stdout.is_empty() && said.err().contains(text), "{said}");
                }
            }
        }
    }
}

#[test]
fn what_was_not_recorded_is_done_as_the_reference_does_it() {
    let world = repositories();
    let (srv, other) = (path(&world, "/repos/srv"), "c1c1c1c1-0000-4000-8000-000000000002");
    let annex = |words: &str| format!("git-annex-shell {words}").replace("SRV", &srv);
    let mut lines: Vec<String> = [
        // What older versions had, and this one leaves to git-shell.
        "'lockcontent' 'SRV' 'X--a'",
        "'transferinfo' 'SRV' 'X--a'",
        "'inannex' 'SRV'",
        "'dropkey' 'SRV' --force",
        "'sendkey' 'SRV'",
        "'recvkey' 'SRV'",
        "'sendkey' 'SRV' bad",
        "'recvkey' 'SRV' bad",
        "'configlist' 'SRV' extra",
        "'configlist'  'SRV'",
        "'notifychanges' 'SRV' extra",
        "'p2pstdio' 'SRV' client extra",
        "'gcryptsetup' 'SRV' id",
        "'inannex' 'SRV' -q -v -d --no-debug --fast --force 'X--a'",
        "'inannex' 'SRV' --backend=x 'X--a'",
        "'inannex' --quiet 'SRV' 'X--a'",
        "",
    ]
    .map(annex)
    .into();
    for command in
        ["configlist", "inannex", "dropkey", "sendkey", "recvkey", "notifychanges", "gcryptsetup"]
    {
        lines.push(annex(&format!("'{command}' 'SRV' --uuid {other} X--a")));
    }
    for command in ["git-upload-archive", "git upload-archive", "git upload-pack", "git archive"] {
        lines.push(format!("{command} '{srv}'"));
    }
    lines.extend(["git-annex-shell", "", "ls", "git-receive-pack '/nowhere'"].map(str::to_owned));
    for line in lines {
        for arguments in [&["-c", &line][..], &["-c", "-c", &line]] {
            let [ours, theirs] = [Which::Gannet, Which::Reference].map(|which| {
                let shell = programs(&world, which).join("git-annex-shell");
                let mut command = world.command(world.path(), shell);
                finish(command.args(arguments).stdin(no_wish(&world)), PATIENCE)
            });
            assert_eq!(ours.code, theirs.code, "{ours}\n{theirs}");
            // What git says of how an archive is made comes in pieces of any size.
            let begin = |said: &Finished| said.stdout[..said.stdout.len().min(8)].to_vec();
            assert_eq!(begin(&ours), begin(&theirs), "{ours}\n{theirs}");
        }
    }
}

#[test]
fn who_only_reads_has_nothing_initialised() {
    let world = repositories();
    let srv = path(&world, "/repos/srv");
    world.git(&srv, &["push", "-q", &path(&world, "/repos/bare"), "git-annex"]);
    for repository in ["bare", "plain", "srv"] {
        let line = path(&world, &format!("git-annex-shell 'configlist' '/repos/{repository}'"));
        let [ours, theirs] = [Which::Gannet, Which::Reference].map(|which| {
            let shell = programs(&world, which).join("git-annex-shell");
            let mut command = world.command(world.path(), shell);
            command.args(["-c", &line]).env("GIT_ANNEX_SHELL_READONLY", "1");
            finish(&mut command, PATIENCE)
        });
        assert_eq!((ours.code, &ours.stdout), (theirs.code, &theirs.stdout), "{ours}\n{theirs}");
    }
}

#[test]
fn it_is_known_by_its_name_however_it_comes_by_it() {
    let world = repositories();
    let line = path(&world, "git-annex-shell 'configlist' '/repos/srv'");
    let dir = world.join("names");
    fs::create_dir(&dir).expect("make a directory");
    let name = dir.join("git-annex-shell");
    if fs::hard_link(GANNET, &name).is_err() {
        fs::copy(GANNET, &name).expect("copy Gannet"); // it is on another disk
    }
    // A login shell has a dash before its name.
    for called in [name.as_os_str(), "git-annex-shell".as_ref(), "-git-annex-shell".as_ref()] {
        let mut command = world.command(world.path(), &name);
        let said = finish(command.arg0(called).args(["-c", &line]), PATIENCE).expect_ok();
        assert!(said.starts_with(&format!("annex.uuid={SERVER}\n")), "{said}");
    }
}

/// Where Gannet does something else, on purpose: the name of a recording, and its exit code then.
type Deviation = (&'static str, i32);

/// A directory is the same however it is written (p2p-line §13, 15).
const DEVIATIONS: [Deviation; 2] =
    [("DIRECTORY=/repos/srv dir=~/../srv", 0), ("DIRECTORY=~/../srv dir=/repos/srv", 0)];

fn replay(which: Which, deviations: &[Deviation]) {
    let world = repositories();
    let recorded = include_str!("../../fixtures/shell-commands.json");
    let recorded: Vec<Value> = serde_json::from_str(recorded).expect("recordings");
    let mut replayed = 0;
    let mut wrong = Vec::new();
    for case in &recorded {
        let name = case["name"].as_str().expect("a name");
        if name.starts_with("notifychanges") {
            continue; // compared in `pushes`
        }
        replayed += 1;
        let said = run(&world, which, case);
        let deviation = deviations.iter().find(|(deviant, _)| *deviant == name);
        let agrees = compare(&world, which, case, &said);
        match (deviation, agrees) {
            (None, Ok(())) => {}
            (Some((_, code)), Err(_)) if said.code == Some(*code) => {}
            (Some(_), _) => wrong.push(format!("{name}: does not deviate as written: {said}")),
            (None, Err(complaint)) => wrong.push(format!("{name}: {complaint}: {said}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(replayed, recorded.len() - 2);
}

fn run(world: &World, which: Which, case: &Value) -> Finished {
    let argv = case["argv"].as_array().expect("arguments");
    let argv = argv.iter().map(|word| path(world, word.as_str().expect("an argument")));
    let env = case["env"].as_object().expect("an environment").iter();
    let env = env.map(|(name, value)| (name, path(world, value.as_str().expect("a value"))));
    let program = programs(world, which).join("git-annex-shell");
    let mut command = world.command(world.path(), program);
    finish(command.args(argv.skip(1)).envs(env).stdin(no_wish(world)), PATIENCE)
}

/// What tells git's services that nothing is wanted, and is no message of the line protocol.
fn no_wish(world: &World) -> fs::File {
    let path = world.fresh("stdin");
    fs::write(&path, "0000").expect("write what will be read");
    fs::File::open(path).expect("open what will be read")
}

fn compare(world: &World, which: Which, case: &Value, said: &Finished) -> Result<(), String> {
    let text = |field: &str| path(world, case[field].as_str().expect("a text"));
    let (stdout, complaint) = (text("stdout"), text("stderr_first_line"));
    if said.code.map(i64::from) != case["exit"].as_i64() {
        return Err(format!("exit code instead of {}", case["exit"]));
    }
    let is_git = stdout.contains("(git pkt-lines)");
    let git_answered =
        said.stdout.iter().take(4).all(u8::is_ascii_hexdigit) && !said.stdout.is_empty();
    match is_git {
        true if git_answered => {}
        false if without_uuids(&said.out()) == without_uuids(&stdout) => {}
        _ => return Err(format!("instead of {stdout}")),
    }
    if which == Which::Gannet && !complaint.is_empty() && said.code != Some(0) {
        let heard = said.err();
        let from_git = complaint.starts_with("fatal:");
        let in_one_line = heard.starts_with("git-annex-shell: ") && heard.lines().count() == 1;
        if !from_git && !in_one_line {
            return Err("it does not complain in one line of its own".to_owned());
        }
        let in_words = WORDS.iter().any(|words| complaint.starts_with(words));
        if in_words && !heard.contains(&complaint) {
            return Err(format!("it does not say: {complaint}"));
        }
    }
    Ok(())
}

/// Complaints that say the same in the same words.
const WORDS: [&str; 8] = [
    "Action blocked",
    "Only allowed",
    "expected repository UUID",
    "bad",
    "missing",
    "Invalid option",
    "dropkey can",
    "requested key",
];

/// The uuids of repositories that are initialised are new each time.
fn without_uuids(text: &str) -> String {
    let line = |line: &str| match line.split_once(['=', ' ']) {
        Some((name, uuid)) if uuid.len() == 36 && uuid != SERVER => format!("{name} a uuid\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The repositories of the recordings.
fn repositories() -> World {
    let world = World::new();
    let served = Repo::create(&world, "srv", SERVER, false);
    fs::write(served.path().join("a.txt"), "hello\n").expect("write a file");
    world.annex(served.path(), &["add", "--quiet", "."]);
    world.git(served.path(), &["commit", "-q", "-m", "a file"]);
    for (name, options) in
        [("plain", &[][..]), ("plain2", &[]), ("bare", &["--bare"]), ("bare2.git", &["--bare"])]
    {
        let path = world.join(name);
        let path = path.to_str().expect("a path of ASCII");
        world.git(world.path(), &[&["init", "-q"], options, &[path]].concat());
    }
    Repo::create(&world, "sp ace/r'q", "caa6be6b-d772-4b0d-8055-fab2e88ecfd5", false);
    world
}

/// Puts the directory of this world where the recordings have `/repos`.
fn path(world: &World, recorded: &str) -> String {
    recorded.replace("/repos", world.path().to_str().expect("a path of ASCII"))
}

const PATIENCE: Duration = Duration::from_secs(60);
