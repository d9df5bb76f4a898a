//! Servers that say more than they were asked for, and contents that nobody vouches for.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gannet_core::{Annex, PutOffset, Uuid};
use gannet_testkit::{Ending, Gate, Journey, Sample};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, duplex, split};
use tokio::sync::Notify;

use super::super::dial::Silent;
use super::super::{Dial, Dialled, LineLimits, LineRemote};
use super::{asker, file, until};

const UUID: &str = "5e5e5e5e-0000-4000-8000-000000000001";

/// A server that speaks by rote.
struct Rote {
    /// What it says to a request.
    answer: &'static str,
    /// And a while later, before it is asked again.
    surplus: &'static str,
    may_say_more: Arc<Notify>,
    dialled: AtomicUsize,
    /// How many bytes of data it heard.
    heard: Arc<AtomicUsize>,
}

impl Rote {
    fn new(answer: &'static str, surplus: &'static str) -> Arc<Self> {
        let (dialled, heard, may_say_more) = Default::default();
        Arc::new(Self { answer, surplus, may_say_more, dialled, heard })
    }

    fn remote(self: &Arc<Self>) -> LineRemote {
        let uuid = Uuid::parse(UUID.as_bytes()).unwrap();
        LineRemote::new(uuid, Arc::clone(self) as Arc<dyn Dial>, LineLimits::default())
    }
}

#[async_trait]
impl Dial for Rote {
    async fn dial(&self) -> io::Result<Dialled> {
        self.dialled.fetch_add(1, Ordering::Relaxed);
        let (here, there) = duplex(1 << 16);
        let (input, output) = split(here);
        let (answer, surplus) = (self.answer, self.surplus);
        let (more, heard) = (Arc::clone(&self.may_say_more), Arc::clone(&self.heard));
        tokio::spawn(async move {
            let (hears, mut says) = split(there);
            let mut hears = BufReader::new(hears);
            says.write_all(format!("AUTH-SUCCESS {UUID}\n").as_bytes()).await.ok();
            let mut line = String::new();
            while hears.read_line(&mut line).await.is_ok_and(|len| len > 0) {
                let said = match &*line {
                    "VERSION 4\n" => "VERSION 4\n",
                    // It is left at having asked.
                    "DATA 0\n" => "",
                    "INVALID\n" => "FAILURE\n",
                    line if line.starts_with("DATA ") => {
                        let mut bytes = [0; 1000];
                        while let Ok(len @ 1..) = hears.read(&mut bytes).await {
                            heard.fetch_add(len, Ordering::Relaxed);
                        }
                        return;
                    }
                    _ => answer,
                };
                says.write_all(said.as_bytes()).await.ok();
                if said == answer && !surplus.is_empty() {
                    more.notified().await;
                    says.write_all(surplus.as_bytes()).await.ok();
                }
                line.clear();
            }
        });
        Ok(Dialled { input: Box::new(input), output: Box::new(output), farewell: Box::new(Silent) })
    }
}

impl fmt::Display for Rote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("somebody")
    }
}

/// Else it would be taken for the answer to the next request, and content for absent.
#[tokio::test]
async fn what_nobody_asked_for_answers_nothing() {
    let at_once = Rote::new("SUCCESS\nFAILURE\n", "");
    let later = Rote::new("SUCCESS\n", "FAILURE\n");
    for rote in [at_once, later] {
        let (remote, key) = (rote.remote(), Sample::secure(1, 1).key);
        for number in 1..4 {
            assert!(remote.check_present(&asker(), &key).await.unwrap());
            assert_eq!(rote.dialled.load(Ordering::Relaxed), number);
            rote.may_say_more.notify_one();
            // So that it gets round to it.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// It is no loss of a connection, after which all may be asked anew.
#[tokio::test]
async fn what_makes_no_sense_is_not_asked_for_again() {
    let rote = Rote::new("SUCCESS\n", "");
    let (remote, key) = (rote.remote(), Sample::secure(1, 1).key);
    assert!(remote.check_present(&asker(), &key).await.unwrap());
    let error = remote.timestamp(&asker()).await.unwrap_err();
    assert!(error.to_string().contains("it said: SUCCESS"), "{error}");
    assert_eq!(rote.dialled.load(Ordering::Relaxed), 1);
}

/// Nothing is right of what is more than there is.
#[tokio::test]
async fn more_than_all_is_held_by_nobody() {
    let remote = Rote::new("PUT-FROM 11\n", "").remote();
    let key = Sample::secure(1, 10).key;
    let offset = remote.put_offset(&asker(), &key, &file()).await.unwrap();
    assert_eq!(offset, PutOffset::From(0));
}

/// A server that had it all might store it once the connection breaks.
#[tokio::test]
async fn what_nobody_vouches_for_is_never_sent_completely() {
    let sample = Sample::secure(1, 50_000);
    let gate = Gate::closed();
    for ending in [Ending::Silence, Ending::Broken, Ending::Stuck(Arc::clone(&gate))] {
        let rote = Rote::new("PUT-FROM 0\n", "");
        let remote = rote.remote();
        let (asker, file) = (asker(), file());
        let content = Journey::of(&sample.bytes, 0).ending(ending).content();
        tokio::select! {
            put = remote.put(&asker, &sample.key, &file, content) => drop(put.unwrap_err()),
            () = gate.pass() => {}
        }
        until(async || Arc::strong_count(&rote.heard) == 1).await;
        let heard = rote.heard.load(Ordering::Relaxed);
        assert!(heard < sample.bytes.len(), "{heard} bytes were sent");
    }
}
