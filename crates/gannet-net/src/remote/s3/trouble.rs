//! What went wrong, in words that help.

use gannet_core::{Error, Key};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

/// Why a request was of no use.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The server said so.
    Refused(Refusal),
    /// There was no reply, or not all of it.
    Broken(String),
    /// Nothing moved for too long.
    Stalled,
    /// Our own bytes could not be read.
    Source,
    /// What was permitted is not any more; nothing was sent.
    TooLate,
}

/// The reply of a server that did not do it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: String,
    message: String,
    region: Option<String>,
}

impl Refusal {
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let region = headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
        Self {
            status,
            code: element(&body, "Code"),
            message: element(&body, "Message"),
            region: region.map(shown).filter(|region| !region.is_empty()),
        }
    }

    /// The server knows the bucket: then a 404 is about the object.
    pub(super) fn is_of_object(&self) -> bool {
        self.status == StatusCode::RANGE_NOT_SATISFIABLE
            || (self.status == StatusCode::NOT_FOUND && self.code == "NoSuchKey")
    }

    /// It would have failed for a moment only, had it a status that says so.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.code.as_str(), "InternalError" | "SlowDown" | "ServiceUnavailable")
    }

    /// The same, had it come with another status.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    fn why(&self) -> String {
        let Self { status, code, message, region } = self;
        let hint = match code.as_str() {
            "NoSuchBucket" => "there is no such bucket",
            "RequestTimeTooSkewed" => "the clock here differs too much from the server's",
            "InvalidAccessKeyId" => "the server does not know the access key id",
            "SignatureDoesNotMatch" => "the secret access key is wrong, or the region",
            "ExpiredToken" | "InvalidToken" => "the session token is not valid any more",
            "InvalidObjectState" => "the object is archived, and must be restored first",
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect" => {
                "the bucket is in another region"
            }
            "" if status.is_redirection() => "the bucket is in another region, or elsewhere",
            "" if *status == StatusCode::FORBIDDEN => {
                "the credentials are wrong, or may not do this, or may not list the bucket and the \
                 object is not there"
            }
            "" if *status == StatusCode::NOT_FOUND => "this does not seem to be an S3 server",
            _ => message.as_str(),
        };
        let mut why = status.to_string();
        for part in [code.as_str(), hint].into_iter().filter(|part| !part.is_empty()) {
            why = format!("{why}: {part}");
        }
        match region {
            Some(region) if status.is_redirection() || status.is_client_error() => {
                format!("{why} (region={region})")
            }
            _ => why,
        }
    }
}

impl Trouble {
    pub(super) fn error(self, place: &str, name: &Key) -> Error {
        let fault = |why| Error::Remote { place: place.to_owned(), why };
        match self {
            Self::Refused(refusal) if refusal.is_of_object() => {
                match refusal.status == StatusCode::NOT_FOUND {
                    true => Error::Missing { key: name.clone() },
                    false => Error::Interrupted, // it has become shorter
                }
            }
            Self::Refused(refusal) => fault(refusal.why()),
            Self::Broken(why) => fault(why),
            Self::Stalled => Error::Stalled,
            Self::Source => Error::Interrupted,
            Self::TooLate => fault("the time in which to remove is over".to_owned()),
        }
    }
}

/// The text of the first element of that name.
fn element(xml: &str, name: &str) -> String {
    let text = xml.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once("</"));
    text.map(|(text, _)| shown(text)).unwrap_or_default()
}

/// A part of a reply, fit for a line of text.
fn shown(text: &str) -> String {
    text.chars()
        .take(CHARS_MAX)
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect::<String>()
        .trim()
        .to_owned()
}

const CHARS_MAX: usize = 300;
