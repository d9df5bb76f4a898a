//! Special remotes behind a gateway: what is to be known to use one, and what keeps its objects
//! (remotes §1, §5 to §10).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gannet_core::{Annex, Clock, Error, Notes, Result, Uuid};
use gannet_net::remote::directory::Directory;
use gannet_net::remote::external::{External, ExternalOptions, Patience};
use gannet_net::remote::http::HttpClient;
use gannet_net::remote::httpalso::HttpAlso;
use gannet_net::remote::line::Program;
use gannet_net::remote::s3::{S3, S3Credentials, S3Settings};
use gannet_net::remote::special::{
    Plain, Special as Place, SpecialOptions, Spool, SpoolOptions, Store, Whole,
};
use gannet_repo::{Remote, Repo, SpecialSettings, Surroundings};

use crate::clock::SystemClock;

mod named;

use named::Named;

/// A special remote that can be used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Special {
    kind: Kind,
    plain: Plain,
    settings: SpecialSettings,
}

/// What keeps the objects.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// The file system, below this directory.
    Directory(PathBuf),
    /// A program, called `git-annex-remote-` and this.
    External(OsString),
    /// A web server, below this url.
    HttpAlso(String),
    /// A bucket.
    S3(Box<S3Settings>),
}

/// What all special remotes of a gateway share.
pub(super) struct Depot {
    repo: Repo,
    around: Surroundings,
    spool: Spool,
}

impl Special {
    /// Reads what is to be known of a remote: `kind` and `value` are the key by which the
    /// configuration knows it, and its value. A relative path begins at `base`.
    ///
    /// # Errors
    /// When it cannot be used with these settings, and why.
    pub(super) fn read(
        kind: &str,
        value: &[u8],
        settings: SpecialSettings,
        base: &Path,
    ) -> Result<Self, String> {
        let (recorded, kind) = match kind {
            "directory" => ("directory", Kind::Directory(base.join(OsStr::from_bytes(value)))),
            "externaltype" => ("external", Kind::External(external(value, &settings)?)),
            "httpalso" => ("httpalso", Kind::HttpAlso(url(&settings)?)),
            "s3" => {
                ("S3", Kind::S3(S3Settings::read(&settings).map_err(|it| it.to_string())?.into()))
            }
            other => return Err(format!("special remotes of this kind ({other}) cannot be used")),
        };
        let setting = |name: &str| settings.get(name.as_bytes()).map(|it| shown(it));
        match setting("type") {
            Some(other) if other != recorded => {
                return Err(format!("its settings are those of another kind of remote ({other})"));
            }
            _ => {}
        }
        let plain = Plain::read(&settings).map_err(|error| error.to_string())?;
        Ok(Self { kind, plain, settings })
    }

    /// Whether anything can be stored or removed there.
    pub(super) fn is_writable(&self) -> bool {
        !matches!(self.kind, Kind::HttpAlso(_))
    }

    /// What using it costs, if its settings say so.
    pub(super) fn cost(&self) -> Option<f32> {
        let cost: f32 = shown(self.settings.get(&b"cost"[..])?).parse().ok()?;
        cost.is_finite().then_some(cost)
    }

    /// The special remote, which is called `remote` and has that uuid. Nothing there is asked
    /// before somebody asks it.
    ///
    /// # Errors
    /// When it is not known in whose name to ask.
    pub(super) async fn open(
        &self,
        remote: &Remote,
        uuid: &Uuid,
        depot: &Depot,
        http: HttpClient,
    ) -> Result<Arc<dyn Annex>> {
        let spool = depot.spool.clone();
        let mut readonly = remote.read_only || !self.is_writable();
        let store: Arc<dyn Store> = match &self.kind {
            Kind::Directory(path) => Arc::new(Directory::new(path)),
            Kind::External(program) => {
                let external = External::new(self.external(program, remote, uuid, depot));
                Arc::new(Whole::new(external, spool.clone()))
            }
            Kind::HttpAlso(url) => Arc::new(HttpAlso::new(http, url)),
            Kind::S3(bucket) => {
                let kept = depot.notes().credentials(uuid, None).await?;
                let place = || format!("the remote {}", remote.name);
                let s3 =
                    S3Credentials::find(|it| std::env::var_os(it), kept.as_ref(), &self.settings)
                        .and_then(|credentials| S3::new(http, (**bucket).clone(), credentials))
                        .map_err(|why| Error::Remote { place: place(), why: why.to_string() })?;
                readonly |= s3.is_readonly();
                Arc::new(s3)
            }
        };
        let options = SpecialOptions {
            uuid: uuid.clone(),
            chunk: self.plain.chunk,
            readonly,
            spool,
            notes: depot.notes(),
            clock: Arc::new(SystemClock),
        };
        Ok(Arc::new(Place::new(Arc::new(Named::new(&remote.name, store)), options)))
    }

    fn external(
        &self,
        program: &OsString,
        remote: &Remote,
        uuid: &Uuid,
        depot: &Depot,
    ) -> ExternalOptions {
        let Surroundings { git_dir, work_tree, .. } = &depot.around;
        let mut environment = vec![("GIT_DIR".into(), git_dir.clone().into())];
        environment.extend(work_tree.clone().map(|top| ("GIT_WORK_TREE".into(), top.into())));
        ExternalOptions {
            program: Program {
                name: program.to_string_lossy().into_owned(),
                program: program.clone(),
                arguments: Vec::new(),
                environment,
                attended: false,
            },
            uuid: uuid.clone(),
            config_uuid: remote.config_uuid.as_ref().unwrap_or(uuid).clone(),
            name: remote.name.clone().into_bytes(),
            config: self.settings.clone(),
            git_dir: git_dir.clone(),
            notes: depot.notes(),
            programs_max: PROGRAMS_MAX,
            patience: Patience::default(),
        }
    }
}

impl Depot {
    /// Makes ready what all share, and removes what a crash left of it.
    ///
    /// # Errors
    /// When there is no place for what is on its way.
    pub(super) async fn open(repo: &Repo) -> Result<Self> {
        let around = repo.surroundings().await?;
        let options = SpoolOptions {
            dir: around.spool.clone(),
            reserve_bytes: around.reserve_bytes,
            bytes_max: u64::MAX,
        };
        let opening = tokio::task::spawn_blocking(move || {
            let clock: &dyn Clock = &SystemClock;
            Spool::open(options, clock)
        });
        let spool = opening.await.map_err(|error| Error::Internal(error.to_string()))??;
        Ok(Self { repo: repo.clone(), around, spool })
    }

    fn notes(&self) -> Arc<dyn Notes> {
        Arc::new(self.repo.clone())
    }
}

fn external(kind: &[u8], settings: &SpecialSettings) -> Result<OsString, String> {
    let is_set = |name: &str| settings.get(name.as_bytes()).is_some_and(|value| value == b"true");
    if kind == b"readonly" || is_set("readonly") {
        return Err("its contents are only to be had from urls, which is not supported here".into());
    }
    if kind.is_empty() || kind.contains(&b'/') {
        return Err(format!("no program can be called after its kind ({})", shown(kind)));
    }
    let mut program = OsString::from("git-annex-remote-");
    program.push(OsStr::from_bytes(kind));
    Ok(program)
}

fn url(settings: &SpecialSettings) -> Result<String, String> {
    let url = settings.get(&b"url"[..]).map(|url| shown(url)).unwrap_or_default();
    match url.starts_with("http://") || url.starts_with("https://") {
        true => Ok(url),
        // It may name a password, and what is wrong with it is plain to whoever set it.
        false => Err("its url begins with neither http:// nor https://".to_owned()),
    }
}

fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// How many programs of one external special remote may run at once.
const PROGRAMS_MAX: usize = 4;
