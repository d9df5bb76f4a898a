//! Requests that nobody waits for any more leave nothing behind.

use std::fs;
use std::time::Duration;

use futures_util::StreamExt;
use gannet_core::{Annex, Key};
use gannet_testkit::Sample;

use super::{Scene, asker, children, file, open, put, read};
use crate::harness::{Seeded, usual_or_long};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_requests_leave_nothing() {
    let scene = Scene::new();
    let descriptors = pipes();
    let remote = scene.remote().await;
    let stored = Sample::secure(1, 3_000_000);
    put(&*remote, &stored).await;
    let (wanted, at_once) = (usual_or_long(32, 500), 6);
    let mut chance = Seeded::new(19);
    let points = (0..).map(|number| {
        // Now in the middle of logging in, now in the middle of a request.
        let longest = [5, 300, 3000][usize::try_from(chance.below(3)).unwrap()];
        let point = Duration::from_micros(chance.below(longest * 1000));
        (number, chance.below(6), point)
    });
    let requests = futures_util::stream::iter(points).map(|(number, verb, point)| {
        let (remote, stored) = (&*remote, &stored);
        async move {
            let request = request(remote, stored, number, verb);
            tokio::time::timeout(point, request).await.is_err()
        }
    });
    let mut requests = Box::pin(requests.buffer_unordered(at_once));
    let (mut cut, mut ended) = (0, 0);
    while cut < wanted {
        match requests.next().await.expect("there is always another") {
            true => cut += 1,
            false => ended += 1,
        }
        assert!(ended < 10 * wanted, "only {cut} requests were cut");
    }
    println!("{cut} requests were cancelled, {ended} ended, {} logins", scene.logins());
    assert!(ended > 0, "no request ever ended");
    // Those that are under way are cancelled, too.
    drop(requests);

    // The very next requests work, as many at once as there may be connections.
    let next = (0..8).map(|_| async { read(open(&*remote, &stored.key).await).await });
    for got in futures_util::future::join_all(next).await {
        assert!(got.expect("content") == stored.bytes);
    }
    assert!(children("ssh").len() <= 8, "{:?}", children("ssh"));
    drop(remote);
    scene.expect_quiet().await;
    super::eventually("no descriptor is left", async || match pipes() {
        left if left <= descriptors => Ok(()),
        left => Err(format!("{left} instead of {descriptors}")),
    })
    .await;
}

/// Any request; whether it succeeds is not the question here.
async fn request(remote: &dyn Annex, stored: &Sample, number: usize, verb: u64) {
    let (asker, file) = (asker(), file());
    let other = Sample::secure(u8::try_from(number % 200).unwrap() + 2, 400_000);
    let key: &Key = &stored.key;
    match verb {
        0 => drop(remote.check_present(&asker, key).await),
        1 => drop(read(open_if_possible(remote, key).await).await),
        2 => drop(remote.put(&asker, &other.key, &file, other.content(0)).await),
        3 => drop(remote.put_offset(&asker, &other.key, &file).await),
        4 => drop(remote.remove(&asker, &other.key).await),
        _ => {
            if let Ok(Some(lock)) = remote.lock(&asker, key).await {
                drop(lock.release().await);
            }
        }
    }
}

async fn open_if_possible(remote: &dyn Annex, key: &Key) -> gannet_core::Content {
    let span = gannet_core::Span::ALL;
    match remote.get(&asker(), key, &file(), span).await {
        Ok(content) => content,
        Err(_) => gannet_core::Content::whole(bytes::Bytes::new()),
    }
}

/// How many descriptors of this process are ends of pipes, or of processes.
fn pipes() -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").expect("list descriptors");
    let target = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
    let is_pipe = |target: &std::path::PathBuf| {
        let name = target.to_string_lossy();
        name.starts_with("pipe:") || name.contains("pidfd")
    };
    descriptors.flatten().filter_map(target).filter(is_pipe).count()
}
