//! Clients of the gateway, through either of its doors.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use gannet_core::{
    Annex, Asker, AssociatedFile, Content, Error, Lock, Mode, Piece, Removal, Result, Span,
    Timestamp, Uuid, Verdict,
};
use gannet_net::remote::http::{
    AnnexUrl, HttpClient, HttpClientOptions, HttpRemote, Known, Patience,
};
use gannet_net::remote::line::{LineLimits, LineRemote};
use gannet_testkit::Sample;
use rustix::process::{Pid, Signal, kill_process};

use super::nodes::Scene;
use crate::harness::server::GANNET;
use crate::harness::{CLIENT, Server};
use crate::places::{program, uuid};
use crate::ssh::endings::servers;

/// A door of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Http,
    /// `gannet shell`, one process for each connection.
    Line,
}

/// Makes a remote of what has this uuid.
type Make = Box<dyn Fn(&str) -> Arc<dyn Annex> + Send + Sync>;

/// Somebody who asks for what is behind the gateway, by its uuid.
pub(super) struct Client {
    remotes: Mutex<HashMap<String, Arc<dyn Annex>>>,
    make: Make,
    pub(super) door: Door,
    gateway: std::path::PathBuf,
}

impl Client {
    pub(super) fn new(scene: &Scene, door: Door, server: &Server) -> Self {
        let make: Make = match door {
            Door::Http => {
                let url: AnnexUrl = server.annex_url().parse().expect("a url");
                let http = HttpClient::new(HttpClientOptions::default()).expect("HTTP");
                Box::new(move |place| {
                    let known = Arc::new(Known::default());
                    let patience = Patience { reply: SOON, idle: SOON };
                    Arc::new(HttpRemote::new(uuid(place), &url, &http, known, patience))
                })
            }
            Door::Line => {
                let gateway = scene.gateway.arg();
                let words = [GANNET, "shell", "p2pstdio", gateway, CLIENT, "--uuid"];
                let base = program(&scene.world, &words);
                Box::new(move |place| {
                    let mut program = base.clone();
                    program.arguments.push(place.into());
                    let limits = LineLimits { reply: SOON, idle: SOON, ..LineLimits::default() };
                    Arc::new(LineRemote::new(uuid(place), Arc::new(program), limits))
                })
            }
        };
        let gateway = scene.gateway.path().to_owned();
        Self { remotes: Mutex::default(), make, door, gateway }
    }

    fn at(&self, place: &str) -> Arc<dyn Annex> {
        let mut remotes = self.remotes.lock().expect("the remotes");
        Arc::clone(remotes.entry(place.to_owned()).or_insert_with(|| (self.make)(place)))
    }

    /// The gateways that serve this client alone.
    pub(super) fn gateways(&self) -> Vec<u32> {
        match self.door {
            Door::Http => Vec::new(),
            Door::Line => {
                let all = servers(&self.gateway).into_iter();
                let shells = all.filter(|(_, line)| line.contains(" p2pstdio "));
                shells.map(|(pid, _)| pid.as_raw_nonzero().get().cast_unsigned()).collect()
            }
        }
    }

    pub(super) async fn check(&self, place: &str, sample: &Sample) -> Result<bool> {
        self.at(place).check_present(&asker(), &sample.key).await
    }

    pub(super) async fn lock(&self, place: &str, sample: &Sample) -> Result<Option<Lock>> {
        self.at(place).lock(&asker(), &sample.key).await
    }

    pub(super) async fn remove(&self, place: &str, sample: &Sample) -> Result<Removal> {
        self.at(place).remove(&asker(), &sample.key).await
    }

    /// What the clock of whoever is asked shows.
    pub(super) async fn timestamp(&self, place: &str) -> Result<Timestamp> {
        self.at(place).timestamp(&asker()).await
    }

    pub(super) async fn remove_before(
        &self,
        place: &str,
        sample: &Sample,
        deadline: Timestamp,
    ) -> Result<Removal> {
        self.at(place).remove_before(&asker(), &sample.key, deadline).await
    }

    /// Removes it within a minute from now, by the clock of whoever is asked.
    pub(super) async fn remove_soon(&self, place: &str, sample: &Sample) -> Result<Removal> {
        let deadline = self.timestamp(place).await?.plus(60);
        self.remove_before(place, sample, deadline).await
    }

    pub(super) async fn put(&self, place: &str, sample: &Sample) -> Result<Vec<String>> {
        self.put_and(place, sample, usize::MAX, || {}).await
    }

    /// Puts it, and does something once so many bytes of it were sent. Returns who else has it.
    pub(super) async fn put_and(
        &self,
        place: &str,
        sample: &Sample,
        after: usize,
        act: impl Fn() + Send + Sync,
    ) -> Result<Vec<String>> {
        // What is under way cannot wait for what is to be done, so it is done beside it.
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let mut sent = 0;
        let content = sample.content(0);
        let pieces = content.pieces.then(move |piece| {
            let before = sent;
            if let Ok(Piece::Bytes(bytes)) = &piece {
                sent += bytes.len();
            }
            let acts = before < after && sent >= after;
            if acts {
                tell.send(()).ok();
            }
            async move {
                if acts {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                piece
            }
        });
        let content = Content { pieces: pieces.boxed(), ..content };
        let remote = self.at(place);
        let (asker, file) = (asker(), file());
        let put = remote.put(&asker, &sample.key, &file, content);
        tokio::pin!(put);
        let stored = loop {
            tokio::select! {
                biased;
                Some(()) = told.recv() => act(),
                stored = &mut put => break stored,
            }
        };
        Ok(names(&stored?.plus))
    }

    /// Gets it, and does something once the first bytes came.
    pub(super) async fn get_and(
        &self,
        place: &str,
        sample: &Sample,
        act: impl FnOnce(),
    ) -> Result<Vec<u8>> {
        let remote = self.at(place);
        let mut content = remote.get(&asker(), &sample.key, &file(), Span::ALL).await?;
        let mut got = Vec::new();
        if let Some(Piece::Bytes(bytes)) = content.pieces.next().await.transpose()? {
            got.extend_from_slice(&bytes);
        }
        act();
        let len = content.len - got.len() as u64;
        let rest = Content { len, ..content };
        let verdict = rest.pour(|bytes| {
            got.extend_from_slice(&bytes);
            Ok(())
        });
        match verdict.await? {
            Verdict::Valid => Ok(got),
            Verdict::Doubtful => Err(Error::Doubtful),
        }
    }

    /// Has the cluster store it, and all of its nodes have it.
    pub(super) async fn put_everywhere(&self, scene: &Scene, sample: &Sample) {
        let mut complaint = String::new();
        for _ in 0..PATIENCE {
            match self.put(&scene.cluster, sample).await {
                Ok(_) => {}
                Err(error) => complaint = error.to_string(),
            }
            let key = sample.key.to_string();
            if scene.nodes.iter().all(|node| node.has(&key, &sample.bytes)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not everybody has it: {complaint}");
    }

    /// Has the cluster remove it.
    pub(super) async fn remove_everywhere(&self, scene: &Scene, sample: &Sample) {
        let mut last = None;
        for _ in 0..PATIENCE {
            let removal = self.remove(&scene.cluster, sample).await;
            if removal.as_ref().is_ok_and(|removal| removal.removed) {
                let key = sample.key.to_string();
                let has = scene.nodes.iter().filter(|node| node.repo.object(&key).is_some());
                let has: Vec<_> = has.map(|node| node.name).collect();
                assert!(has.is_empty(), "removed, but not from {has:?}");
                return;
            }
            last = Some(removal);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it is not removed: {last:?}");
    }

    /// Hangs up, after which no gateway is left that served only this client.
    pub(super) async fn expect_end(&self) {
        self.remotes.lock().expect("the remotes").clear();
        for _ in 0..PATIENCE {
            if self.gateways().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?} are left", self.gateways());
    }
}

pub(super) fn names(uuids: &[Uuid]) -> Vec<String> {
    uuids.iter().map(|uuid| uuid.as_str().to_owned()).collect()
}

pub(super) fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process");
    // It may have ended already.
    kill_process(pid, Signal::KILL).ok();
}

pub(super) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

pub(super) fn children_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let all: Vec<String> = children.collect();
    let numbers = all.iter().flat_map(|line| line.split_whitespace());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

fn asker() -> Asker {
    Asker { client: Some(uuid(CLIENT)), ..Asker::with_mode(Mode::FULL) }
}

fn file() -> AssociatedFile {
    AssociatedFile(Bytes::from_static(b"a file"))
}

/// Longer than a node is slow here.
const SOON: Duration = Duration::from_secs(60);
/// Attempts, every twentieth of a second.
const PATIENCE: u32 = 600;
