//! Our client, in all its versions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gannet_core::{
    Annex, Asker, AssociatedFile, Error, Key, Mode, PutOffset, Removal, Result, Span, Uuid, Verdict,
};
use gannet_net::remote::line::{LineLimits, LineRemote};
use gannet_net::serve::p2p::Version;
use gannet_testkit::{Ending, Journey, Sample};

use super::{Limited, Party, Row, text};
use crate::harness::{CLIENT, Repo, SERVER, World};
use crate::places::{program, uuid};

/// What our client does with a server of this party, in all pairs of versions.
pub(super) fn rows(party: Party) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, true);
    let mut rows = Vec::new();
    for server in Version::ALL {
        for client in Version::ALL {
            let shell = Limited::new(&world, party, server);
            let sample = Sample::secure(u8::try_from(rows.len()).unwrap(), 300_000);
            let pair = Pair::new(&world, &repo, party, shell, client, sample);
            let outcomes = runtime.block_on(pair.outcomes(client.min(server)));
            rows.push(Row { client: (Party::Gannet, client), server: (party, server), outcomes });
        }
    }
    rows
}

/// Our client and a server.
struct Pair {
    remote: LineRemote,
    party: Party,
    shell: Limited,
    sample: Sample,
    asker: Asker,
    file: AssociatedFile,
}

impl Pair {
    fn new(
        world: &World,
        repo: &Repo,
        party: Party,
        shell: Limited,
        newest: Version,
        sample: Sample,
    ) -> Self {
        let argv = [text(&shell.program), "p2pstdio", repo.arg(), CLIENT, "--uuid", SERVER];
        let program = program(world, &argv);
        let limits = LineLimits { newest, ..LineLimits::default() };
        let remote = LineRemote::new(uuid(SERVER), Arc::new(program), limits);
        let asker = Asker { client: Some(uuid(CLIENT)), bypass: vec![], mode: Mode::FULL };
        let file = AssociatedFile(Bytes::from_static(b"a dir/a file"));
        Self { remote, party, shell, sample, asker, file }
    }

    /// How each of [`Row::THINGS`] went.
    async fn outcomes(&self, spoken: Version) -> Vec<&'static str> {
        assert!(matches!(
            self.get(0).await,
            Err(Error::Missing { .. }) | Err(Error::Remote { .. })
        ));
        let outcomes = vec![
            self.put().await,
            self.get_resumed().await,
            self.presence().await,
            self.lock_and_drop().await,
            self.remove_before().await,
            self.put_present().await,
            self.doubt().await,
            self.bypass().await,
        ];
        // Not what came of it alone counts, but also what was said.
        let said = |message| self.shell.heard(message);
        assert_eq!(said("VALID"), spoken.tells_validity(), "VALID in {spoken:?}");
        assert_eq!(said("INVALID"), spoken.tells_validity(), "INVALID in {spoken:?}");
        assert_eq!(said("BYPASS "), spoken.lists_others(), "BYPASS in {spoken:?}");
        assert_eq!(said("GETTIMESTAMP"), spoken.has_deadlines(), "GETTIMESTAMP in {spoken:?}");
        assert_eq!(said("REMOVE-BEFORE "), spoken.has_deadlines(), "REMOVE-BEFORE in {spoken:?}");
        assert_eq!(said("DATA-PRESENT"), spoken.has_data_present(), "DATA-PRESENT in {spoken:?}");
        outcomes
    }

    /// Breaks off in the middle, and puts the rest.
    async fn put(&self) -> &'static str {
        let (sample, key) = (&self.sample, &self.sample.key);
        let broken = Journey::of(&sample.bytes, 0).cut(200_000, Ending::Broken);
        let put = self.remote.put(&self.asker, key, &self.file, broken.content()).await;
        assert!(put.is_err(), "{put:?}");
        let from = eventually("something of it was kept", async || match self.offset().await {
            Ok(PutOffset::From(from @ 1..)) => Some(from),
            _ => None,
        });
        let content = sample.content(from.await);
        self.stored(content).await
    }

    /// Puts this, whatever is still going on with what was broken off before.
    async fn stored(&self, content: gannet_core::Content) -> &'static str {
        let (key, file) = (&self.sample.key, &self.file);
        match self.remote.put(&self.asker, key, file, content).await {
            Ok(_) => {}
            // Who was cut off may still be at it.
            Err(error) => {
                eprintln!("put again after: {error}");
                eventually("it is stored", async || {
                    let whole = self.sample.content(0);
                    self.remote.put(&self.asker, key, file, whole).await.ok()
                })
                .await;
            }
        }
        "yes"
    }

    async fn get_resumed(&self) -> &'static str {
        for from in [0, 123_456, self.sample.len()] {
            let got = self.get(from).await.expect("the content");
            assert!(
                got == self.sample.bytes.slice(usize::try_from(from).unwrap()..),
                "from {from}"
            );
        }
        "yes"
    }

    async fn get(&self, from: u64) -> Result<Vec<u8>> {
        let (key, span) = (&self.sample.key, Span::starting_at(from));
        let content = self.remote.get(&self.asker, key, &self.file, span).await?;
        let mut got = Vec::new();
        let verdict = content.pour(|bytes| {
            got.extend_from_slice(&bytes);
            Ok(())
        });
        assert_eq!(verdict.await?, Verdict::Valid);
        Ok(got)
    }

    async fn offset(&self) -> Result<PutOffset> {
        self.remote.put_offset(&self.asker, &self.sample.key, &self.file).await
    }

    async fn presence(&self) -> &'static str {
        assert!(self.present().await);
        let other = Sample::secure(250, 7).key;
        assert!(!self.remote.check_present(&self.asker, &other).await.expect("an answer"));
        "yes"
    }

    async fn present(&self) -> bool {
        self.remote.check_present(&self.asker, &self.sample.key).await.expect("an answer")
    }

    async fn lock_and_drop(&self) -> &'static str {
        let key = &self.sample.key;
        let lock = self.remote.lock(&self.asker, key).await.expect("an answer").expect("a lock");
        match (self.remote.remove(&self.asker, key).await, self.party) {
            (Ok(removal), _) => assert_eq!(removal, Removal::refused()),
            // It closes the connection (p2p-line §13, 4).
            (Err(Error::Remote { .. }), Party::GitAnnex) => {}
            (Err(error), _) => panic!("{error}"),
        }
        assert!(self.present().await);
        lock.release().await.expect("unlock");
        self.removed(key).await;
        assert!(!self.present().await);
        let lock = self.remote.lock(&self.asker, key).await.expect("an answer");
        assert!(lock.is_none(), "what is absent cannot be locked");
        "yes"
    }

    /// The unlocking has no answer: the removal may be quicker.
    async fn removed(&self, key: &Key) {
        eventually("it is removed", async || match self.remote.remove(&self.asker, key).await {
            Ok(Removal { removed: true, .. }) => Some(()),
            _ => None,
        })
        .await;
    }

    async fn remove_before(&self) -> &'static str {
        self.stored(self.sample.content(0)).await;
        let key = &self.sample.key;
        let now = match self.remote.timestamp(&self.asker).await {
            Ok(now) => now,
            Err(Error::Unsupported(_)) => {
                let deadline = gannet_core::Timestamp { seconds: u64::MAX / 2 };
                let removal = self.remote.remove_before(&self.asker, key, deadline).await;
                assert!(matches!(removal, Err(Error::Unsupported(_))), "{removal:?}");
                assert!(self.present().await);
                self.removed(key).await;
                return "refused";
            }
            Err(error) => panic!("{error}"),
        };
        let late = self.remote.remove_before(&self.asker, key, now).await.expect("an answer");
        assert_eq!(late, Removal::refused());
        assert!(self.present().await);
        let removal = self.remote.remove_before(&self.asker, key, now.plus(60)).await;
        assert_eq!(removal.expect("an answer"), Removal::done());
        assert!(!self.present().await);
        "yes"
    }

    async fn put_present(&self) -> &'static str {
        let key = &self.sample.key;
        let put = self.remote.put_present(&self.asker, key, &self.file).await;
        assert!(matches!(put, Err(Error::Missing { .. })), "{put:?}");
        self.stored(self.sample.content(0)).await;
        self.remote.put_present(&self.asker, key, &self.file).await.expect("it is there");
        self.removed(key).await;
        if self.shell.heard("DATA-PRESENT") { "yes" } else { "asked only" }
    }

    /// Content that changed while it was sent is stored by nobody who heard of it.
    async fn doubt(&self) -> &'static str {
        let (sample, key) = (&self.sample, &self.sample.key);
        let journey = Journey::of(&sample.bytes, 0).ending(Ending::Verdict(Verdict::Doubtful));
        let put = self.remote.put(&self.asker, key, &self.file, journey.content()).await;
        assert!(matches!(put, Err(Error::Doubtful)), "{put:?}");
        let present = self.present().await;
        let told = self.shell.heard("INVALID");
        // git-annex verifies it then, and stores it if it is right (p2p-line §6.4).
        assert_eq!(present, told && self.party == Party::GitAnnex);
        if told { "INVALID" } else { "cut short" }
    }

    async fn bypass(&self) -> &'static str {
        let gateway = Uuid::parse(b"6a7e3a70-0000-4000-8000-000000000003").unwrap();
        let asker = Asker { bypass: vec![gateway], ..self.asker.clone() };
        // Whoever writes down what is heard has done so before he passes on the next request.
        for _ in 0..2 {
            self.remote.check_present(&asker, &self.sample.key).await.expect("an answer");
        }
        if self.shell.heard("BYPASS ") { "yes" } else { "left out" }
    }
}

async fn eventually<T>(what: &str, mut answer: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(answer) = answer().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain: {what}");
}
