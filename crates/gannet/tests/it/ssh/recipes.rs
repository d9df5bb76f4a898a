//! The commands of docs/ssh.md, executed as written.
//!
//! Only the directories are others than there, and `example.com` is this machine.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use rustix::process::geteuid;

use super::sshd::{Account, Login, Sshd, make_key};
use super::talk::Talk;
use crate::client::objects_in;
use crate::faults::secluded::secluded;
use crate::harness::server::GANNET;
use crate::harness::world::finish;
use crate::harness::{Finished, Repo, World};

#[test]
fn an_account_with_a_shell_serves_annexes() {
    let host = Host::new();
    let [link, init, client, ..] = host.commands();
    fs::create_dir(host.repositories()).expect("make a directory for repositories");
    host.run(&link);
    host.run(&init);
    let sshd = Sshd::start_with(&host.world, &host.account(Some(host.world.join("home"))));
    host.log_in(&sshd.admit(&host.world, ""));
    host.run(&client.replace("annex@", ""));
    host.expect_note();
    Repo::open(&host.world, &host.repository()).fsck(&host.world);
}

#[test]
fn an_account_for_annexes_serves_nothing_else() {
    if !geteuid().is_root() {
        return; // nobody else may make accounts, not even where nobody sees them
    }
    secluded("ssh::recipes::an_account_for_annexes_serves_nothing_else", || {
        let host = Host::new();
        host.keep_accounts_to_ourselves();
        let [link, _, client, account, keys] = host.commands();
        host.run(&link);
        host.run(&account);
        let key = host.here().join("keys/laptop");
        fs::create_dir(host.here().join("keys")).expect("make a directory for keys");
        make_key(&host.world, &key);
        host.run(&keys);
        let keys = Some(host.repositories().join(".ssh/authorized_keys"));
        let sshd =
            Sshd::start_with(&host.world, &Account { authorized_keys: keys, ..host.account(None) });
        let login = sshd.login(&host.world, &key);
        host.log_in(&login);
        host.run(&client);
        host.expect_note();
        for other in ["id", "sh", "", "gannet serve", "gannet shell"] {
            let said =
                finish(&mut login.command_at(&host.world, "annex@example.com", other), PATIENCE);
            assert!(said.code == Some(1) || said.code == Some(128), "{other}: {said}");
            assert!(said.stdout.is_empty(), "{other}: {said}");
        }
        // A login shell is what executes what a key is tied to.
        let reader = sshd.admit(&host.world, &host.options()[1]);
        let url = format!("ssh://annex@example.com{}", host.repository().display());
        let [fetched, pushed] = [&["ls-remote", &url][..], &["push", &url, "HEAD:refs/heads/new"]]
            .map(|args| host.git(&reader, args));
        assert!(fetched.success(), "{fetched}");
        assert!(pushed.err().contains("Action blocked by --readonly"), "{pushed}");
    });
}

#[test]
fn keys_are_good_for_what_they_are_said_to_be_good_for() {
    let host = Host::new();
    let [link, init, client, ..] = host.commands();
    fs::create_dir(host.repositories()).expect("make a directory for repositories");
    host.run(&link);
    host.run(&init);
    host.run(&init.replace("music", "other"));
    let sshd = Sshd::start_with(&host.world, &host.account(Some(host.world.join("home"))));
    host.log_in(&sshd.admit(&host.world, ""));
    host.run(&client.replace("annex@", ""));
    let rights = ["prfwde", "fe", "pfwe", "pre", "prfwd", "f"];
    let options = host.options();
    assert_eq!(options.len(), rights.len());
    for (options, rights) in options.iter().zip(rights) {
        let login = sshd.admit(&host.world, options);
        assert_eq!(rights_of(&host, &login), rights, "{options}");
    }
    host.world.git(host.repository(), &["fsck", "--strict", "--no-dangling"]);
}

/// Tries everything: to put, remove, fetch, write by a push, delete by a push, and go elsewhere.
fn rights_of(host: &Host, login: &Login) -> String {
    let repo = Repo::open(&host.world, &host.repository());
    let note = host.world.annex(host.laptop(), &["lookupkey", "note.txt"]).trim().to_owned();
    let mut talk = Talk::through(login, &host.world, &repo);
    let may = |talk: &mut Talk, ask: &str, yes: &str, refusal: &str| {
        talk.say(&format!("{ask}\n"));
        let said = talk.hear();
        assert!(said.starts_with(yes) || said.starts_with(refusal), "{ask}: {said}");
        said.starts_with(yes)
    };
    let mut rights = String::new();
    let mut add = |right: char, has: bool| rights.extend(has.then_some(right));
    // Whoever comes in may read, and lock.
    talk.ask(&format!("CHECKPRESENT {note}"), "SUCCESS");
    talk.ask(&format!("LOCKCONTENT {note}"), "SUCCESS");
    talk.say("UNLOCKCONTENT\n");
    talk.ask(&format!("GET 0 note.txt {note}"), "DATA ");
    talk.wait_for("VALID");
    talk.say("SUCCESS\n");
    let put =
        may(&mut talk, "PUT  WORM-s3--new", "PUT-FROM 0", "ERROR this repository is read-only");
    if put {
        talk.say("DATA 3\nnewVALID\n");
        talk.expect("SUCCESS");
    }
    add('p', put);
    let key = if put { "WORM-s3--new" } else { &note };
    add('r', may(&mut talk, &format!("REMOVE {key}"), "SUCCESS", "ERROR this repository is "));
    assert_eq!(talk.end(), Some(0));
    host.put_away("WORM-s3--new");

    let url = login.url(&host.repository());
    let git = |args: &[&str]| host.git(login, args).success();
    let fetches = git(&["ls-remote", &url]);
    assert_eq!(git(&["archive", "-o", "/dev/null", "--remote", &url, "git-annex"]), fetches);
    add('f', fetches);
    let writes = git(&["push", &url, "HEAD:refs/heads/new"]);
    add('w', writes);
    add('d', git(&["push", &url, ":refs/heads/new"]) && writes);
    let other = host.repositories().join("other.git");
    let asked = format!("git-annex-shell configlist {}", other.display());
    let elsewhere = finish(&mut login.command(&host.world, &asked), PATIENCE);
    assert_eq!(git(&["ls-remote", &login.url(&other)]), elsewhere.success() && fetches);
    add('e', elsewhere.success());
    rights
}

/// A host on which Gannet is installed, and a directory on another machine.
struct Host {
    world: World,
}

impl Host {
    fn new() -> Self {
        let world = World::new();
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(world.path(), open).expect("open the world");
        for dir in ["here", "programs"] {
            fs::create_dir(world.join(dir)).expect("make a directory");
        }
        let installed = world.join("programs/gannet");
        // Where it cannot be a link, it is a copy.
        if fs::hard_link(GANNET, &installed).is_err() {
            fs::copy(GANNET, &installed).expect("install Gannet");
        }
        Self { world }
    }

    fn here(&self) -> PathBuf {
        self.world.join("here")
    }

    fn laptop(&self) -> PathBuf {
        self.here().join("music")
    }

    fn repositories(&self) -> PathBuf {
        self.world.join("srv")
    }

    fn repository(&self) -> PathBuf {
        self.repositories().join("music.git")
    }

    fn account(&self, home: Option<PathBuf>) -> Account {
        let programs = text(&self.world.join("programs")).to_owned();
        Account { programs, home, authorized_keys: None }
    }

    /// The document, with this world's directories.
    fn document(&self) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ssh.md");
        let text_of_it = fs::read_to_string(path).expect("read docs/ssh.md");
        let programs = text_of_it.replace("/usr/local/bin", text(&self.world.join("programs")));
        programs.replace("/srv/annex", text(&self.repositories()))
    }

    /// Its commands: to install, to create, to use; to make an account, and to let keys in.
    fn commands(&self) -> [String; 5] {
        let document = self.document();
        let blocks = document.split("```sh\n").skip(1);
        let blocks = blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned());
        blocks.collect::<Vec<_>>().try_into().expect("five blocks of commands")
    }

    /// What it has before keys.
    fn options(&self) -> Vec<String> {
        let document = self.document();
        let lines = document.lines().filter_map(|line| line.split_once(" ssh-ed25519 AAAA"));
        lines.map(|(options, _)| options.to_owned()).collect()
    }

    /// From now on, ssh comes with this key.
    fn log_in(&self, login: &Login) {
        symlink(&login.ssh, self.world.join("bin/ssh")).expect("link to ssh");
    }

    /// Runs commands, on the host or on the other machine.
    #[track_caller]
    fn run(&self, script: &str) {
        let mut shell = self.world.command(self.here(), "sh");
        let path = shell.get_envs().find_map(|(name, value)| (name == "PATH").then_some(value));
        let path = path.flatten().expect("a path").to_str().expect("a path of ASCII").to_owned();
        let path = format!("{}:{path}:/usr/sbin", text(&self.world.join("programs")));
        shell.args(["-e", "-c", script]).env("PATH", path);
        finish(&mut shell, PATIENCE).expect_ok();
    }

    fn git(&self, login: &Login, args: &[&str]) -> Finished {
        let setting = login.git_setting();
        let mut git: Command = self.world.command(self.laptop(), "git");
        finish(git.args(["-c", &setting]).args(args), PATIENCE)
    }

    /// The note has come back, and is on the host, too.
    #[track_caller]
    fn expect_note(&self) {
        let note = fs::read_to_string(self.laptop().join("note.txt")).expect("the note");
        assert!(note.contains("UTC"), "not a date: {note}");
        let objects = objects_in(&self.repository().join("annex/objects"));
        assert_eq!(objects.len(), 1, "it was not sent");
    }

    /// Removes a key as whoever keeps the repository.
    fn put_away(&self, key: &str) {
        let repo = Repo::open(&self.world, &self.repository());
        if repo.state(key).present {
            repo.drop_content(&self.world, key);
        }
    }

    /// Lets changes of accounts be seen by nobody but this process and what it starts.
    fn keep_accounts_to_ourselves(&self) {
        let copy = self.world.join("etc");
        self.world.ok("/", &["cp", "-a", "/etc", text(&copy)]);
        let nothing = None::<&str>;
        mount(Some(&copy), "/etc", nothing, MsFlags::MS_BIND, nothing).expect("replace /etc");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

const PATIENCE: Duration = Duration::from_secs(60);
