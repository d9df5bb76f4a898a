//! Data on its way out: counted, and vouched for at its end.

use bytes::Bytes;
use gannet_core::Verdict;

use super::message::Message;
use super::version::Version;

/// The connection must be closed, and nothing more be said: what the peer would make of it is not
/// what is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MustClose {
    /// This cannot be said now. Whoever drives the connection made a mistake.
    #[error("this cannot be said at this point of the conversation")]
    OutOfTurn,
    /// More data than was announced.
    #[error("more data than was announced")]
    TooMuch,
    /// Less data than was announced (p2p-line §1, "Binary data").
    #[error("less data than was announced")]
    TooLittle,
    /// The data is not to be trusted, and version 0 cannot say so.
    #[error("version 0 of the protocol cannot say that content changed while it was sent")]
    Doubtful,
    /// A `PUT` cannot be given up without a trace below version 1.
    #[error("version 0 of the protocol cannot give up a put")]
    Offered,
}

/// The data of one content, on its way out.
///
/// Version 0 says nothing after the data. So that doubt can still be told, the last byte is
/// withheld until the verdict is known, or, when there is none, the announcement; a doubtful
/// content then ends too early, as it does over HTTP.
#[derive(Debug)]
pub(super) struct Outflow {
    left: u64,
    tells_validity: bool,
    withheld: Bytes,
}

impl Outflow {
    /// Begins with the bytes to be sent first.
    pub(super) fn begin(version: Version, len: u64) -> (Self, Bytes) {
        let tells_validity = version.tells_validity();
        let announcement = Message::Data(len).line().unwrap_or_default();
        let (withheld, said) = match tells_validity || len > 0 {
            true => (Bytes::new(), announcement),
            false => (announcement, Bytes::new()),
        };
        (Self { left: len, tells_validity, withheld }, said)
    }

    /// Counts the next bytes of data, and returns those to be sent now.
    pub(super) fn pass(&mut self, mut piece: Bytes) -> Result<Bytes, MustClose> {
        let len = piece.len();
        self.left = self.left.checked_sub(len as u64).ok_or(MustClose::TooMuch)?;
        if self.left == 0 && len > 0 && !self.tells_validity {
            self.withheld = piece.split_off(len - 1);
        }
        Ok(piece)
    }

    /// Returns what is to be sent last.
    pub(super) fn end(self, verdict: Verdict) -> Result<Bytes, MustClose> {
        if self.left > 0 {
            return Err(MustClose::TooLittle);
        }
        let vouching = match verdict {
            Verdict::Valid if self.tells_validity => Message::Valid,
            Verdict::Doubtful if self.tells_validity => Message::Invalid,
            Verdict::Valid => return Ok(self.withheld),
            Verdict::Doubtful => return Err(MustClose::Doubtful),
        };
        Ok(vouching.line().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(version: Version, pieces: &[&'static str], verdict: Verdict) -> (String, bool) {
        let len = pieces.iter().map(|piece| piece.len() as u64).sum();
        let (mut outflow, said) = Outflow::begin(version, len);
        let mut sent = said.to_vec();
        for piece in pieces {
            sent.extend(outflow.pass(Bytes::from_static(piece.as_bytes())).unwrap());
        }
        let end = outflow.end(verdict);
        sent.extend(end.iter().flatten());
        (String::from_utf8(sent).unwrap(), end.is_ok())
    }

    #[test]
    fn a_verdict_ends_the_data() {
        use Verdict::{Doubtful, Valid};
        let cases = [
            (Version::V1, Valid, "DATA 5\nhelloVALID\n", "DATA 0\nVALID\n", true),
            (Version::V1, Doubtful, "DATA 5\nhelloINVALID\n", "DATA 0\nINVALID\n", true),
            (Version::V0, Valid, "DATA 5\nhello", "DATA 0\n", true),
            (Version::V0, Doubtful, "DATA 5\nhell", "", false),
        ];
        for (version, verdict, some, none, goes_on) in cases {
            let some = (some.to_owned(), goes_on);
            assert_eq!(sent(version, &["hel", "", "lo", ""], verdict), some);
            assert_eq!(sent(version, &["hell", "o"], verdict), some);
            assert_eq!(sent(version, &[""], verdict), (none.to_owned(), goes_on));
        }
    }

    #[test]
    fn data_is_as_long_as_announced() {
        for version in Version::ALL {
            let (mut outflow, _) = Outflow::begin(version, 3);
            assert_eq!(outflow.pass("abcd".into()), Err(MustClose::TooMuch));
            let (mut outflow, _) = Outflow::begin(version, 3);
            outflow.pass("ab".into()).unwrap();
            assert_eq!(outflow.end(Verdict::Valid), Err(MustClose::TooLittle));
        }
    }
}
