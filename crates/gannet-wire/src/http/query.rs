//! The query of a request: percent-encoded names and values (p2p-http §2).

use std::borrow::Cow;

use gannet_core::{AssociatedFile, Uuid};
use percent_encoding::percent_decode;

use super::call::digits;
use super::refusal::{BadText, Refusal};
use crate::spell;

/// A query, read anew for each parameter: there are few, and most requests have three.
pub(super) struct Query<'a>(&'a [u8]);

impl<'a> Query<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The first value of `name`. A name without `=` counts as absent.
    pub(super) fn first(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.all(name).next()
    }

    /// Who asks, if that is told.
    pub(super) fn client(&self) -> Result<Option<Uuid>, Refusal> {
        let Some(text) = self.first("clientuuid") else { return Ok(None) };
        let bad = |why| Refusal::Parameter("clientuuid", why);
        let text = spell::read(&text).map_err(|_| bad(BadText::Spelling))?;
        if text.is_empty() {
            return Err(bad(BadText::Empty));
        }
        Ok(Some(spell::client_uuid(&text).map_err(|_| bad(BadText::Empty))?))
    }

    /// Who asks, where that must be told.
    pub(super) fn required_client(&self) -> Result<Uuid, Refusal> {
        self.client()?.ok_or(Refusal::Missing("clientuuid"))
    }

    /// The gateways to be bypassed. What is no uuid names none, and is left out.
    pub(super) fn bypass(&self) -> Result<Vec<Uuid>, Refusal> {
        let bad = |why| Refusal::Parameter("bypass", why);
        let mut uuids = Vec::new();
        for text in self.all("bypass") {
            let text = spell::read(&text).map_err(|_| bad(BadText::Spelling))?;
            if text.is_empty() {
                return Err(bad(BadText::Empty));
            }
            uuids.extend(Uuid::parse(&text));
        }
        Ok(uuids)
    }

    /// The associated file; none if empty or absent.
    pub(super) fn file(&self) -> Result<AssociatedFile, Refusal> {
        let Some(text) = self.first("associatedfile") else {
            return Ok(AssociatedFile::default());
        };
        let file = spell::read(&text)
            .map_err(|_| Refusal::Parameter("associatedfile", BadText::Spelling))?;
        Ok(AssociatedFile(file.into_owned().into()))
    }

    /// The offset; 0 if absent.
    pub(super) fn offset(&self) -> Result<u64, Refusal> {
        match self.first("offset") {
            None => Ok(0),
            Some(text) => {
                digits(&text).flatten().ok_or(Refusal::Parameter("offset", BadText::Number))
            }
        }
    }

    /// Whether the content came another way.
    pub(super) fn data_present(&self) -> Result<bool, Refusal> {
        match self.first("data-present") {
            None => Ok(false),
            Some(text) if text.eq_ignore_ascii_case(b"true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case(b"false") => Ok(false),
            Some(_) => Err(Refusal::Parameter("data-present", BadText::Truth)),
        }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = Cow<'a, [u8]>> {
        self.0.split(|&byte| byte == b'&').filter_map(move |pair| {
            let equals = pair.iter().position(|&byte| byte == b'=')?;
            let (found, value) = (&pair[..equals], &pair[equals + 1..]);
            (decode(found).as_ref() == name.as_bytes()).then(|| decode(value))
        })
    }
}

/// Undoes percent-encoding, where `+` is a space.
fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'+') {
        return percent_decode(text).into();
    }
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced).collect::<Vec<u8>>().into()
}
