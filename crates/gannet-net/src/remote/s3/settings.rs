//! What `remote.log` says of a bucket: where it is, and how objects in it are called and stored
//! (remotes §8).

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use gannet_core::{Error, Key, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::remote::special::{Unusable, size};

/// A bucket, and what is special about the objects in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    pub(super) bucket: String,
    /// Name or address of the server, with its port if that is unusual.
    pub(super) host: String,
    /// How the urls of all objects begin.
    base: String,
    /// The same, for whoever has no credentials.
    pub(super) public: Option<String>,
    /// What the names of all objects begin with.
    prefix: Vec<u8>,
    /// For which region requests are signed.
    pub(super) region: String,
    /// Nothing is signed.
    pub(super) anonymous: bool,
    /// Larger objects are uploaded in parts of so many bytes.
    part: Option<NonZeroU64>,
    /// What objects are stored with.
    pub(super) headers: HeaderMap,
}

type Settings = BTreeMap<Vec<u8>, Vec<u8>>;

impl S3Settings {
    /// Reads the settings as they stand in `remote.log`, together with those of the remote that
    /// this one is the same as.
    ///
    /// # Errors
    /// When something is missing, makes no sense, or means what is not done here.
    pub fn read(settings: &Settings) -> Result<Self, Unusable> {
        let reader = Reader(settings);
        reader.check_nothing_else_is_meant()?;
        let bucket = reader.text("bucket")?.unwrap_or_default().to_ascii_lowercase();
        if bucket.is_empty() || !bucket.bytes().all(is_of_bucket) {
            return Err(unusable("bucket", &bucket, "there is no such bucket"));
        }
        let region = reader.region()?;
        let (host, base) = reader.base(&bucket, &region)?;
        let public = match reader.text("publicurl")? {
            Some(url) => Some(url.trim_end_matches('/').to_owned()),
            None if reader.is_set("public") => Some(base.clone()),
            None => None,
        };
        for url in public.iter().chain([&base]) {
            Url::parse(url).map_err(|_| unusable("url", url, "it is none"))?;
        }
        let partsize = match reader.text("partsize")? {
            Some(text) => size(text).ok_or_else(|| unusable("partsize", text, NO_SIZE))?,
            None => 0,
        };
        Ok(Self {
            host,
            base,
            public,
            prefix: settings.get(&b"fileprefix"[..]).cloned().unwrap_or_default(),
            region,
            anonymous: reader.text("signature")? == Some("anonymous"),
            part: NonZeroU64::new(partsize),
            headers: reader.headers()?,
            bucket,
        })
    }

    /// Where an object is.
    ///
    /// # Errors
    /// [`Error::Refused`] when no url leads there.
    pub(super) fn url(&self, name: &Key, public: bool) -> Result<Url> {
        let refused =
            |why: &str| Error::Refused { key: name.clone(), why: format!("{why}, for S3") };
        let name = [&self.prefix, name.as_bytes()].concat();
        if std::str::from_utf8(&name).is_err() {
            return Err(refused("its name is not UTF-8"));
        }
        let base = self.public.as_ref().filter(|_| public).unwrap_or(&self.base);
        let text = format!("{base}/{}", percent_encode(&name, ESCAPED));
        match Url::parse(&text) {
            // Segments with dots mean something else in urls.
            Ok(url) if url.as_str() == text => Ok(url),
            _ => Err(refused("its name has a segment that is `.` or `..`")),
        }
    }

    /// Of how many bytes the parts have to be in which an object of `bytes` is uploaded. `None`: it
    /// need not be cut.
    pub(super) fn part_bytes(&self, bytes: u64) -> Option<u64> {
        let wanted = match self.part {
            Some(part) => {
                let even = part.get() - part.get() % BLOCK_BYTES;
                even.clamp(PART_BYTES_MIN, AT_ONCE_BYTES_MAX)
            }
            None if bytes > AT_ONCE_BYTES_MAX => PART_BYTES,
            None => return None,
        };
        (bytes > wanted).then(|| wanted.max(bytes.div_ceil(PARTS_MAX)))
    }
}

/// Reads one setting after the other.
struct Reader<'a>(&'a Settings);

impl Reader<'_> {
    fn text(&self, name: &str) -> Result<Option<&str>, Unusable> {
        let Some(value) = self.0.get(name.as_bytes()) else { return Ok(None) };
        let text = std::str::from_utf8(value).ok().filter(|text| !text.contains(char::is_control));
        match text {
            Some(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            None => Err(unusable(name, &String::from_utf8_lossy(value), "it is no text")),
        }
    }

    fn is_set(&self, name: &str) -> bool {
        self.0.get(name.as_bytes()).is_some_and(|value| value == b"yes" || value == b"true")
    }

    fn check_nothing_else_is_meant(&self) -> Result<(), Unusable> {
        if self.is_set("versioning") {
            let why = "contents would have to be told apart by their versions";
            return Err(unusable("versioning", "yes", why));
        }
        let known: [(&str, &[&str], &str); 3] = [
            (
                "signature",
                &["v4", "anonymous"],
                "servers take v4 today, which is what is spoken here",
            ),
            ("requeststyle", &["path"], "there is no such style"),
            ("protocol", &["http", "https"], "there is no such protocol"),
        ];
        for (name, values, why) in known {
            match self.text(name)? {
                Some(other) if !values.contains(&other) => return Err(unusable(name, other, why)),
                _ => {}
            }
        }
        match self.text("host")? {
            // Names of objects are changed there, and requests are signed in another way.
            Some(host) if host.ends_with("archive.org") => {
                Err(unusable("host", host, "the Internet Archive is not supported"))
            }
            _ => Ok(()),
        }
    }

    fn region(&self) -> Result<String, Unusable> {
        let region = match (self.text("region")?, self.text("datacenter")?) {
            (Some(region), _) => region,
            (None, None | Some("US")) => "us-east-1",
            (None, Some("EU")) => "eu-west-1",
            (None, Some(other)) => other,
        };
        match region.bytes().all(is_of_bucket) {
            true => Ok(region.to_owned()),
            false => Err(unusable("region", region, "there is no such region")),
        }
    }

    /// The server, and how the urls of objects begin.
    fn base(&self, bucket: &str, region: &str) -> Result<(String, String), Unusable> {
        let host = match self.text("host")?.unwrap_or(AWS) {
            AWS if region == "us-east-1" => AWS.to_owned(),
            AWS => format!("s3.{region}.amazonaws.com"),
            other => other.to_owned(),
        };
        let bad = |name, value: &str| unusable(name, value, "there is no such server");
        let port = match self.text("port")? {
            Some(text) => text.parse().map_err(|_| bad("port", text))?,
            None => 80,
        };
        let protocol = self.text("protocol")?;
        let (protocol, port) = match (protocol, port) {
            (Some("https"), 80) | (_, 443) => ("https", 443),
            (protocol, port) => (protocol.unwrap_or("http"), port),
        };
        let port = match (protocol, port) {
            ("http", 80) | ("https", 443) => String::new(),
            (_, other) => {
                format!(":{}", u16::try_from(other).map_err(|_| bad("port", "too large"))?)
            }
        };
        let plain = format!("{protocol}://{host}{port}");
        let is_host = Url::parse(&plain).is_ok_and(|url| url.as_str() == format!("{plain}/"));
        if !is_host || host.contains('@') {
            return Err(bad("host", &host));
        }
        let base = match self.text("requeststyle")? {
            Some(_) => format!("{plain}/{bucket}"),
            None => format!("{protocol}://{bucket}.{host}{port}"),
        };
        Ok((format!("{host}{port}"), base))
    }

    fn headers(&self) -> Result<HeaderMap, Unusable> {
        let mut headers = HeaderMap::new();
        let mut add = |name: &str, value: &str| {
            let bad = || unusable(name, value, "it cannot be sent with an object");
            let header = HeaderName::try_from(name).map_err(|_| bad())?;
            headers.insert(header, HeaderValue::from_str(value).map_err(|_| bad())?);
            Ok(())
        };
        if let Some(class) = self.text("storageclass")?.filter(|class| *class != "STANDARD") {
            add("x-amz-storage-class", class)?;
        }
        if self.is_set("public") {
            add("x-amz-acl", "public-read")?;
        }
        for name in self.0.keys().filter_map(|name| std::str::from_utf8(name).ok()) {
            let lower = name.to_ascii_lowercase();
            if (lower.starts_with("x-amz-meta-") || lower == "x-amz-tagging")
                && let Some(value) = self.text(name)?
            {
                add(&lower, value)?;
            }
        }
        Ok(headers)
    }
}

fn is_of_bucket(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte)
}

fn unusable(name: &str, value: &str, why: &'static str) -> Unusable {
    Unusable::Setting { name: name.to_owned(), value: value.to_owned(), why }
}

/// All that signatures want escaped.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
const AWS: &str = "s3.amazonaws.com";
const NO_SIZE: &str = "it is no size";
/// git-annex cuts parts at multiples of that.
const BLOCK_BYTES: u64 = 32_752;
/// Limits of S3: of parts but the last, of what is uploaded at once, and how many parts there are.
const PART_BYTES_MIN: u64 = 5 << 20;
const AT_ONCE_BYTES_MAX: u64 = 5 << 30;
const PARTS_MAX: u64 = 10_000;
/// Where parts are needed but nobody said how large.
const PART_BYTES: u64 = 512 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<S3Settings, Unusable> {
        let pairs = [("bucket", "MyBucket")].iter().chain(pairs);
        let pairs =
            pairs.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        S3Settings::read(&pairs.collect())
    }

    fn url(pairs: &[(&str, &str)], name: &str) -> String {
        let settings = read(pairs).unwrap();
        settings.url(&Key::parse(name.as_bytes()).unwrap(), false).unwrap().to_string()
    }

    #[test]
    fn objects_are_where_git_annex_has_them() {
        let here = [("host", "localhost"), ("port", "9000")];
        for (pairs, expected) in [
            (vec![], "http://mybucket.s3.amazonaws.com/WORM--a"),
            (vec![("datacenter", "US")], "http://mybucket.s3.amazonaws.com/WORM--a"),
            (vec![("datacenter", "EU")], "http://mybucket.s3.eu-west-1.amazonaws.com/WORM--a"),
            (vec![("port", "443")], "https://mybucket.s3.amazonaws.com/WORM--a"),
            (
                vec![("protocol", "https"), ("port", "80"), ("region", "eu-south-2")],
                "https://mybucket.s3.eu-south-2.amazonaws.com/WORM--a",
            ),
            (here.to_vec(), "http://mybucket.localhost:9000/WORM--a"),
            (
                [&here[..], &[("requeststyle", "path")]].concat(),
                "http://localhost:9000/mybucket/WORM--a",
            ),
            (
                [
                    &here[..],
                    &[("requeststyle", "path"), ("protocol", "https"), ("fileprefix", "pre/fix- ")],
                ]
                .concat(),
                "https://localhost:9000/mybucket/pre/fix-%20WORM--a",
            ),
            (vec![("host", "[::1]"), ("requeststyle", "path")], "http://[::1]/mybucket/WORM--a"),
        ] {
            assert_eq!(url(&pairs, "WORM--a"), expected);
        }
    }

    #[test]
    fn names_are_escaped_but_not_changed() {
        let key = "URL-s1--http://host:1/a b//c%20?x=ü#&é~/";
        let escaped = "http://mybucket.s3.amazonaws.com/\
            URL-s1--http%3A//host%3A1/a%20b//c%2520%3Fx%3D%C3%BC%23%26%C3%A9~/";
        assert_eq!(url(&[], key), escaped);
        for (name, why) in [
            (&b"URL--http://a/../b"[..], "a segment"),
            (b"URL--http://a/.", "a segment"),
            (b"WORM--\xff", "not UTF-8"),
        ] {
            let key = Key::parse(name).unwrap();
            let error = read(&[]).unwrap().url(&key, false).unwrap_err();
            assert!(matches!(error, Error::Refused { .. }));
            assert!(error.to_string().contains(why), "{error}");
        }
        let public = read(&[("publicurl", "https://cdn.example/x/")]).unwrap();
        let key = Key::parse(b"WORM--a").unwrap();
        assert_eq!(public.url(&key, true).unwrap().as_str(), "https://cdn.example/x/WORM--a");
    }

    #[test]
    fn what_is_not_done_here_is_refused() {
        for (name, value, part) in [
            ("signature", "v2", "v4"),
            ("versioning", "yes", "versions"),
            ("requeststyle", "dance", "style"),
            ("protocol", "ftp", "protocol"),
            ("port", "many", "server"),
            ("port", "70000", "server"),
            ("host", "a/b", "server"),
            ("host", "me@there", "server"),
            ("host", "s3.us.archive.org", "Archive"),
            ("bucket", "a/b", "bucket"),
            ("bucket", "", "bucket"),
            ("region", "a/b", "region"),
            ("publicurl", "nowhere", "url"),
            ("partsize", "some", "size"),
            ("x-amz-meta-a", "a\nb", "text"),
            ("x-amz-meta-ä", "b", ""),
            ("storageclass", "ä\u{7f}", "text"),
        ] {
            let error = read(&[(name, value)]);
            let Err(error) = error else {
                assert_eq!(part, "", "{name}={value} is taken");
                continue;
            };
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn parts_have_the_size_that_s3_wants() {
        let part =
            |partsize: &str, bytes| read(&[("partsize", partsize)]).unwrap().part_bytes(bytes);
        assert_eq!(part("0", 1 << 30), None);
        assert_eq!(part("0", 6 << 30), Some(512 << 20));
        assert_eq!(part("6MiB", 192 * 32_752), None);
        assert_eq!(part("6MiB", 192 * 32_752 + 1), Some(192 * 32_752));
        assert_eq!(part("1MiB", 5 << 20), None);
        assert_eq!(part("1MiB", 6 << 20), Some(5 << 20));
        assert_eq!(part("6MiB", 1 << 40), Some((1u64 << 40).div_ceil(10_000)));
        assert_eq!(part("1TiB", 6 << 30), Some(5 << 30));
    }

    #[test]
    fn objects_are_stored_with_what_was_set() {
        let settings = read(&[
            ("x-amz-meta-Foo", "a b"),
            ("x-amz-tagging", "k=v&a=b"),
            ("storageclass", "STANDARD_IA"),
            ("public", "yes"),
        ]);
        let headers = settings.unwrap().headers;
        let mut shown: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        shown.sort();
        assert_eq!(
            shown,
            [
                "x-amz-acl: public-read",
                "x-amz-meta-foo: a b",
                "x-amz-storage-class: STANDARD_IA",
                "x-amz-tagging: k=v&a=b",
            ]
        );
        assert!(read(&[("storageclass", "STANDARD")]).unwrap().headers.is_empty());
    }
}
