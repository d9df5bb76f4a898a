//! Contents on their way out (p2p-http §3.1).

use bytes::Bytes;
use gannet_core::{AssociatedFile, Content, Error, Key, Result, Span};
use gannet_wire::http::{Action, DATA_LENGTH, OCTETS, Preconditions, Selection, etag};
use hyper::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, IF_RANGE, RANGE,
};
use hyper::{Response, StatusCode};

use super::answer::{Draft, Errand};
use super::fault::Fault;
use super::outgoing::Segment;
use crate::watched::Doubt;

impl Errand<'_> {
    /// The versioned route, for git-annex: chunked, so that a body that ends too early is still
    /// a well-formed one; `Range` is ignored.
    pub(super) async fn get(
        &self,
        key: &Key,
        file: &AssociatedFile,
        offset: u64,
    ) -> Result<Draft, Fault> {
        let content = self.open(key, file, Span::starting_at(offset)).await?;
        let mut head = Response::new(());
        let headers = head.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
        headers.insert(DATA_LENGTH, HeaderValue::from(content.len));
        let segments = vec![Segment::content(content, Doubt::Shorten)];
        Ok(Draft { head, segments, sized: false, permit: None })
    }

    /// The unversioned route, for everybody else.
    pub(super) async fn get_plainly(&self, action: Action) -> Result<Draft, Fault> {
        let Action::Get { key, file, .. } = action else {
            return Err(self.fault(&Error::Internal("an unversioned call of another kind".into())));
        };
        let content = self.open(&key, &file, Span::ALL).await?;
        let total = content.total;
        let etag = etag(&key);
        let all = |name: HeaderName| joined(&self.request.headers, name);
        let (if_none_match, if_range, range) = (all(IF_NONE_MATCH), all(IF_RANGE), all(RANGE));
        let preconditions = Preconditions {
            if_none_match: if_none_match.as_deref(),
            if_range: if_range.as_deref(),
            // Of a HEAD, no part can be asked for.
            range: range.as_deref().filter(|_| !self.head_only),
        };
        let mut head = Response::new(());
        let headers = head.headers_mut();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(etag) = etag.as_deref() {
            let etag = HeaderValue::from_str(etag);
            headers.extend(etag.into_iter().map(|etag| (ETAG, etag)));
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
        let (status, segments) = match preconditions.select(etag.as_deref(), total) {
            Selection::NotModified => {
                headers.remove(CONTENT_TYPE);
                (StatusCode::NOT_MODIFIED, Vec::new())
            }
            Selection::Unsatisfiable => {
                headers.insert(CONTENT_RANGE, value(&format!("bytes */{total}"))?);
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                let text = Bytes::from_static(b"no such range: the content is shorter\n");
                (StatusCode::RANGE_NOT_SATISFIABLE, vec![Segment::Text(text)])
            }
            Selection::Whole => {
                headers.insert(DATA_LENGTH, HeaderValue::from(total));
                (StatusCode::OK, vec![Segment::content(content, Doubt::Abort)])
            }
            Selection::Parts(parts) => {
                drop(content);
                (
                    StatusCode::PARTIAL_CONTENT,
                    self.parts(&key, &file, &parts, total, headers).await?,
                )
            }
        };
        *head.status_mut() = status;
        Ok(Draft { head, segments, sized: status != StatusCode::NOT_MODIFIED, permit: None })
    }

    async fn parts(
        &self,
        key: &Key,
        file: &AssociatedFile,
        parts: &[(u64, u64)],
        total: u64,
        headers: &mut HeaderMap,
    ) -> Result<Vec<Segment>, Fault> {
        let mut segments = Vec::new();
        if let [(from, len)] = *parts {
            headers.insert(DATA_LENGTH, HeaderValue::from(len));
            headers.insert(CONTENT_RANGE, value(&content_range(from, len, total))?);
            segments.push(self.part(key, file, from, len, total).await?);
            return Ok(segments);
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| self.fault(&Error::Internal(format!("no random numbers: {error}"))))?;
        let boundary = format!("{:032x}", u128::from_ne_bytes(random));
        for &(from, len) in parts {
            let range = content_range(from, len, total);
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {OCTETS}\r\nContent-Range: {range}\r\n\r\n"
            );
            segments.push(Segment::Text(head.into()));
            segments.push(self.part(key, file, from, len, total).await?);
        }
        segments.push(Segment::Text(format!("\r\n--{boundary}--\r\n").into()));
        let kind = format!("multipart/byteranges; boundary={boundary}");
        headers.insert(CONTENT_TYPE, value(&kind)?);
        Ok(segments)
    }

    async fn part(
        &self,
        key: &Key,
        file: &AssociatedFile,
        from: u64,
        len: u64,
        total: u64,
    ) -> Result<Segment, Fault> {
        let content = self.open(key, file, Span { from, to: Some(from + len) }).await?;
        if content.total != total || content.len != len {
            return Err(Fault::overloaded("the content is changing"));
        }
        Ok(Segment::content(content, Doubt::Abort))
    }

    async fn open(&self, key: &Key, file: &AssociatedFile, span: Span) -> Result<Content, Fault> {
        let content = self.annex.get(&self.asker, key, file, span).await;
        content.map_err(|error| self.fault(&error))
    }
}

fn content_range(from: u64, len: u64, total: u64) -> String {
    format!("bytes {from}-{}/{total}", from + len - 1)
}

/// The values of a header that may stand in one line or in several.
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<Vec<u8>> {
    let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!values.is_empty()).then(|| values.join(&b", "[..]))
}

fn value(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text)
        .map_err(|_| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "a header could not be written"))
}
