//! Terms: what an expression can say about a content (preferred-content §5).

use super::glob::{Glob, Kind, chars};
use super::number::{number, size, whole};

/// One term.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    Anything,
    Nothing,
    Present,
    Include(Glob),
    Exclude(Glob),
    InPreferredDir,
    LargerThan(i128),
    SmallerThan(i128),
    Copies { of: CopiesOf, at_least: i64 },
    LackingCopies { at_least: i64, approximately: bool },
    InAllGroup(String),
    OnlyInGroup(String),
    InBackend(String),
    SecureHash,
    Metadata { field: String, test: ValueTest },
    Url(Glob),
    Unused,
    Balanced(Balanced),
    Standard,
    GroupWanted,
}

/// Which copies are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CopiesOf {
    All,
    /// In repositories that are trusted so far.
    Trust(gannet_core::Trust),
    /// So far, or farther.
    TrustFrom(gannet_core::Trust),
    Group(String),
}

/// What is asked of a value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ValueTest {
    Like(Glob),
    /// It is less (`<`), or greater; or equal, too.
    Than {
        less: bool,
        or_equal: bool,
        text: String,
    },
}

/// A term that spreads contents over the members of a group (preferred-content §7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Balanced {
    /// Whether contents stay where they are.
    pub(super) stays: bool,
    /// By the space that is free, not by hash.
    pub(super) by_size: bool,
    pub(super) group: String,
    pub(super) copies: Copies,
}

/// How many members shall have a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copies {
    Number(i64),
    /// As many as are lacking.
    Lacking,
}

impl Term {
    /// Reads a term. `None` if there is none of this name, or not with this value.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::word(text).or_else(|| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            Self::with_value(name, value)
        })
    }

    /// Whether it says the opposite as soon as it is obeyed, when it is negated.
    pub(super) fn is_unstable(&self) -> bool {
        match self {
            Self::Present => true,
            Self::Balanced(balanced) => balanced.stays,
            _ => false,
        }
    }

    fn word(text: &str) -> Option<Self> {
        Some(match text {
            "anything" => Self::Anything,
            "nothing" => Self::Nothing,
            "present" => Self::Present,
            "inpreferreddir" => Self::InPreferredDir,
            "securehash" => Self::SecureHash,
            "unused" => Self::Unused,
            "standard" => Self::Standard,
            "groupwanted" => Self::GroupWanted,
            _ => return None,
        })
    }

    fn with_value(name: &str, value: &str) -> Option<Self> {
        Some(match name {
            "include" => Self::Include(Glob::parse(value, Kind::File)?),
            "exclude" => Self::Exclude(Glob::parse(value, Kind::File)?),
            "largerthan" => Self::LargerThan(size(value)?),
            "smallerthan" => Self::SmallerThan(size(value)?),
            "copies" => copies(value)?,
            "lackingcopies" => Self::lacking(value, false)?,
            "approxlackingcopies" => Self::lacking(value, true)?,
            "inallgroup" => Self::InAllGroup(value.to_owned()),
            "onlyingroup" => Self::OnlyInGroup(value.to_owned()),
            "inbackend" => Self::InBackend(value.to_owned()),
            "metadata" => metadata(value)?,
            "url" => Self::Url(Glob::parse(value, Kind::Text)?),
            "balanced" => balanced(value, true, false)?,
            "fullybalanced" => balanced(value, false, false)?,
            "sizebalanced" => balanced(value, true, true)?,
            "fullysizebalanced" => balanced(value, false, true)?,
            _ => return None,
        })
    }

    fn lacking(value: &str, approximately: bool) -> Option<Self> {
        Some(Self::LackingCopies { at_least: whole(value)?, approximately })
    }
}

impl ValueTest {
    /// Whether a value passes. Two numbers are compared as such.
    pub(super) fn passes(&self, value: &[u8]) -> bool {
        match self {
            Self::Like(glob) => glob.matches(&chars(value)),
            Self::Than { less, or_equal, text } => {
                let as_number = std::str::from_utf8(value).ok().and_then(number);
                let order = match (as_number, number(text)) {
                    (Some(value), Some(limit)) => value.partial_cmp(&limit),
                    _ => Some(chars(value).cmp(&chars(text.as_bytes()))),
                };
                order.is_some_and(|order| match order {
                    std::cmp::Ordering::Less => *less,
                    std::cmp::Ordering::Equal => *or_equal,
                    std::cmp::Ordering::Greater => !less,
                })
            }
        }
    }
}

fn copies(value: &str) -> Option<Term> {
    let (of, number) = match value.split_once(':') {
        None => (CopiesOf::All, value),
        Some((_, number)) if number.contains(':') => return None,
        Some((of, number)) => {
            let level = trust(of).map(CopiesOf::Trust);
            let from = || of.strip_suffix('+').and_then(trust).map(CopiesOf::TrustFrom);
            let of = level.or_else(from).unwrap_or_else(|| CopiesOf::Group(of.to_owned()));
            (of, number)
        }
    };
    Some(Term::Copies { of, at_least: whole(number)? })
}

fn trust(level: &str) -> Option<gannet_core::Trust> {
    Some(match level {
        "trusted" => gannet_core::Trust::Trusted,
        "semitrusted" => gannet_core::Trust::Semitrusted,
        "untrusted" => gannet_core::Trust::Untrusted,
        "dead" => gannet_core::Trust::Dead,
        _ => return None,
    })
}

fn balanced(value: &str, stays: bool, by_size: bool) -> Option<Term> {
    let (group, copies) = match value.split_once(':') {
        None => (value, Copies::Number(1)),
        Some((_, number)) if number.contains(':') => return None,
        Some((group, "lackingcopies")) => (group, Copies::Lacking),
        Some((group, number)) => (group, Copies::Number(whole(number)?)),
    };
    Some(Term::Balanced(Balanced { stays, by_size, group: group.to_owned(), copies }))
}

fn metadata(value: &str) -> Option<Term> {
    let end = value.find(['=', '<', '>']).unwrap_or(value.len());
    let (field, test) = value.split_at(end);
    let mut letters = field.chars();
    let legal = letters.next().is_some_and(char::is_alphanumeric)
        && letters.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !legal {
        return None;
    }
    let than = |less, test: &str| {
        let (or_equal, text) = match test.strip_prefix('=') {
            Some(text) => (true, text),
            None => (false, test),
        };
        ValueTest::Than { less, or_equal, text: text.to_owned() }
    };
    let test = match test.split_at_checked(1) {
        Some(("<", test)) => than(true, test),
        Some((">", test)) => than(false, test),
        Some((_, glob)) => ValueTest::Like(Glob::parse(glob, Kind::AnyCase)?),
        None => ValueTest::Like(Glob::parse("", Kind::AnyCase)?),
    };
    Some(Term::Metadata { field: field.to_lowercase(), test })
}
