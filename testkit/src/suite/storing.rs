//! What is stored can be read.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use gannet_core::{Content, Error, PutOffset, Span};

use super::trial::Trial;
use crate::{Gate, Journey, Place, Sample};

/// A place is empty at first, and says so.
pub async fn nothing_is_there_at_first(place: &dyn Place) {
    let trial = Trial::of(place);
    for sample in [Sample::secure(1, 10), Sample::unverifiable(1, 10)] {
        trial.lacks(&sample.key, 0..=0).await;
    }
}

/// What is put can be got, byte for byte, and is announced rightly.
pub async fn what_is_put_is_got(place: &dyn Place) {
    let trial = Trial::of(place);
    for len in [1, 6, 7001, 65_536, 300_000] {
        let sample = Sample::secure(1, len);
        trial.store(&sample).await;
        let content = trial.open(&sample.key, Span::ALL).await;
        assert_eq!((content.total, content.from, content.len), (sample.len(), 0, sample.len()));
    }
}

/// Any part can be got; one that begins at or after the end is empty.
pub async fn any_part_can_be_got(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 100_000);
    trial.store(&sample).await;
    for (from, to, expected) in [
        (0, Some(100_000), 0..100_000),
        (0, Some(1), 0..1),
        (0, Some(0), 0..0),
        (1, None, 1..100_000),
        (40_000, Some(70_001), 40_000..70_001),
        (99_999, None, 99_999..100_000),
        (99_999, Some(1_000_000), 99_999..100_000),
        (100_000, None, 0..0),
        (100_001, None, 0..0),
        (u64::MAX, None, 0..0),
        (70_000, Some(40_000), 0..0),
        (200_000, Some(300_000), 0..0),
    ] {
        let span = Span { from, to };
        let bytes = trial.read(&sample.key, span).await;
        assert!(bytes == sample.bytes.slice(expected), "{span:?}: got {} bytes", bytes.len());
    }
}

/// Opening and dropping serves to learn the size, and does no harm.
pub async fn opening_tells_the_size(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 200_000);
    trial.store(&sample).await;
    // Far places may need a new connection each time.
    for _ in 0..if trial.far { 5 } else { 50 } {
        assert_eq!(trial.open(&sample.key, Span::ALL).await.len, 200_000);
        assert_eq!(trial.open(&sample.key, Span::starting_at(150_000)).await.len, 50_000);
    }
    trial.has(&sample).await;
}

/// Content that is here is not read again: the answer comes although nothing is sent.
pub async fn present_content_is_not_read_again(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 1000);
    trial.store(&sample).await;
    let read = Gate::closed();
    let seen = Arc::clone(&read);
    let pieces = stream::poll_fn(move |_| {
        seen.let_through(1);
        Poll::Pending
    });
    let content = Content { total: 1000, from: 0, len: 1000, pieces: pieces.boxed() };
    tokio::select! {
        biased;
        () = read.pass(), if !trial.far => panic!("the content was read"),
        stored = trial.put(&sample.key, content) => drop(stored.expect("it is here")),
    }
    trial.put(&sample.key, sample.content(0)).await.expect("it is here still");
    trial.has(&sample).await;
}

/// Content may be empty.
pub async fn empty_content_is_content(place: &dyn Place) {
    let trial = Trial::of(place);
    for sample in [
        Sample::secure(1, 0),
        Sample::unverifiable(1, 0),
        Sample::named("URL--http://example.com/empty", Bytes::new()),
    ] {
        trial.store(&sample).await;
        let content = trial.open(&sample.key, Span::ALL).await;
        assert_eq!((content.total, content.from, content.len), (0, 0, 0));
        assert!(trial.read(&sample.key, Span::starting_at(1)).await.is_empty());
    }
}

/// Keys are kept whether they prove their content or not.
pub async fn every_kind_of_key_is_kept(place: &dyn Place) {
    let trial = Trial::of(place);
    let bytes = Sample::secure(1, 20_000).bytes;
    for sample in [
        Sample::hashed("SHA256", "", bytes.clone()),
        Sample::hashed("SHA512E", ".tar.gz", bytes.clone()),
        Sample::hashed("SHA3_256E", ".txt", bytes.clone()),
        Sample::hashed("SKEIN512", "", bytes.clone()),
        Sample::hashed("BLAKE2B160E", ".txt", bytes.clone()),
        Sample::hashed("BLAKE2BP512", "", bytes.clone()),
        Sample::hashed("BLAKE3_256E", ".txt", bytes.clone()),
        Sample::hashed("SHA1", "", bytes.clone()),
        Sample::hashed("MD5E", ".mp3", bytes.clone()),
        Sample::hashed("XXH3", "", bytes.clone()),
        Sample::named("WORM-s20000-m1289672605--file", bytes.clone()),
        Sample::named("URL-s20000--http://example.com/x", bytes.clone()),
        Sample::named("URL--http://example.com/without-size", bytes.clone()),
        Sample::named("NOBODYKNOWS--this", bytes.clone()),
    ] {
        trial.store(&sample).await;
    }
}

/// Keys that look alike, or like paths, or are not text, are different keys.
pub async fn odd_names_are_kept_apart(place: &dyn Place) {
    let trial = Trial::of(place);
    let names: [&[u8]; 14] = [
        b"WORM-s9-m1--../../../etc/passwd",
        b"WORM-s9-m1--..%..%..%etc%passwd",
        b"WORM-s9-m1--a&b%c:d/e",
        b"WORM-s9-m1--a&ab&sc&cd%e",
        b"WORM-s9-m1--a b+c?d#e",
        b"WORM-s9-m1--[YWJj]",
        b"WORM-s9-m1--\xff\xfe\x80",
        b"WORM-s9-m1--\xef\xbf\xbd",
        "WORM-s9-m1--\u{e9}".as_bytes(),
        "WORM-s9-m1--e\u{301}".as_bytes(),
        b"WORM-s9-m1--Name",
        b"WORM-s9-m1--name",
        b"WORM-s9--name",
        b"WORM-s9-m1--",
    ];
    let samples: Vec<_> = (0..)
        .zip(names)
        .map(|(seed, name)| {
            let key = gannet_core::Key::parse(name).expect("a key");
            Sample { key, ..Sample::unverifiable(seed, 9) }
        })
        .collect();
    for sample in &samples {
        trial.lacks(&sample.key, 0..=0).await;
        trial.store(sample).await;
    }
    for sample in &samples {
        trial.has(sample).await;
        assert!(trial.remove(&sample.key).await);
        trial.lacks(&sample.key, 0..=0).await;
    }
}

/// Content that is said to have come another way is looked for.
pub async fn content_that_came_another_way_is_vouched_for(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 1000);
    let present = || trial.annex.put_present(&trial.asker, &sample.key, &trial.file);
    match present().await {
        Ok(_) => panic!("it is not here"),
        Err(error) => assert!(trial.far || matches!(error, Error::Missing { .. }), "{error:?}"),
    }
    trial.lacks(&sample.key, 0..=0).await;
    trial.store(&sample).await;
    present().await.expect("it is here");
    trial.has(&sample).await;
}

/// However many put the same key at once, it is stored; some may be told that it is busy.
pub async fn puts_of_one_key_at_once_store_it_once(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 200_000);
    let puts = (0..8).map(|_| {
        let (trial, sample) = (trial.clone(), sample.clone());
        tokio::spawn(async move { trial.put(&sample.key, sample.content(0)).await })
    });
    let mut stored = 0;
    for put in join_all(puts).await {
        match put.expect("a put that does not panic") {
            Ok(_) => stored += 1,
            Err(Error::Busy { .. }) => {}
            Err(error) => assert!(trial.far, "{error:?}"),
        }
    }
    assert!(stored > 0, "nobody succeeded");
    trial.has(&sample).await;
}

/// Puts of different keys do not get into each other's way.
pub async fn puts_of_many_keys_at_once_are_all_stored(place: &dyn Place) {
    let trial = Trial::of(place);
    let samples: Vec<_> = (0..16).map(|seed| Sample::secure(seed, 50_000)).collect();
    let puts = samples.iter().cloned().map(|sample| {
        let trial = trial.clone();
        tokio::spawn(async move {
            let journey = Journey { piece_bytes: 997, ..Journey::of(&sample.bytes, 0) };
            trial.put(&sample.key, journey.content()).await
        })
    });
    for put in join_all(puts).await {
        put.expect("a put that does not panic").expect("a put");
    }
    for sample in &samples {
        trial.has(sample).await;
    }
    assert_eq!(trial.offset(&Sample::secure(99, 5).key).await, PutOffset::From(0));
}
