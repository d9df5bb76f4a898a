//! Who we are to a server: where git-annex keeps that (remotes §7, §8).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gannet_core::Credentials;
use object_store::aws::AwsCredential;

use crate::remote::special::Unusable;

/// A key id and its secret. Nothing that is printed shows the secret.
#[derive(PartialEq, Eq)]
pub struct S3Credentials(pub(super) AwsCredential);

impl S3Credentials {
    /// The first that there are: in the environment, those that the repository keeps for the
    /// remote, or those in its settings.
    ///
    /// # Errors
    /// When the first that there are make no sense.
    pub fn find(
        environment: impl Fn(&str) -> Option<OsString>,
        kept: Option<&Credentials>,
        settings: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<Option<Self>, Unusable> {
        let variable = |name| environment(name).filter(|value| !value.is_empty());
        if let (Some(id), Some(secret)) = (variable(KEY_ID), variable(SECRET_KEY)) {
            let [id, secret] = [id, secret].map(OsString::into_encoded_bytes);
            let token = variable(TOKEN).map(OsString::into_encoded_bytes);
            return Self::new(&id, &secret, token.as_deref()).map(Some);
        }
        let embedded = || {
            let text = BASE64_STANDARD.decode(settings.get(EMBEDDED)?);
            Some(text.ok().and_then(|text| Credentials::parse(&text)).ok_or(BAD))
        };
        match kept.cloned().map(Ok).or_else(embedded).transpose()? {
            Some(found) => Self::new(&found.user, &found.password, None).map(Some),
            None => Ok(None),
        }
    }

    fn new(id: &[u8], secret: &[u8], token: Option<&[u8]>) -> Result<Self, Unusable> {
        let word = |text: &[u8]| match text.is_empty() || !text.iter().all(u8::is_ascii_graphic) {
            true => Err(BAD),
            false => String::from_utf8(text.to_vec()).map_err(|_| BAD),
        };
        let token = token.map(word).transpose()?;
        Ok(Self(AwsCredential { key_id: word(id)?, secret_key: word(secret)?, token }))
    }
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3Credentials(..)")
    }
}

const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";
const EMBEDDED: &[u8] = b"s3creds";
const BAD: Unusable = Unusable::Credentials("they are not a key id and a secret");

#[cfg(test)]
mod tests {
    use super::*;

    fn find(
        environment: &[(&str, &str)],
        kept: Option<&str>,
        embedded: Option<&str>,
    ) -> Result<Option<[String; 3]>, Unusable> {
        let settings = embedded.map(|text| (EMBEDDED.to_vec(), text.as_bytes().to_vec()));
        let variable = |name: &str| {
            environment.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).into())
        };
        let kept = kept.map(|text| Credentials::parse(text.as_bytes()).unwrap());
        let found = S3Credentials::find(variable, kept.as_ref(), &settings.into_iter().collect());
        let shown = |it: S3Credentials| {
            assert_eq!(format!("{it:?}"), "S3Credentials(..)");
            [it.0.key_id, it.0.secret_key, it.0.token.unwrap_or_default()]
        };
        found.map(|found| found.map(shown))
    }

    #[test]
    fn the_first_that_there_are_count() {
        let both = [(KEY_ID, "me"), (SECRET_KEY, "a/b+c")];
        let kept = Some("kept\nsecret\n");
        // "inlaid\nsecret\n", as git-annex writes it.
        let embedded = Some("aW5sYWlkCnNlY3JldAo=");
        let three =
            |id: &str, secret: &str, token: &str| Ok(Some([id, secret, token].map(str::to_owned)));
        assert_eq!(find(&both, kept, embedded), three("me", "a/b+c", ""));
        let with_token = [both[0], both[1], (TOKEN, "for=now")];
        assert_eq!(find(&with_token, None, None), three("me", "a/b+c", "for=now"));
        assert_eq!(find(&both[..1], kept, embedded), three("kept", "secret", ""));
        assert_eq!(find(&[(KEY_ID, ""), both[1]], None, embedded), three("inlaid", "secret", ""));
        assert_eq!(find(&[], None, None), Ok(None));
    }

    #[test]
    fn what_could_not_be_sent_is_none() {
        for kept in ["a\n\n", "\nb", "a b\nc", "a\nb\r", "ä\nb"] {
            assert_eq!(find(&[], Some(kept), None), Err(BAD), "{kept:?}");
        }
        for embedded in ["?", "", "b25lIGxpbmU="] {
            assert_eq!(find(&[], None, Some(embedded)), Err(BAD), "{embedded:?}");
        }
        let token = [(KEY_ID, "a"), (SECRET_KEY, "b"), (TOKEN, "a\nb")];
        assert_eq!(find(&token, None, None), Err(BAD));
    }
}
