//! Networks that break after so many bytes, in either direction, whatever ssh makes of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use gannet_core::{Annex, PutOffset, Span, Verdict};
use gannet_testkit::Sample;

use super::{Scene, asker, eventually, file, open, put, read};
use crate::harness::usual_or_long;
use crate::places::{by_ssh, opened, text};

#[tokio::test]
async fn a_network_may_break_after_any_number_of_bytes() {
    let scene = Scene::new();
    let whole = scene.remote().await;
    let stored = Sample::secure(1, LEN);
    put(&*whole, &stored).await;
    // From the first packets on, by way of the login, to the last bytes of the content.
    let cuts = usual_or_long(6, 60);
    let (mut broken_gets, mut broken_puts) = (0, 0);
    for cut in (0..=cuts).map(|cut| cut * (LEN + 8000) / cuts) {
        let down = scene.broken(usize::MAX, cut).await;
        let mut received = Vec::new();
        let arrived = get(&*down, &stored, &mut received).await;
        assert!(stored.bytes.starts_with(&received), "{cut}");
        assert_eq!(arrived, received.len() == LEN, "{cut}");
        broken_gets += usize::from(!arrived && !received.is_empty());
        assert!(get(&*whole, &stored, &mut received).await, "{cut}");
        assert!(stored.bytes == received, "{cut}");

        let up = scene.broken(cut, usize::MAX).await;
        let sample = Sample::secure(2, LEN);
        let put = up.put(&asker(), &sample.key, &file(), sample.content(0)).await;
        let present = whole.check_present(&asker(), &sample.key).await.expect("an answer");
        assert!(present || put.is_err(), "{cut}: acknowledged, and not there");
        broken_puts += usize::from(put.is_err() && cut > SENT_AT_ONCE);
        resume(&*whole, &sample, cut).await;
        let removal = whole.remove(&asker(), &sample.key).await.expect("an answer");
        assert!(removal.removed, "{cut}");
    }
    println!("{broken_gets} gets and {broken_puts} puts were broken in their middle, and resumed");
    assert!(broken_gets > 1 && broken_puts > 1);
    drop(whole);
    scene.expect_quiet().await;
}

/// Gets what follows the bytes that were received already; returns whether that was all.
async fn get(remote: &dyn Annex, sample: &Sample, received: &mut Vec<u8>) -> bool {
    let span = Span::starting_at(received.len() as u64);
    let Ok(content) = remote.get(&asker(), &sample.key, &file(), span).await else { return false };
    let take = |bytes: Bytes| {
        received.extend_from_slice(&bytes);
        Ok(())
    };
    matches!(content.pour(take).await, Ok(Verdict::Valid))
}

/// Puts what is missing, as soon as the server of the broken connection has noticed.
async fn resume(remote: &dyn Annex, sample: &Sample, cut: usize) {
    eventually("the put is resumed", async || {
        let from = match remote.put_offset(&asker(), &sample.key, &file()).await {
            Ok(PutOffset::AlreadyHave { .. }) => return Ok(()),
            Ok(PutOffset::From(0)) if (SENT_AT_ONCE..LEN).contains(&cut) => {
                return Err(format!("{cut}: nothing came"));
            }
            Ok(PutOffset::From(from)) => from,
            Err(error) => panic!("{cut}: {error}"),
        };
        let put = remote.put(&asker(), &sample.key, &file(), sample.content(from)).await;
        put.map(|_| ()).map_err(|error| error.to_string())
    })
    .await;
    assert!(read(open(remote, &sample.key).await).await.expect("content") == sample.bytes);
}

impl Scene {
    /// The repository, behind a network that breaks after so many bytes up, or down.
    async fn broken(&self, up: usize, down: usize) -> Arc<dyn Annex> {
        let url = self.login.url(&self.path);
        let sshd = url.trim_start_matches("ssh://").split('/').next().unwrap();
        let relay = relay(sshd.parse().expect("an address"), up, down);
        let mut reach = by_ssh(&self.login);
        // The host is the same, though it is found elsewhere.
        let (_, port) = sshd.split_once(':').unwrap();
        reach.ssh.options = vec!["-o".into(), format!("HostKeyAlias=[127.0.0.1]:{port}").into()];
        opened(&reach, &format!("ssh://{relay}{}", text(&self.path))).await
    }
}

/// Leads one connection to `server`, and breaks it after so many bytes up, or down. Returns where
/// it listens.
fn relay(server: SocketAddr, up: usize, down: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (client, _) = listener.accept().expect("a client");
        let server = TcpStream::connect(server).expect("a server");
        let other_way = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let carrying = thread::spawn(move || carry(other_way.0, other_way.1, down));
        carry(client, server, up);
        carrying.join().expect("the other way");
    });
    address
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut left: usize) {
    let mut buffer = [0; 8192];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let may = len.min(left);
        left -= may;
        if to.write_all(&buffer[..may]).is_err() || may < len {
            break;
        }
    }
    for end in [from, to] {
        drop(end.shutdown(Shutdown::Both)); // it may be gone already
    }
}

const LEN: usize = 1_000_000;
/// More than logging in takes, and than ssh sends in a packet.
const SENT_AT_ONCE: usize = 100_000;
