//! Which members of a group a content is for (preferred-content §7).

use gannet_core::{Key, Uuid};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A member of a group, and what is known of its space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub(super) uuid: &'a Uuid,
    pub(super) has_it: bool,
    /// How many bytes it may hold.
    pub(super) max: Option<u64>,
    /// How many it holds.
    pub(super) size: Option<u64>,
}

impl Member<'_> {
    /// Whether there is room for a key of this size. Nothing is known to be in the way where
    /// something is not known.
    fn has_room(&self, key_size: u64) -> bool {
        let (Some(max), Some(size)) = (self.max, self.size) else { return true };
        let needed = if self.has_it { size } else { size.saturating_add(key_size) };
        needed <= max
    }

    /// The share of its space that would be free if it had not got the key. `None` if it has no
    /// space at all, or nobody knows how much.
    fn free(&self, key_size: u64) -> Option<f64> {
        let max = self.max.filter(|&max| max > 0)?;
        let others =
            i128::from(self.size.unwrap_or(0)) - if self.has_it { i128::from(key_size) } else { 0 };
        #[expect(clippy::cast_precision_loss, reason = "the reference computes with doubles, too")]
        Some((i128::from(max) - others) as f64 / max as f64)
    }
}

/// The members that have room for a key, sorted, each with the same right to it.
#[derive(Clone, Debug)]
pub(super) struct Ring<'a> {
    candidates: Vec<&'a Uuid>,
    /// The first one that the key is for. If it shall be in more, the next ones follow.
    start: usize,
}

impl<'a> Ring<'a> {
    /// The ring of these members, which are sorted. Clusters take part in the hash that decides,
    /// but get nothing.
    pub(super) fn new(members: &[Member<'a>], key: &Key) -> Self {
        let key_size = key.size().unwrap_or(0);
        let may =
            |member: &&Member<'_>| member.has_room(key_size) && member.uuid.as_cluster().is_none();
        let candidates: Vec<_> = members.iter().filter(may).map(|member| member.uuid).collect();
        let secret: String = members.iter().map(|member| member.uuid.as_str()).collect();
        let start = remainder(&hmac(secret.as_bytes(), key.as_bytes()), candidates.len());
        Self { candidates, start }
    }

    /// Those of them that shall have the key if so many shall.
    pub(super) fn takers(&self, copies: i64) -> impl Iterator<Item = &'a Uuid> {
        let copies = number(copies).min(self.candidates.len());
        self.candidates.iter().copied().cycle().skip(self.start).take(copies)
    }
}

/// The members that shall have the key: those with the largest share of their space free.
pub(super) fn by_size<'a>(members: &[Member<'a>], key: &Key, copies: i64) -> Vec<&'a Uuid> {
    let key_size = key.size().unwrap_or(0);
    let sized = |member: &Member<'a>| {
        let member = Member { size: Some(member.size.unwrap_or(0)), ..*member };
        let free = member.free(key_size)?;
        (member.has_room(key_size) && member.uuid.as_cluster().is_none())
            .then_some((member.uuid, free))
    };
    let mut candidates: Vec<_> = members.iter().filter_map(sized).collect();
    candidates.sort_by(|(a, free_a), (b, free_b)| free_b.total_cmp(free_a).then(b.cmp(a)));
    candidates.truncate(number(copies));
    candidates.into_iter().map(|(uuid, _)| uuid).collect()
}

fn hmac(secret: &[u8], message: &[u8]) -> [u8; 32] {
    // A key of any length will do.
    let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(secret) else { return [0; 32] };
    hmac.update(message);
    hmac.finalize().into_bytes().into()
}

fn number(copies: i64) -> usize {
    usize::try_from(copies.max(0)).unwrap_or(usize::MAX)
}

/// The remainder of a number, written with its most significant byte first; 0 without divisor.
fn remainder(number: &[u8], divisor: usize) -> usize {
    if divisor == 0 {
        return 0;
    }
    let divisor = divisor as u128;
    let rest = number.iter().fold(0, |rest, &byte| (rest * 256 + u128::from(byte)) % divisor);
    usize::try_from(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(uuids: &[Uuid]) -> Vec<Member<'_>> {
        let member = |uuid| Member { uuid, has_it: false, max: None, size: None };
        uuids.iter().map(member).collect()
    }

    fn uuids(names: impl Iterator<Item = String>) -> Vec<Uuid> {
        let mut uuids: Vec<_> = names.map(|name| Uuid::parse(name.as_bytes()).unwrap()).collect();
        uuids.sort();
        uuids
    }

    fn takers(ring: &Ring<'_>, copies: i64) -> Vec<String> {
        ring.takers(copies).map(ToString::to_string).collect()
    }

    /// Seen with the reference (preferred-content §7).
    #[test]
    fn keys_go_where_the_reference_sends_them() {
        let uuids = uuids((1..4).map(|n| format!("0000000{n}-0000-4000-8000-00000000000{n}")));
        let f0 = b"SHA256-s7--41b3fbbe4d8d6bbd44c4b610bb678c55dd53fdbe9a3ed257057ee1edf5136f5b";
        let f2 = b"SHA256-s7--0b7e1391e807365614c548fd10a4a543cf0654268529f3fe768ed7042624c006";
        for (key, all, one_is_full) in [(f0, [1, 2, 0], 2), (f2, [0, 1, 2], 2)] {
            let key = Key::parse(key).unwrap();
            let mut members = members(&uuids);
            let ring = Ring::new(&members, &key);
            for copies in -1..5 {
                let expected = all.iter().take(number(copies)).map(|&n| uuids[n].to_string());
                assert_eq!(takers(&ring, copies), expected.collect::<Vec<_>>());
            }
            members[0].max = Some(1);
            members[0].size = Some(0);
            let ring = Ring::new(&members, &key);
            assert_eq!(takers(&ring, 1), [uuids[one_is_full].to_string()]);
        }
        assert!(takers(&Ring::new(&[], &Key::parse(f0).unwrap()), 3).is_empty());
    }

    #[test]
    fn the_choice_is_stable() {
        let uuids = uuids((1..=500).map(|n| n.to_string()));
        let ring = Ring::new(&members(&uuids), &Key::parse(b"WORM--test").unwrap());
        assert_eq!(takers(&ring, 3), ["332", "333", "334"]);
    }

    #[test]
    fn the_emptiest_come_first_and_of_equals_the_last() {
        let uuids = uuids((1..5).map(|n| n.to_string()));
        let key = Key::parse(b"WORM-s100--test").unwrap();
        let mut members = members(&uuids);
        for (member, max) in members.iter_mut().zip([1000, 1000, 100, 0]) {
            member.max = Some(max);
        }
        let names = |members: &[Member<'_>], copies| -> Vec<String> {
            by_size(members, &key, copies).into_iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(&members, 9), ["3", "2", "1"]);
        for (member, size) in members.iter_mut().zip([900, 500, 0]) {
            member.size = Some(size);
        }
        assert_eq!(names(&members, 2), ["3", "2"]);
        assert_eq!(names(&members, 0), [""; 0]);
        members[2].size = Some(1);
        assert_eq!(names(&members, 9), ["2", "1"]);
        members[2].has_it = true;
        assert_eq!(names(&members, 1), ["3"]);
    }
}
