//! Remotes of ours behind a real sshd, when not all goes well.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gannet::remotes::Reach;
use gannet_core::{Annex, Asker, AssociatedFile, Content, Error, Key, Mode, Span, Verdict};
use gannet_net::remote::line::LineLimits;
use gannet_testkit::Sample;

use crate::harness::World;
use crate::places::{by_ssh, opened, quick_repository, uuid};
use crate::ssh::Which;
use crate::ssh::endings::servers;
use crate::ssh::sshd::{Login, Sshd};

mod cancelled;
mod cuts;
mod mishaps;
mod spawned;

/// A repository behind a real sshd.
struct Scene {
    login: Login,
    sshd: Sshd,
    path: PathBuf,
    world: World,
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    /// The same, for those whom a key with these options lets in.
    fn with(options: &str) -> Self {
        let world = World::new();
        let path = quick_repository(&world);
        let sshd = Sshd::start(&world, Which::Gannet);
        let login = sshd.admit(&world, options);
        Self { login, sshd, path, world }
    }

    /// The repository, reached in the usual way.
    async fn remote(&self) -> Arc<dyn Annex> {
        self.remote_by(&by_ssh(&self.login)).await
    }

    /// The same for somebody who waits so many seconds at most, once he is connected.
    async fn impatient_remote(&self, seconds: u64) -> Arc<dyn Annex> {
        let limit = Duration::from_secs(seconds);
        let line = LineLimits { reply: limit, idle: limit, ..LineLimits::default() };
        self.remote_by(&Reach { line, ..by_ssh(&self.login) }).await
    }

    async fn remote_by(&self, reach: &Reach) -> Arc<dyn Annex> {
        opened(reach, &self.login.url(&self.path)).await
    }

    /// How many logins there were.
    fn logins(&self) -> usize {
        self.sshd.log().matches("Accepted publickey").count()
    }

    /// Waits until no client and no server is left of what was begun.
    async fn expect_quiet(&self) {
        eventually("everybody has gone", async || {
            let (clients, servers) = (children("ssh"), servers(&self.path));
            match clients.is_empty() && servers.is_empty() {
                true => Ok(()),
                false => Err(format!("{clients:?} {servers:?}")),
            }
        })
        .await;
    }
}

/// The children of this process, the dead too, that have this name.
fn children(name: &str) -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").expect("list threads");
    let of_task = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).ok();
    let all: Vec<String> = tasks.flatten().filter_map(of_task).collect();
    let numbers = all.iter().flat_map(|line| line.split_whitespace());
    let named = |id: &u32| {
        let found = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        found.trim_end() == name
    };
    numbers.filter_map(|number| number.parse().ok()).filter(named).collect()
}

fn asker() -> Asker {
    Asker { client: Some(uuid(crate::harness::CLIENT)), bypass: vec![], mode: Mode::FULL }
}

fn file() -> AssociatedFile {
    AssociatedFile(Bytes::from_static(b"a file"))
}

async fn put(remote: &dyn Annex, sample: &Sample) {
    remote.put(&asker(), &sample.key, &file(), sample.content(0)).await.expect("a put");
}

async fn open(remote: &dyn Annex, key: &Key) -> Content {
    remote.get(&asker(), key, &file(), Span::ALL).await.expect("content")
}

/// Reads it to its end.
async fn read(content: Content) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let verdict = content.pour(|piece| {
        bytes.extend_from_slice(&piece);
        Ok(())
    });
    assert_eq!(verdict.await?, Verdict::Valid);
    Ok(bytes)
}

/// What the remote complains of when it is asked something.
async fn complaint(remote: &dyn Annex) -> String {
    let key = Sample::secure(250, 10).key;
    remote.check_present(&asker(), &key).await.expect_err("no answer").to_string()
}

pub(crate) async fn eventually<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let mut complaint = String::new();
    for _ in 0..3000 {
        match ask().await {
            Ok(answer) => return answer,
            Err(why) => complaint = why,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain: {what}: {complaint}");
}
