//! However the bytes are split, the events are the same; and little is kept.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;
use super::arbitrary;

/// All events up to the first error, with adjacent pieces of data joined.
fn events(decoder: &mut Decoder, seen: &mut Vec<Found>) -> Result<(), LineTooLong> {
    while let Some(event) = decoder.pull()? {
        match (seen.last_mut(), event) {
            (Some(Found::Data(before)), Found::Data(data)) => {
                *before = [&before[..], &data[..]].concat().into();
            }
            (_, event) => seen.push(event),
        }
    }
    Ok(())
}

fn decode<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Found>, Result<(), LineTooLong>) {
    let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
    for part in parts {
        decoder.feed(part);
        if let Err(error) = events(&mut decoder, &mut seen) {
            return (seen, Err(error));
        }
        assert!(decoder.unread_len() < LINE_BYTES_MAX, "keeps too much");
    }
    (seen, Ok(()))
}

#[test]
fn messages_follow_data_without_a_gap() {
    let stream = b"DATA 9\nscripted\nVALID\r\nDATA 0\nINVALID\nMAYBE\nDATA x\nDATA 3\nab";
    let (seen, _) = decode([&stream[..]]);
    let expected = [
        Found::Message(Message::Data(9)),
        Found::Data("scripted\n".into()),
        Found::Message(Message::Valid),
        Found::Message(Message::Data(0)),
        Found::Message(Message::Invalid),
        Found::Garbage { line: "MAYBE".into(), why: Unparsable::Name },
        Found::Garbage { line: "DATA x".into(), why: Unparsable::DataLength },
        Found::Message(Message::Data(3)),
        Found::Data("ab".into()),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_line_ends_before_it_is_too_long() {
    let longest = [&vec![b'a'; LINE_BYTES_MAX - 1][..], b"\nSUCCESS\n"].concat();
    let (seen, end) = decode([&longest[..]]);
    assert_eq!((seen.len(), end), (2, Ok(())));
    let longer = [b"a", &longest[..]].concat();
    for parts in [vec![&longer[..]], longer.chunks(1000).collect()] {
        assert_eq!(decode(parts), (vec![], Err(LineTooLong)));
    }
    let mut decoder = Decoder::default();
    decoder.feed(&longer);
    assert_eq!((decoder.pull(), decoder.pull()), (Err(LineTooLong), Err(LineTooLong)));
}

#[test]
fn data_is_not_copied() {
    let mut decoder = Decoder::default();
    decoder.inbox().extend_from_slice(b"DATA 4\nabcd");
    let there = decoder.inbox()[7..].as_ptr();
    assert_eq!(decoder.pull(), Ok(Some(Found::Message(Message::Data(4)))));
    let Ok(Some(Found::Data(data))) = decoder.pull() else { panic!() };
    assert_eq!(data.as_ptr(), there);
}

proptest! {
    #[test]
    fn bytes_may_be_split_anywhere(
        stretches in vec(arbitrary::stretch(), 0..12),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream = stretches.concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        let whole = decode([&stream[..]]);
        prop_assert_eq!(decode(parts), whole.clone());
        prop_assert_eq!(decode(stream.chunks(1)), whole);
    }

    #[test]
    fn no_bytes_panic(parts in vec(vec(any::<u8>(), 0..3000), 0..30)) {
        let (seen, _) = decode(parts.iter().map(Vec::as_slice));
        prop_assert!(seen.len() <= parts.concat().len());
    }
}
