//! The real git-annex as the client, which speaks the newest version if it is let.

use std::fs;
use std::path::PathBuf;

use gannet_net::serve::p2p::Version;

use super::{Limited, Party, Row, text};
use crate::harness::repo::key_file;
use crate::harness::{ABSENT, Repo, SERVER, Seeded, World};

/// What the real client does with our server, in all versions of that.
pub(super) fn rows() -> Vec<Row> {
    let client = Client::new();
    let row = |server| Row {
        client: (Party::GitAnnex, Version::NEWEST),
        server: (Party::Gannet, server),
        outcomes: client.outcomes(server),
    };
    Version::ALL.into_iter().map(row).collect()
}

/// A repository with two remotes, to which something like ssh leads.
struct Client {
    world: World,
    path: PathBuf,
    /// Its remotes `served` and `second`.
    served: [Repo; 2],
}

impl Client {
    fn new() -> Self {
        let world = World::new();
        let served = [("served", SERVER), ("second", SECOND)];
        let served = served.map(|(name, uuid)| Repo::create(&world, name, uuid, true));
        let path = world.join("client");
        world.git(world.path(), &["init", "-q", text(&path)]);
        world.annex(&path, &["init", "--quiet", "client"]);
        world.git(&path, &["config", "annex.sshcaching", "false"]);
        let ssh = world.join("bin/ssh");
        fs::write(&ssh, SSH).expect("write the program in the place of ssh");
        world.ok(world.path(), &["chmod", "+x", text(&ssh)]);
        for repo in &served {
            let name = repo.path().file_name().and_then(|name| name.to_str()).unwrap();
            let url = format!("ssh://host.invalid{}", repo.arg());
            world.git(&path, &["remote", "add", name, &url]);
            world.git(&path, &["config", &format!("remote.{name}.annex-uuid"), repo.uuid()]);
        }
        Self { world, path, served }
    }

    /// How each of [`Row::THINGS`] went with servers of this version.
    fn outcomes(&self, server: Version) -> Vec<&'static str> {
        let shells = [(); 2].map(|()| Limited::new(&self.world, Party::Gannet, server));
        for (name, shell) in ["served", "second"].into_iter().zip(&shells) {
            let setting = format!("remote.{name}.annex-shell");
            self.world.git(&self.path, &["config", &setting, text(&shell.program)]);
        }
        let [shell, second] = &shells;
        let file = format!("file {}", server.number());
        let bytes = Seeded::new(server.number()).bytes(300_000);
        fs::write(self.path.join(&file), &bytes).expect("write a file");
        self.annex(&["add", "--quiet", &file]);
        let key = self.annex(&["lookupkey", &file]).trim().to_owned();
        let [served, other] = &self.served;

        let partial = served.annex_dir().join("tmp").join(key_file(&key));
        fs::create_dir_all(partial.parent().unwrap()).expect("make a directory");
        fs::write(partial, &bytes[..100_000]).expect("write partial content");
        self.annex(&["copy", "--quiet", "--to", "served", &file]);
        assert!(shell.heard("DATA 200000"), "it was not resumed");
        assert_eq!(fs::read(served.object(&key).expect("an object")).unwrap(), bytes);

        let present =
            |key| self.world.try_annex(&self.path, &["checkpresentkey", key, "served"]).code;
        assert_eq!((present(&key), present(ABSENT)), (Some(0), Some(1)));

        self.annex(&["drop", "--quiet", &file]);
        assert!(shell.heard(&format!("LOCKCONTENT {key}")) && shell.heard("UNLOCKCONTENT"));

        let partial = self.path.join(".git/annex/tmp").join(key_file(&key));
        fs::create_dir_all(partial.parent().unwrap()).expect("make a directory");
        fs::write(partial, &bytes[..123_456]).expect("write partial content");
        self.annex(&["get", "--quiet", &file]);
        assert!(shell.heard("GET 123456 "), "it was not resumed");
        assert_eq!(fs::read(self.path.join(&file)).expect("the content"), bytes);

        // The other remote alone has a copy then, and keeps it.
        self.annex(&["copy", "--quiet", "--to", "second", &file]);
        self.annex(&["drop", "--quiet", &file]);
        self.annex(&["drop", "--quiet", "--from", "served", &file]);
        assert!(second.heard(&format!("LOCKCONTENT {key}")));
        assert!(served.object(&key).is_none() && other.object(&key).is_some());
        let before = match (shell.heard("REMOVE-BEFORE "), shell.heard(&format!("REMOVE {key}"))) {
            (true, false) => "yes",
            (false, true) => "REMOVE",
            both => panic!("{both:?}"),
        };
        assert_eq!(shell.heard("VALID"), server.tells_validity());
        vec!["yes", "yes", "yes", "yes", before, "-", "-", "-"]
    }

    fn annex(&self, args: &[&str]) -> String {
        self.world.annex(&self.path, args)
    }
}

const SECOND: &str = "5e5e5e5e-0000-4000-8000-000000000009";
const SSH: &str = "\
#!/bin/sh
for command; do :; done # the last argument
exec sh -c \"$command\"
";
