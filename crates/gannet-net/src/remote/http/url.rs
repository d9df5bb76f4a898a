//! Where an HTTP remote is.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// An `annex+http://` or `annex+https://` URL (p2p-http §1).
///
/// `Display` shows it without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnexUrl {
    /// The same place over HTTP, below which `/git-annex/UUID/…` is found; its path has no slash
    /// at the end, unless it is nothing else, and it holds no user or password.
    base: Url,
    user: String,
    password: Option<String>,
}

/// Text that is no such URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It cannot be read at all.
    #[error("not a URL: {0}")]
    Syntax(String),
    /// It has another scheme.
    #[error("the URL of an HTTP remote begins with annex+http:// or annex+https://")]
    Scheme,
}

impl AnnexUrl {
    /// The user name that stands in the URL; empty if there is none.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password that stands in the URL.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }
}

impl FromStr for AnnexUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let http = text.strip_prefix("annex+").ok_or(BadUrl::Scheme)?;
        if !["http://", "https://"].iter().any(|scheme| http.starts_with(scheme)) {
            return Err(BadUrl::Scheme);
        }
        let bad = |error: &dyn fmt::Display| BadUrl::Syntax(error.to_string());
        let mut base = Url::parse(http).map_err(|error| bad(&error))?;
        // The parser drops a port that is the default of HTTP; for us that is another one.
        if base.port().is_none() && !names_port(http) {
            base.set_port(Some(DEFAULT_PORT)).map_err(|()| BadUrl::Scheme)?;
        }
        let user = decoded(base.username());
        let password = base.password().map(decoded);
        base.set_password(None).map_err(|()| BadUrl::Scheme)?;
        base.set_username("").map_err(|()| BadUrl::Scheme)?;
        base.set_query(None);
        base.set_fragment(None);
        let path = base.path().trim_end_matches('/');
        // Only a sole `git-annex` at the top is what requests repeat.
        let path = if path == "/git-annex" { "" } else { path }.to_owned();
        base.set_path(&path);
        Ok(Self { base, user, password })
    }
}

impl fmt::Display for AnnexUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "annex+{}", self.base)
    }
}

/// The base at which a server is to be found that answered the request for `target`, at the URL
/// `from`, by sending us to `location`. Or why we do not go there.
pub(super) fn moved(from: &Url, target: &str, location: &Url) -> Result<Url, String> {
    let base = location.as_str().strip_suffix(target).and_then(|base| Url::parse(base).ok());
    let base = base.ok_or(format!("redirects to {location}, which is something else"))?;
    if from.scheme() == "https" && base.scheme() != "https" {
        return Err(format!("redirects to {base}, which is not encrypted"));
    }
    Ok(base)
}

/// Whether the authority of the URL ends with `:` and digits.
fn names_port(url: &str) -> bool {
    let authority = url.split("://").nth(1).unwrap_or_default();
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let digits = authority.rsplit(':').next().unwrap_or_default();
    digits.len() < authority.len()
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

const DEFAULT_PORT: u16 = 9417;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_where_the_reference_finds_it() {
        let cases = [
            ("annex+http://h", "http://h:9417/"),
            ("annex+http://h/", "http://h:9417/"),
            ("annex+http://h/git-annex", "http://h:9417/"),
            ("annex+http://h/git-annex/", "http://h:9417/"),
            ("annex+http://h:80/git-annex/", "http://h/"),
            ("annex+https://h:443", "https://h/"),
            ("annex+https://h:8443/sub/dir/", "https://h:8443/sub/dir"),
            ("annex+http://h/sub/git-annex/", "http://h:9417/sub/git-annex"),
            ("annex+http://[::1]/x", "http://[::1]:9417/x"),
            ("annex+http://[::1]:7/x", "http://[::1]:7/x"),
            ("annex+http://a:b@h/x", "http://h:9417/x"),
        ];
        for (url, base) in cases {
            assert_eq!(AnnexUrl::from_str(url).unwrap().base.as_str(), base, "{url}");
        }
    }

    #[test]
    fn who_logs_in_may_stand_in_it() {
        let url: AnnexUrl = "annex+http://al%40ice:p%3Aw@h/".parse().unwrap();
        assert_eq!((url.user(), url.password()), ("al@ice", Some("p:w")));
        assert_eq!(url.to_string(), "annex+http://h:9417/");
    }

    #[test]
    fn what_was_encrypted_stays_so_and_what_was_asked_is_asked_there() {
        let target = "/git-annex/u/v4/checkpresent?key=x";
        let go = |from: &str, to: &str| {
            let url = |base: &str| Url::parse(base).unwrap();
            moved(&url(&format!("{from}{target}")), target, &url(to)).map(|base| base.to_string())
        };
        let to = |base: &str| format!("{base}{target}");
        assert_eq!(go("http://h", &to("http://g:7/x")), Ok("http://g:7/x".into()));
        assert_eq!(go("http://h", &to("https://h")), Ok("https://h/".into()));
        assert_eq!(go("https://h", &to("https://g")), Ok("https://g/".into()));
        assert!(go("https://h", &to("http://h")).unwrap_err().contains("not encrypted"));
        for other in ["http://h/login", "http://h/git-annex/u/v4/checkpresent?key=y"] {
            assert!(go("http://h", other).unwrap_err().contains("something else"));
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for url in ["http://h/", "annex+ftp://h/", "annex+http:h", "annex+http://", "ssh://h/", ""]
        {
            assert!(AnnexUrl::from_str(url).is_err(), "{url}");
        }
    }
}
