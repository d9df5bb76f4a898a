//! Parties who work on keys or files of their own, so that they know what the server has to say of
//! each: one speaks HTTP, the other lets the real git-annex do it.

mod annex;
mod http;

pub(super) use annex::AnnexParty;
pub(super) use http::HttpParty;

/// What is certain about content at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// That it is there was acknowledged.
    Present,
    /// That it is gone was acknowledged, or it never came.
    Absent,
    /// Nobody acknowledged the last attempt to change it.
    Unknown,
}

impl Fate {
    /// Tells whether the content may be there, or be absent.
    pub(super) fn allows(self, there: bool) -> bool {
        self == Self::Unknown || self == Self::of(there)
    }

    /// What is certain once somebody has looked.
    pub(super) fn of(there: bool) -> Self {
        if there { Self::Present } else { Self::Absent }
    }
}
