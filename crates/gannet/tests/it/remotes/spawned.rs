//! What is really started to reach a remote, as people configure it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gannet::remotes::Reach;
use gannet_net::remote::ssh::SshOptions;
use gannet_testkit::Sample;

use super::{Scene, children, open, put, read};
use crate::harness::{CLIENT, SERVER, World};
use crate::places::{reach, text};

#[tokio::test]
async fn settings_of_git_and_git_annex_are_followed() {
    let scene = Scene::new();
    let ssh = Recorder::new(&scene.world, &format!("exec '{}' \"$@\"", text(&scene.login.ssh)));
    let other = Recorder::new(&scene.world, &format!("exec '{}' \"$@\"", text(&scene.login.ssh)));
    let (ssh_path, other_path) = (text(&ssh.program), text(&other.program));
    let with_option = format!("{ssh_path} -o Compression=no");
    let shell = Recorder::new(&scene.world, "exec git-annex-shell \"$@\"");
    let port = scene.login.url(Path::new("")).rsplit(':').next().unwrap().to_owned();
    let command = |shell: &str| {
        let path = text(&scene.path);
        format!("{shell} 'p2pstdio' '{path}' '{CLIENT}' --uuid {SERVER}")
    };
    let usual = command("git-annex-shell");
    // Each: variables, settings, which ssh is started, and with what.
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Pairs<'_>, Pairs<'_>, &Recorder, &[&str], &str); 5] = [
        (&[("GIT_SSH", ssh_path)], &[], &ssh, &[], &usual),
        (
            &[("GIT_SSH", other_path)],
            &[("core.sshCommand", &with_option)],
            &ssh,
            &["-o", "Compression=no"],
            &usual,
        ),
        (
            &[("GIT_SSH_COMMAND", &with_option)],
            &[("core.sshCommand", other_path)],
            &ssh,
            &["-o", "Compression=no"],
            &usual,
        ),
        (
            &[("GIT_SSH", ssh_path)],
            &[("annex.ssh-options", "-v"), ("remote.r.annex-ssh-options", "-o LogLevel=QUIET")],
            &ssh,
            &["-o", "LogLevel=QUIET"],
            &usual,
        ),
        (
            &[("GIT_SSH", ssh_path)],
            &[("remote.r.annex-shell", text(&shell.program))],
            &ssh,
            &[],
            &command(text(&shell.program)),
        ),
    ];
    let sample = Sample::secure(1, 1000);
    put(&*scene.remote().await, &sample).await;
    for (variables, settings, started, options, command) in cases {
        let find = |all: Pairs<'_>, name: &str| -> Option<OsString> {
            all.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).into())
        };
        let ssh =
            SshOptions::of_remote("r", |name| find(variables, name), |name| find(settings, name));
        let remote = scene.remote_by(&Reach { ssh, ..reach() }).await;
        assert!(read(open(&*remote, &sample.key).await).await.expect("content") == sample.bytes);
        let (before, rest): (Vec<&str>, _) = match options {
            ["-o", "Compression=no"] => (options.to_vec(), vec![]),
            options => (vec![], options.to_vec()),
        };
        let fixed = ["127.0.0.1", "-o", "BatchMode=yes"];
        let last = ["-p", &port, "-T", command];
        let expected = [&before[..], &fixed, &rest, &last].concat();
        assert_eq!(started.take(), [expected], "{variables:?} {settings:?}");
        assert!(other.take().is_empty());
    }
    let told = ["p2pstdio", text(&scene.path), CLIENT, "--uuid", SERVER];
    assert_eq!(shell.take(), [told]);
    scene.expect_quiet().await;
}

/// One login for all connections, if ssh is configured so; and they do not break each other.
#[tokio::test]
async fn connections_are_shared_as_users_configure_it() {
    let scene = Scene::new();
    let socket = scene.world.fresh("control");
    let settings = format!("ControlMaster auto\nControlPersist 2\nControlPath {}\n", text(&socket));
    let config = fs::read_to_string(&scene.login.config).expect("the configuration of ssh");
    // What comes first counts.
    fs::write(&scene.login.config, format!("{settings}{config}")).expect("write it");
    let sample = Sample::secure(1, 3_000_000);
    {
        let remote = scene.remote().await;
        put(&*remote, &sample).await;
        // More connections at once; of some only the beginning is wanted.
        let begun = futures_util::future::join_all((0..4).map(|_| open(&*remote, &sample.key)));
        let mut begun = begun.await;
        drop(begun.split_off(2));
        for content in begun {
            assert!(read(content).await.expect("content") == sample.bytes);
        }
        assert!(socket.exists(), "nothing is shared");
        assert_eq!(scene.logins(), 1);
    }
    // One of another remote comes in by the same login.
    let remote = scene.remote().await;
    assert!(read(open(&*remote, &sample.key).await).await.expect("content") == sample.bytes);
    assert_eq!(scene.logins(), 1);
    drop(remote);
    // The master is nobody's child, and ends when it is not needed any more.
    scene.expect_quiet().await;
    assert!(children("ssh").is_empty());
    super::eventually("the master ends", async || match socket.exists() {
        true => Err("it is there".to_owned()),
        false => Ok(()),
    })
    .await;
}

/// A program that writes down how it was started, and then does something.
struct Recorder {
    program: PathBuf,
    notes: PathBuf,
}

impl Recorder {
    fn new(world: &World, then: &str) -> Self {
        let (program, notes) = (world.fresh("recorder"), world.fresh("notes"));
        let script = format!(
            "#!/bin/sh\nfor word; do printf '%s\\n' \"$word\" >> '{0}'; done\n\
             echo >> '{0}'\n{then}\n",
            text(&notes)
        );
        fs::write(&program, script).expect("write a program");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&program, open).expect("make it a program");
        Self { program, notes }
    }

    /// The arguments of each start since this was asked last.
    fn take(&self) -> Vec<Vec<String>> {
        let notes = fs::read_to_string(&self.notes).unwrap_or_default();
        drop(fs::remove_file(&self.notes));
        let starts = notes.split("\n\n").filter(|start| !start.is_empty());
        starts.map(|start| start.lines().map(str::to_owned).collect()).collect()
    }
}
