//! What the configuration says of remotes (remotes §1, §2, §4; proxy-cluster §2).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use gannet_core::{ClusterUuid, Trust, Uuid};
use gix::bstr::{BStr, BString, ByteSlice};

use super::config::Config;

/// The remotes of a repository, and of which clusters it is a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remotes {
    /// Those that are somewhere, in the order of the configuration.
    pub all: Vec<Remote>,
    /// The names of all of which the configuration says anything, be it not where they are.
    pub mentioned: BTreeSet<String>,
    /// The clusters of which the repository is a gateway, by name: `annex.cluster.NAME`, as git spells
    /// it. What follows the last dot is in small letters.
    pub clusters: BTreeMap<String, ClusterUuid>,
    /// Names under which something is set that is not the uuid of a cluster.
    pub bad_clusters: Vec<String>,
    /// `annex.jobs`.
    pub jobs: Option<Jobs>,
    /// `core.sshCommand`.
    pub ssh_command: Option<OsString>,
    /// Where relative paths begin.
    pub base: PathBuf,
}

/// One remote.
///
/// Where `annex-X` is not set for the remote, `annex.X` counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its name.
    pub name: String,
    /// `annex-uuid`.
    pub uuid: Option<Uuid>,
    /// `annex-config-uuid`: whose settings it has, if it is the same as another special remote.
    pub config_uuid: Option<Uuid>,
    /// `annex-verified`: whether somebody found the settings of the special remote to be right.
    pub verified: Option<bool>,
    /// Where it is.
    pub location: Location,
    /// `annex-cost`, as it is written, if it is a number.
    pub cost: Option<String>,
    /// `annex-ignore`.
    pub ignore: bool,
    /// `annex-readonly`.
    pub read_only: bool,
    /// `annex-trustlevel`.
    pub trust: Option<Trust>,
    /// `annex-shell`.
    pub shell: Option<OsString>,
    /// `annex-ssh-options`.
    pub ssh_options: Option<OsString>,
    /// `annex-proxy`: others may reach it through this repository.
    pub proxy: bool,
    /// `annex-cluster-node`: the names of the clusters of which it is a node.
    pub cluster_nodes: Vec<String>,
    /// `annex-cluster-gateway`: the clusters of which it is another gateway.
    pub cluster_gateways: Vec<ClusterUuid>,
    /// `annex-proxied-by`: the repository through which it is reached.
    pub proxied_by: Option<Uuid>,
}

/// How much is to be done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// So much.
    Number(NonZeroUsize),
    /// As much as there are processors.
    Cpus,
}

/// Where a remote is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A git repository.
    Git {
        /// `url`, as `insteadOf` has it.
        url: Vec<u8>,
        /// `annexurl`, or what `annexInsteadOf` makes of the url: where its contents are, if that
        /// is elsewhere.
        annex_url: Option<Vec<u8>>,
    },
    /// A special remote: the key that says so, without `annex-`, and its value.
    Special {
        /// For instance `directory`.
        kind: &'static str,
        /// For instance the path of the directory.
        value: Vec<u8>,
    },
}

impl Remotes {
    /// The cluster of which the repository is a gateway by this name, and how the configuration spells
    /// that. Where none is spelled like this, capitals make no difference: git does not keep all of
    /// them.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<(&str, &ClusterUuid)> {
        let small = name.to_lowercase();
        let similar = || self.clusters.iter().find(|(other, _)| other.to_lowercase() == small);
        let found = self.clusters.get_key_value(name).or_else(similar);
        found.map(|(name, cluster)| (name.as_str(), cluster))
    }

    /// Whether others may reach anything through this repository, as far as its configuration
    /// goes.
    #[must_use]
    pub fn has_gates(&self) -> bool {
        let is_gate = |remote: &Remote| {
            remote.proxy || !remote.cluster_nodes.is_empty() || !remote.cluster_gateways.is_empty()
        };
        !self.clusters.is_empty() || self.all.iter().any(is_gate)
    }
}

#[cfg(test)]
impl Remote {
    /// A remote of which the configuration says nothing but where it is.
    pub(crate) fn named(name: &str, location: Location) -> Self {
        let Location::Special { kind, value } = &location else { panic!("a special remote") };
        let value = value.to_str().unwrap();
        let config = format!("[remote \"{name}\"]\nannex-{kind} = {value}\n");
        let file = gix::config::File::try_from(config.as_str()).unwrap();
        Config { file, work_tree: None }.remote(name.to_owned()).unwrap()
    }
}

impl Config {
    /// The remotes; relative paths begin at `base`.
    pub(super) fn remotes(&self, base: &Path) -> Remotes {
        let mut remotes = Remotes {
            ssh_command: self.command("core.sshcommand"),
            jobs: self.text("annex.jobs").and_then(|text| jobs(&text)),
            base: base.to_owned(),
            ..Remotes::default()
        };
        for name in self.subsections("remote") {
            if remotes.mentioned.insert(name.clone()) {
                remotes.all.extend(self.remote(name));
            }
        }
        self.add_clusters(&mut remotes);
        remotes
    }

    /// `annex.cluster.a.b` is `b` in the section `annex "cluster.a"`.
    fn add_clusters(&self, remotes: &mut Remotes) {
        for section in self.file.sections_by_name("annex").into_iter().flatten() {
            let subsection = section.header().subsection_name().unwrap_or_default();
            let Some(rest) = subsection.strip_prefix(b"cluster") else { continue };
            let beginning = match rest {
                b"" => String::new(),
                [b'.', rest @ ..] => format!("{}.", rest.to_str_lossy()),
                _ => continue,
            };
            for name in section.value_names() {
                let uuid = section.value(&name).and_then(|uuid| cluster(&uuid));
                let name = format!("{beginning}{}", name.to_lowercase());
                match uuid {
                    Some(uuid) => drop(remotes.clusters.insert(name, uuid)),
                    None => remotes.bad_clusters.push(name),
                }
            }
        }
    }

    fn remote(&self, name: String) -> Option<Remote> {
        let own = |key: &str| format!("remote.{name}.annex-{key}");
        let bytes = |key: &str| {
            let own = self.bytes(&own(key));
            own.or_else(|| self.bytes(&format!("annex.{key}"))).filter(|value| !value.is_empty())
        };
        let text = |key: &str| bytes(key).map(|value| value.to_str_lossy().into_owned());
        let bool = |key: &str| self.bool(&own(key), self.bool(&format!("annex.{key}"), false));
        let uuid = |key: &str| self.bytes(&own(key)).and_then(|uuid| Uuid::parse(&uuid).ok());
        let words = |key: &str| -> Vec<String> {
            text(key).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
        };
        let command =
            |key: &str| self.command(&own(key)).or_else(|| self.command(&format!("annex.{key}")));
        Some(Remote {
            location: self.location(&name)?,
            uuid: uuid("uuid"),
            config_uuid: uuid("config-uuid"),
            verified: self.bytes(&own("verified")).map(|value| value == b"verified".as_slice()),
            cost: text("cost").filter(|cost| cost.parse::<f32>().is_ok_and(f32::is_finite)),
            ignore: bool("ignore"),
            read_only: bool("readonly"),
            trust: text("trustlevel").and_then(|level| trust(&level)),
            shell: command("shell"),
            ssh_options: command("ssh-options"),
            proxy: bool("proxy"),
            cluster_nodes: words("cluster-node"),
            cluster_gateways: words("cluster-gateway")
                .iter()
                .filter_map(|uuid| cluster(uuid.as_bytes()))
                .collect(),
            proxied_by: uuid("proxied-by"),
            name,
        })
    }

    fn location(&self, name: &str) -> Option<Location> {
        for kind in SPECIAL {
            if let Some(value) = self.bytes(&format!("remote.{name}.annex-{kind}")) {
                return Some(Location::Special { kind, value: value.into() });
            }
        }
        let set = |key: &str| {
            self.bytes(&format!("remote.{name}.{key}")).filter(|value| !value.is_empty())
        };
        let url = set("url")?;
        let annex_url = set("annexurl").or_else(|| self.rewritten(url.as_ref(), "annexinsteadof"));
        let url = self.rewritten(url.as_ref(), "insteadof").unwrap_or(url);
        Some(Location::Git { url: url.into(), annex_url: annex_url.map(Vec::from) })
    }

    /// What `url.BASE.KEY` makes of a url: where several begin like it, the longest counts.
    fn rewritten(&self, url: &BStr, key: &str) -> Option<BString> {
        let mut best: Option<(usize, BString)> = None;
        for section in self.file.sections_by_name("url").into_iter().flatten() {
            let Some(base) = section.header().subsection_name() else { continue };
            for prefix in section.values(key) {
                let longer = best.as_ref().is_none_or(|(len, _)| prefix.len() > *len);
                if longer && let Some(rest) = url.strip_prefix(prefix.as_slice()) {
                    best = Some((prefix.len(), [base.as_bytes(), rest].concat().into()));
                }
            }
        }
        best.map(|(_, url)| url)
    }

    /// Names in `[SECTION "NAME"]` that are text.
    fn subsections(&self, section: &str) -> Vec<String> {
        let sections = self.file.sections_by_name(section).into_iter().flatten();
        let name = |section: gix::config::file::SectionRef<'_>| {
            let name = section.header().subsection_name()?.to_str().ok()?;
            (!name.is_empty()).then(|| name.to_owned())
        };
        sections.filter_map(name).collect()
    }

    /// Whether the configuration includes more, that was not read.
    pub(super) fn includes(&self) -> bool {
        let has =
            |name| self.file.sections_by_name(name).is_some_and(|mut all| all.next().is_some());
        has("include") || has("includeif")
    }
}

fn cluster(text: &[u8]) -> Option<ClusterUuid> {
    Uuid::parse(text).ok()?.as_cluster()
}

fn jobs(text: &str) -> Option<Jobs> {
    match text {
        "cpus" => Some(Jobs::Cpus),
        number => number.parse().ok().map(Jobs::Number),
    }
}

fn trust(level: &str) -> Option<Trust> {
    match level {
        "dead" => Some(Trust::Dead),
        "untrusted" => Some(Trust::Untrusted),
        "semitrusted" => Some(Trust::Semitrusted),
        "trusted" => Some(Trust::Trusted),
        _ => None,
    }
}

/// The keys by which special remotes are known.
const SPECIAL: [&str; 17] = [
    "directory",
    "s3",
    "rsyncurl",
    "webdav",
    "externaltype",
    "httpalso",
    "hooktype",
    "rclone",
    "buprepo",
    "borgrepo",
    "ddarrepo",
    "adb",
    "tahoe",
    "glacier",
    "compute",
    "mask",
    "web",
];

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "ac0cec6b-f473-8b9f-8676-3db0bbcfff9b";

    fn read(config: &str) -> Remotes {
        let file = gix::config::File::try_from(config).unwrap();
        Config { file, work_tree: None }.remotes(Path::new("/base"))
    }

    /// Name, url and annexurl of each git remote.
    fn urls(config: &str) -> Vec<String> {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown = |remote: &Remote| match &remote.location {
            Location::Git { url, annex_url: None } => format!("{} {}", remote.name, lossy(url)),
            Location::Git { url, annex_url: Some(other) } => {
                format!("{} {} {}", remote.name, lossy(url), lossy(other))
            }
            Location::Special { kind, value } => format!("{} {kind}={}", remote.name, lossy(value)),
        };
        read(config).all.iter().map(shown).collect()
    }

    #[test]
    fn urls_are_rewritten_by_the_longest_beginning() {
        let rewriting = "[url \"ssh://h/\"]\ninsteadOf = x:\n[url \"/srv/\"]\ninsteadOf = x:y/\n\
                         [url \"annex+http://h/\"]\nannexInsteadOf = x:y/\n";
        let cases = [
            ("[remote \"a\"]\nurl = /p", vec!["a /p"]),
            ("[remote \"a\"]\nurl = x:z", vec!["a ssh://h/z"]),
            ("[remote \"a\"]\nurl = x:y/z", vec!["a /srv/z annex+http://h/z"]),
            (
                "[remote \"a\"]\nurl = x:y/z\nannexUrl = annex+http://i",
                vec!["a /srv/z annex+http://i"],
            ),
            (
                "[remote \"a\"]\nurl = /p\n[remote \"b.c\"]\nurl = h:q\n[remote \"a\"]\nurl = /r",
                vec!["a /r", "b.c h:q"],
            ),
            ("[remote \"d\"]\nannex-directory = /d\nurl = /ignored", vec!["d directory=/d"]),
            ("[remote \"a\"]\nannex-uuid = u\n[remote]\nurl = /p\n[remote \"\"]\nurl = /p", vec![]),
            ("[remote \"a\"]\nurl =", vec![]),
        ];
        for (config, expected) in cases {
            assert_eq!(urls(&format!("{rewriting}{config}")), expected, "{config}");
        }
    }

    #[test]
    fn settings_fall_back_on_those_for_all() {
        let config = format!(
            "[annex]\nreadonly = true\ncost = 7\nshell = sh\nuuid = own\n\
             [annex \"cluster\"]\nMine = {CLUSTER}\nbad = u\n\
             [annex \"cluster.A\"]\nB = {CLUSTER}\n\
             [core]\nsshCommand = ssh -v\n\
             [remote \"n\"]\nurl = /n\nannex-uuid = u\nannex-readonly = no\nannex-cost = 1.5\n\
             annex-proxy\nannex-cluster-node = Mine  other\nannex-trustlevel = dead\n\
             annex-ssh-options = -p 1\nannex-proxied-by = gw\nannex-verified = verified\n\
             [remote \"m\"]\nurl = /m\nannex-cost = much\nannex-cluster-gateway = {CLUSTER} u\n\
             annex-config-uuid = cu\n\
             [remote \"said\"]\nannex-ignore = true\n"
        );
        let remotes = read(&config);
        let [n, m] = &remotes.all[..] else { panic!("{remotes:?}") };
        let uuid = |text: &str| Uuid::parse(text.as_bytes()).ok();
        assert_eq!((&n.uuid, &n.proxied_by), (&uuid("u"), &uuid("gw")));
        assert_eq!((n.read_only, n.proxy, n.ignore), (false, true, false));
        assert_eq!((n.cost.as_deref(), n.trust), (Some("1.5"), Some(Trust::Dead)));
        assert_eq!(n.cluster_nodes, ["Mine", "other"]);
        assert_eq!((n.verified, m.verified), (Some(true), None));
        assert_eq!((&n.config_uuid, &m.config_uuid), (&None, &uuid("cu")));
        assert_eq!(n.shell.as_deref(), Some("sh".as_ref()));
        assert_eq!(n.ssh_options.as_deref(), Some("-p 1".as_ref()));
        assert_eq!((&m.uuid, m.read_only, m.proxy), (&None, true, false));
        assert_eq!((m.cost.as_deref(), m.cluster_gateways.len()), (None, 1));
        assert_eq!(remotes.clusters.keys().collect::<Vec<_>>(), ["A.b", "mine"]);
        let cluster = |name| remotes.cluster(name).map(|(name, _)| name);
        assert_eq!(
            ["A.b", "a.B", "MINE", "a"].map(cluster),
            [Some("A.b"), Some("A.b"), Some("mine"), None]
        );
        assert_eq!(remotes.bad_clusters, ["bad"]);
        let jobs = |text: &str| read(&format!("[annex]\njobs = {text}\n")).jobs;
        assert_eq!(jobs("3"), NonZeroUsize::new(3).map(Jobs::Number));
        assert_eq!(["cpus", "0", "many", ""].map(jobs), [Some(Jobs::Cpus), None, None, None]);
        assert_eq!(remotes.ssh_command.as_deref(), Some("ssh -v".as_ref()));
        assert!(remotes.mentioned.contains("said") && remotes.has_gates());
    }

    #[test]
    fn only_what_lets_others_through_is_a_gate() {
        let cases = [
            ("[remote \"a\"]\nurl = /a\nannex-proxy = true", true),
            ("[remote \"a\"]\nurl = /a\nannex-proxy = false", false),
            ("[annex]\nproxy = true\n[remote \"a\"]\nurl = /a", true),
            ("[remote \"a\"]\nannex-proxy = true", false),
            ("[remote \"a\"]\nurl = /a\nannex-cluster-node = c", true),
            ("[remote \"a\"]\nurl = /a\nannex-proxied-by = u", false),
            ("[remote \"a\"]\nurl = /a", false),
            (&format!("[annex \"cluster\"]\nc = {CLUSTER}"), true),
        ];
        for (config, expected) in cases {
            assert_eq!(read(config).has_gates(), expected, "{config}");
        }
    }
}
