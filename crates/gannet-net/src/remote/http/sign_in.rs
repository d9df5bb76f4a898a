//! Who we are, when a server wants to know.

use async_trait::async_trait;
use gannet_wire::http::Login;

use super::AnnexUrl;

/// Knows users and passwords: asks a person, a file, or `git credential` (p2p-http §7.4).
#[async_trait]
pub trait SignIn: Send + Sync + 'static {
    /// Called when a server wants a login. `None`: there is none; the request then fails.
    ///
    /// `challenges` are the values of `WWW-Authenticate`.
    async fn login(&self, challenges: &[String]) -> Option<Login>;
    /// The server took this login.
    async fn accepted(&self, login: &Login);
    /// The server did not take it; it is of no more use.
    async fn rejected(&self, login: &Login);
}

/// A login that is known from the start, or none at all.
#[derive(Clone, Debug, Default)]
pub struct Known(pub Option<Login>);

impl Known {
    /// What stands in the URL, if both user and password do.
    #[must_use]
    pub fn from_url(url: &AnnexUrl) -> Self {
        let login = url.password().map(|password| Login {
            user: url.user().as_bytes().to_vec(),
            password: password.as_bytes().to_vec(),
        });
        Self(login)
    }
}

#[async_trait]
impl SignIn for Known {
    async fn login(&self, _challenges: &[String]) -> Option<Login> {
        self.0.clone()
    }
    async fn accepted(&self, _login: &Login) {}
    async fn rejected(&self, _login: &Login) {}
}
