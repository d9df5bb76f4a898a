//! Servers that send us elsewhere, and change their minds about who may come in.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use gannet_core::{Annex, Error};
use gannet_testkit::Sample;
use gannet_wire::http::Login;
use tokio::net::TcpListener;

use super::script::{ABSENT, NOTHING, Script, json, login_of, target_of};
use super::{asker, file};
use crate::remote::http::{HttpRemote, Known, SignIn};

#[tokio::test]
async fn a_login_does_not_go_to_another_server() {
    let there = Script::new(|head| match login_of(head) {
        None => format!("401 Unauthorized\r\n{CHALLENGE}Content-Length: 0\r\n\r\n"),
        Some(_) => ABSENT.to_owned(),
    })
    .await;
    let moved = there.url();
    let here = Script::new(move |head| match login_of(head) {
        None => format!("401 Unauthorized\r\n{CHALLENGE}Content-Length: 0\r\n\r\n"),
        Some(_) => format!("307 Moved\r\nLocation: {moved}{}\r\n{NOTHING}", target_of(head)),
    })
    .await;
    let remote = here.remote();
    let error = remote.check_present(&asker(), &Sample::secure(1, 1).key).await.unwrap_err();
    assert!(error.to_string().contains("after a redirect to another server"), "{error}");
    assert_eq!(here.heard().iter().filter(|head| login_of(head).is_some()).count(), 1);
    let heard = there.heard();
    assert!(!heard.is_empty() && heard.iter().all(|head| login_of(head).is_none()), "{heard:?}");
}

#[tokio::test]
async fn not_every_redirect_is_followed() {
    let places = [
        ("/elsewhere", "something else"),
        ("https://", "to nowhere"),
        ("ftp://127.0.0.1{target}", "scheme"),
        ("{target}", "ask again"),
        ("/moved{target}", "ask again"),
    ];
    for (place, why) in places {
        let here = Script::new(move |head| {
            let place = place.replace("{target}", target_of(head));
            format!("308 Moved\r\nLocation: {place}\r\n{NOTHING}")
        })
        .await;
        let error = here.remote().check_present(&asker(), &Sample::secure(1, 1).key).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(why), "{place}: {error}");
        assert!(here.heard().len() <= 10, "{place}: {}", here.heard().len());
    }
    for status in ["302 Found", "303 See Other"] {
        let here = Script::new(move |head| {
            format!("{status}\r\nLocation: /moved{}\r\n{NOTHING}", target_of(head))
        })
        .await;
        let error = here.remote().check_present(&asker(), &Sample::secure(1, 1).key).await;
        assert!(error.unwrap_err().to_string().contains("not followed"));
        assert_eq!(here.heard().len(), 1);
    }
}

#[tokio::test]
async fn who_was_sent_where_nobody_is_comes_back() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let here = Script::new(move |head| {
        static REDIRECTED: Mutex<bool> = Mutex::new(false);
        let mut redirected = REDIRECTED.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *redirected, true) {
            false => {
                format!("307 Moved\r\nLocation: http://{gone}{}\r\n{NOTHING}", target_of(head))
            }
            true => ABSENT.to_owned(),
        }
    })
    .await;
    let (remote, key) = (here.remote(), Sample::secure(1, 1).key);
    assert!(remote.check_present(&asker(), &key).await.is_err());
    assert!(!remote.check_present(&asker(), &key).await.unwrap());
}

/// A body can be sent once only; so the next put asks before it sends one.
#[tokio::test]
async fn a_put_finds_out_that_another_login_is_wanted() {
    let wanted = Arc::new(Mutex::new("Basic cnc6cHc="));
    let here = Script::new({
        let wanted = Arc::clone(&wanted);
        move |head| {
            let wanted = *wanted.lock().unwrap();
            match login_of(head) {
                Some(login) if login == wanted && head.contains("/put?") => {
                    json("{\"stored\":true,\"plusuuids\":[]}")
                }
                Some(login) if login == wanted => json("{\"offset\":0}"),
                _ => format!("401 Unauthorized\r\n{CHALLENGE}Content-Length: 0\r\n\r\n"),
            }
        }
    })
    .await;
    let logins = Logins(Mutex::new(vec!["new", "pw"]));
    let (remote, asker) = (here.remote_of(logins), asker());
    let put = async |remote: &HttpRemote| {
        let sample = Sample::secure(1, 100);
        remote.put(&asker, &sample.key, &file(), sample.content(0)).await
    };
    put(&remote).await.unwrap();
    *wanted.lock().unwrap() = "Basic cnc6bmV3";
    let error = put(&remote).await.unwrap_err();
    assert!(matches!(&error, Error::Remote { why, .. } if why.contains("401")), "{error}");
    put(&remote).await.unwrap();
}

#[tokio::test]
async fn who_reads_logins_in_another_alphabet_is_told_in_that() {
    // As git-annex does, whatever the standard says.
    let here = Script::new(|head| match login_of(head) {
        None => format!("401 Unauthorized\r\n{CHALLENGE}Content-Length: 0\r\n\r\n"),
        Some("Basic cnc6Pz8_Pj4-") => ABSENT.to_owned(),
        Some(_) => format!("400 Bad Request\r\n{NOTHING}"),
    })
    .await;
    let login = Login { user: b"rw".to_vec(), password: b"???>>>".to_vec() };
    let remote = here.remote_of(Known(Some(login)));
    for _ in 0..2 {
        assert!(!remote.check_present(&asker(), &Sample::secure(1, 1).key).await.unwrap());
    }
    assert_eq!(here.heard().len(), 4, "{:?}", here.heard());
}

/// Each login is given once.
struct Logins(Mutex<Vec<&'static str>>);

#[async_trait]
impl SignIn for Logins {
    async fn login(&self, _challenges: &[String]) -> Option<Login> {
        let password = self.0.lock().unwrap().pop()?;
        Some(Login { user: b"rw".to_vec(), password: password.into() })
    }
    async fn accepted(&self, _login: &Login) {}
    async fn rejected(&self, _login: &Login) {}
}

const CHALLENGE: &str = "WWW-Authenticate: Basic realm=\"git-annex\", charset=\"UTF-8\"\r\n";
