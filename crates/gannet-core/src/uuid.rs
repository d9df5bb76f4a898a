//! The names of repositories and of clusters.

use std::fmt;
use std::sync::Arc;

/// The name of a repository: an opaque word, normally a version 4 UUID (repository §3.2).
///
/// It is safe as a file name: printable ASCII without white space or `/`, not `.` nor `..`, and at
/// most [`Uuid::BYTES_MAX`] bytes long.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(Arc<str>);

/// Text that is not a usable uuid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a uuid is 1 to {} printable characters without spaces or slashes", Uuid::BYTES_MAX)]
pub struct BadUuid;

impl Uuid {
    /// Longest accepted uuid in bytes. Real ones have 36.
    pub const BYTES_MAX: usize = 128;

    /// Reads a uuid.
    ///
    /// # Errors
    /// When it is empty, too long, or could not be a file name.
    pub fn parse(text: &[u8]) -> Result<Self, BadUuid> {
        let printable = text.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'/');
        let legal = (1..=Self::BYTES_MAX).contains(&text.len())
            && printable
            && text != b"."
            && text != b"..";
        match std::str::from_utf8(text) {
            Ok(text) if legal => Ok(Self(text.into())),
            _ => Err(BadUuid),
        }
    }

    /// Makes a version 4 UUID out of random bytes.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = String::with_capacity(36);
        for (place, byte) in bytes.into_iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        Self(text.into())
    }

    /// The web, as location logs call it.
    #[must_use]
    pub fn web() -> Self {
        Self("00000000-0000-0000-0000-000000000001".into())
    }

    /// The uuid as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The uuid as that of a cluster, if it has the form of one.
    #[must_use]
    pub fn as_cluster(&self) -> Option<ClusterUuid> {
        let bytes = self.0.as_bytes();
        (bytes.starts_with(b"ac") && bytes.get(14) == Some(&b'8'))
            .then(|| ClusterUuid(self.clone()))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a cluster: starts with `ac`, and has an `8` where a UUID has its version
/// (proxy-cluster §1). No repository has such a uuid, and no location log names one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterUuid(Uuid);

impl ClusterUuid {
    /// Makes a cluster uuid out of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        let mut text = Uuid::from_random(bytes).0.to_string();
        text.replace_range(0..2, "ac");
        text.replace_range(14..15, "8");
        Self(Uuid(text.into()))
    }

    /// The uuid under which the cluster is asked for.
    #[must_use]
    pub fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_safe_as_a_file_name() {
        for bad in ["", ".", "..", "a/b", "a b", "a\nb", "\u{e9}"] {
            assert_eq!(Uuid::parse(bad.as_bytes()), Err(BadUuid), "{bad:?}");
        }
        assert_eq!(Uuid::parse(&[b'a'; 129]), Err(BadUuid));
        for good in ["c1c1c1c1-0000-4000-8000-000000000002", "web", "..."] {
            assert!(Uuid::parse(good.as_bytes()).is_ok(), "{good}");
        }
    }

    #[test]
    fn clusters_are_known_by_their_form() {
        let cluster = ClusterUuid::from_random([0xff; 16]);
        assert_eq!(cluster.as_uuid().as_str(), "acffffff-ffff-8fff-bfff-ffffffffffff");
        assert_eq!(cluster.as_uuid().as_cluster(), Some(cluster.clone()));
        let plain = Uuid::from_random([0xac; 16]);
        assert_eq!(plain.as_str(), "acacacac-acac-4cac-acac-acacacacacac");
        assert_eq!(plain.as_cluster(), None);
    }
}
