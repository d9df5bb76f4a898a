//! Which part of a content is wanted on the unversioned route: RFC 9110 §13, §14.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use gannet_core::Key;
use gannet_core::backend::{Strength, strength};

use super::call::digits;

/// The headers that select a part of the content, as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Preconditions<'a> {
    /// `If-None-Match`.
    pub if_none_match: Option<&'a [u8]>,
    /// `If-Range`.
    pub if_range: Option<&'a [u8]>,
    /// `Range`.
    pub range: Option<&'a [u8]>,
}

/// What of the content is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Nothing: the client has it already (304).
    NotModified,
    /// All of it (200).
    Whole,
    /// These parts, each an offset and a length of at least one byte (206). Never empty.
    Parts(Vec<(u64, u64)>),
    /// None of the parts exists (416).
    Unsatisfiable,
}

impl Preconditions<'_> {
    /// Chooses what to send of a content of `total` bytes that `etag` names.
    ///
    /// A range that is malformed, or asks for many parts or for overlapping ones, is ignored:
    /// the whole content is then a legal answer.
    #[must_use]
    pub fn select(&self, etag: Option<&str>, total: u64) -> Selection {
        if self.if_none_match.is_some_and(|tags| any_matches(tags, etag)) {
            return Selection::NotModified;
        }
        let Some(range) = self.range else { return Selection::Whole };
        let unchanged = match self.if_range {
            None => true,
            // Only a strong tag counts; a date never does, as there is no Last-Modified.
            Some(tag) => etag.is_some_and(|etag| etag.as_bytes() == tag.trim_ascii()),
        };
        match unchanged.then(|| parts(range, total)).flatten() {
            None => Selection::Whole,
            Some(parts) if parts.is_empty() => Selection::Unsatisfiable,
            Some(parts) => Selection::Parts(parts),
        }
    }
}

/// A strong entity tag for contents of `key`: the key itself, in quotes.
///
/// `None` if the key's name proves too little for two contents of it to be surely the same.
#[must_use]
pub fn etag(key: &Key) -> Option<String> {
    match strength(key) {
        Strength::SizeOnly => return None,
        Strength::Secure | Strength::Weak => {}
    }
    let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'"';
    Some(match std::str::from_utf8(key.as_bytes()) {
        Ok(text) if text.bytes().all(|byte| plain(&byte)) => format!("\"{text}\""),
        _ => format!("\"[{}]\"", URL_SAFE.encode(key.as_bytes())),
    })
}

/// Whether a list of entity tags names `etag`, strong or weak.
fn any_matches(list: &[u8], etag: Option<&str>) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    loop {
        rest = rest.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        let tag = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(inner) = tag.strip_prefix(b"\"") else { return false };
        let Some(len) = inner.iter().position(|&byte| byte == b'"') else { return false };
        let (tag, after) = tag.split_at(len + 2);
        if tag == etag.as_bytes() {
            return true;
        }
        rest = after;
    }
}

/// The parts that exist of those that `range` asks for; `None` if it should be ignored.
fn parts(range: &[u8], total: u64) -> Option<Vec<(u64, u64)>> {
    let range = range.trim_ascii();
    let equals = range.iter().position(|&byte| byte == b'=')?;
    if !range[..equals].eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut parts: Vec<(u64, u64)> = Vec::new();
    let mut any = false;
    for spec in range[equals + 1..].split(|&byte| byte == b',') {
        let spec = spec.trim_ascii();
        if spec.is_empty() {
            continue;
        }
        any = true;
        let dash = spec.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (&spec[..dash], &spec[dash + 1..]);
        // Numbers that do not fit are beyond every end.
        let number = |text| digits(text).map(|number| number.unwrap_or(u64::MAX));
        let part = if first.is_empty() {
            let len = number(last)?.min(total);
            (total - len, len)
        } else {
            let first = number(first)?;
            let last = if last.is_empty() { u64::MAX } else { number(last)? };
            if last < first {
                return None;
            }
            let end = last.saturating_add(1).min(total);
            (first, end.saturating_sub(first))
        };
        if part.1 > 0 {
            parts.push(part);
        }
    }
    let asked = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.1));
    (any && parts.len() <= PARTS_MAX && asked <= total).then_some(parts)
}

/// More parts than this are not worth their headers.
const PARTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn select(range: &str, total: u64) -> Selection {
        let range = Some(range.as_bytes());
        Preconditions { range, ..Preconditions::default() }.select(Some("\"k\""), total)
    }

    #[test]
    fn ranges_select_parts() {
        let parts = |parts: &[(u64, u64)]| Selection::Parts(parts.to_vec());
        let cases = [
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=0-", parts(&[(0, 10)])),
            ("bytes=3-5", parts(&[(3, 3)])),
            ("Bytes = 3-5", Selection::Whole),
            ("BYTES=3-5", parts(&[(3, 3)])),
            ("bytes=9-", parts(&[(9, 1)])),
            ("bytes=9-99999999999999999999999", parts(&[(9, 1)])),
            ("bytes=-3", parts(&[(7, 3)])),
            ("bytes=-30", parts(&[(0, 10)])),
            ("bytes=0-1, 8-", parts(&[(0, 2), (8, 2)])),
            ("bytes=0-1,,20-30", parts(&[(0, 2)])),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=20-30,40-", Selection::Unsatisfiable),
            ("bytes=5-3", Selection::Whole),
            ("bytes=", Selection::Whole),
            ("bytes=x-", Selection::Whole),
            ("bytes=1", Selection::Whole),
            ("bytes=--1", Selection::Whole),
            ("lines=1-2", Selection::Whole),
            ("bytes=0-,0-", Selection::Whole),
            ("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8", Selection::Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(select(range, 10), expected, "{range}");
        }
        assert_eq!(select("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(select("bytes=-1", 0), Selection::Unsatisfiable);
    }

    #[test]
    fn tags_are_compared() {
        let known: [&[u8]; 5] = [b"\"k\"", b"*", b"W/\"k\"", b"\"a,b\" , W/\"k\"", b"\"x\",\"k\""];
        for tags in known {
            let conditions = Preconditions { if_none_match: Some(tags), ..Default::default() };
            assert_eq!(conditions.select(Some("\"k\""), 10), Selection::NotModified);
        }
        let unknown: [&[u8]; 5] = [b"\"x\"", b"k", b"", b"\"k", b"\"kk\", x, \"k\""];
        for tags in unknown {
            let conditions = Preconditions { if_none_match: Some(tags), ..Default::default() };
            assert_eq!(conditions.select(Some("\"k\""), 10), Selection::Whole);
        }
        let conditions = Preconditions { if_none_match: Some(b"\"k\""), ..Default::default() };
        assert_eq!(conditions.select(None, 10), Selection::Whole);
        let range = Some(&b"bytes=0-0"[..]);
        let one = Selection::Parts(vec![(0, 1)]);
        let if_range: [(&[u8], Option<&str>, &Selection); 4] = [
            (b"\"k\"", Some("\"k\""), &one),
            (b"W/\"k\"", Some("\"k\""), &Selection::Whole),
            (b"Tue, 24 Nov 2026 06:00:00 GMT", Some("\"k\""), &Selection::Whole),
            (b"\"k\"", None, &Selection::Whole),
        ];
        for (tag, etag, expected) in if_range {
            let conditions = Preconditions { if_range: Some(tag), range, if_none_match: None };
            assert_eq!(&conditions.select(etag, 10), expected);
        }
    }

    proptest! {
        #[test]
        fn selected_parts_exist(range in "bytes=[0-9,-]{0,20}|.{0,20}", total in 0..1000_u64) {
            if let Selection::Parts(parts) = select(&range, total) {
                prop_assert!(!parts.is_empty());
                for (from, len) in parts {
                    prop_assert!(len > 0 && from + len <= total);
                }
            }
        }

        #[test]
        fn tags_never_panic(tags in prop::collection::vec(any::<u8>(), 0..40)) {
            let conditions = Preconditions { if_none_match: Some(&tags), ..Default::default() };
            let found = conditions.select(Some("\"k\""), 10);
            prop_assert!(matches!(found, Selection::Whole | Selection::NotModified));
        }
    }
}
