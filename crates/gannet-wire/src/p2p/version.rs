//! What the two sides of a connection agreed to say (p2p-line §3).

/// A version of the line protocol. A connection begins with version 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// All that needs no other version.
    #[default]
    V0,
    /// Adds `VALID` and `INVALID` after the data of a content.
    V1,
    /// Adds `BYPASS`, and lists of other repositories in replies.
    V2,
    /// Adds `GETTIMESTAMP` and `REMOVE-BEFORE`.
    V3,
    /// Adds `DATA-PRESENT`.
    V4,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 5] = [Self::V0, Self::V1, Self::V2, Self::V3, Self::V4];
    /// The newest.
    pub const NEWEST: Self = Self::V4;

    /// The number that `VERSION` says.
    #[must_use]
    pub fn number(self) -> u64 {
        self as u64
    }

    /// The version with this number, or the newest if there is none such yet.
    #[must_use]
    pub fn up_to(number: u64) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|at| Self::ALL.get(at).copied())
            .unwrap_or(Self::NEWEST)
    }

    /// Whether the data of a content is followed by `VALID` or `INVALID`.
    #[must_use]
    pub fn tells_validity(self) -> bool {
        self >= Self::V1
    }

    /// Whether replies may list other repositories, and `BYPASS` may be sent.
    #[must_use]
    pub fn lists_others(self) -> bool {
        self >= Self::V2
    }

    /// Whether `GETTIMESTAMP` and `REMOVE-BEFORE` may be sent.
    #[must_use]
    pub fn has_deadlines(self) -> bool {
        self >= Self::V3
    }

    /// Whether `DATA-PRESENT` may be sent.
    #[must_use]
    pub fn has_data_present(self) -> bool {
        self >= Self::V4
    }
}
