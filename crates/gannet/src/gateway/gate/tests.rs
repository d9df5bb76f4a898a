use std::collections::BTreeMap;

use gannet_repo::Location;

use super::*;

/// Remotes `n1`, `n2`, … of which each has the uuid `u-NAME`, as a description of their settings
/// has them; and a branch that publishes what another description says.
pub(in crate::gateway) struct Scene {
    pub(in crate::gateway) remotes: Remotes,
    pub(in crate::gateway) book: Book,
}

pub(in crate::gateway) fn uuid(text: &str) -> Uuid {
    match text {
        "C" => uuid("ac0cec6b-f473-8b9f-8676-3db0bbcfff9b"),
        "D" => uuid("acacacac-f473-8b9f-8676-3db0bbcfff9b"),
        text => Uuid::parse(text.as_bytes()).unwrap(),
    }
}

pub(in crate::gateway) fn cluster(text: &str) -> ClusterUuid {
    uuid(text).as_cluster().unwrap()
}

pub(in crate::gateway) fn remote(name: &str, settings: &[&str]) -> Remote {
    let mut remote = Remote {
        name: name.to_owned(),
        uuid: Some(uuid(&format!("u-{name}"))),
        config_uuid: None,
        verified: None,
        location: Location::Git { url: b"/nowhere".to_vec(), annex_url: None },
        cost: None,
        ignore: false,
        read_only: false,
        trust: None,
        shell: None,
        ssh_options: None,
        proxy: false,
        cluster_nodes: Vec::new(),
        cluster_gateways: Vec::new(),
        proxied_by: None,
    };
    for setting in settings {
        match setting.split_once('=').unwrap_or((setting, "")) {
            ("proxy", _) => remote.proxy = true,
            ("readonly", _) => remote.read_only = true,
            ("dead", _) => remote.trust = Some(Trust::Dead),
            ("alive", _) => remote.trust = Some(Trust::Trusted),
            ("node", clusters) => {
                remote.cluster_nodes = clusters.split(',').map(str::to_owned).collect();
            }
            ("gateway", of) => remote.cluster_gateways = vec![cluster(of)],
            ("by", gateway) => remote.proxied_by = Some(uuid(gateway)),
            ("uuid", own) => remote.uuid = Some(uuid(own)),
            ("cost", cost) => remote.cost = Some(cost.to_owned()),
            ("url", url) => {
                remote.location = Location::Git { url: url.as_bytes().to_vec(), annex_url: None };
            }
            _ => panic!("{setting}"),
        }
    }
    remote
}

impl Scene {
    /// `clusters`: names of those whose gateway we are. `published`: pairs `uuid:name` of ours.
    pub(in crate::gateway) fn new(
        remotes: &[Remote],
        clusters: &[(&str, &str)],
        published: &[(&str, &str)],
    ) -> Self {
        let remotes = Remotes {
            all: remotes.to_vec(),
            mentioned: remotes.iter().map(|remote| remote.name.clone()).collect(),
            clusters: clusters.iter().map(|(name, of)| ((*name).to_owned(), cluster(of))).collect(),
            ..Remotes::default()
        };
        let mut scene = Self { remotes, book: Book::default() };
        scene.publish("gw", published);
        scene
    }

    pub(in crate::gateway) fn publish(&mut self, gateway: &str, pairs: &[(&str, &str)]) {
        let pairs = pairs.iter().map(|(of, name)| (uuid(of), (*name).to_owned()));
        self.book.proxied.insert(uuid(gateway), pairs.collect::<BTreeMap<_, _>>());
    }

    pub(in crate::gateway) fn record(mut self, of: &str, nodes: &[&str]) -> Self {
        self.book.clusters.insert(cluster(of), nodes.iter().map(|node| uuid(node)).collect());
        self
    }

    /// What is behind a uuid, in words: the name of a remote, or those of the nodes of a cluster
    /// in brackets, those through other gateways with the uuid of the gateway.
    fn behind(&self, of: &str) -> String {
        let view = View::new(&uuid("gw"), &self.remotes, &self.book, &SpecialRemotes::default());
        let text = match view.behind(&uuid(of), &self.book) {
            None => "-".to_owned(),
            Some(Behind::Remote(neighbour)) => neighbour.remote.name.clone(),
            Some(Behind::Cluster(_, name, members)) => {
                let member = |member: &Member<'_>| match member.gateway {
                    None => member.neighbour.remote.name.clone(),
                    Some(gateway) => format!("{}@{gateway}", member.neighbour.remote.name),
                };
                let members: Vec<_> = members.iter().map(member).collect();
                format!("{name}[{}]", members.join(" "))
            }
        };
        let served = view.served(&self.book).contains(&uuid(of));
        assert_eq!(served, text != "-", "{of}");
        text
    }
}

#[test]
fn branch_and_configuration_must_agree_on_a_remote() {
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);
    let published = &[("u-n", "n")];
    let cases: &[Case] = &[
        (&["proxy"], published, "n"),
        (&["proxy"], &[], "-"),
        // The branch alone opens no way.
        (&[], published, "-"),
        // A name that the branch made up.
        (&["proxy"], &[("u-n", "m")], "-"),
        // The name of a remote, with the uuid of something else.
        (&["proxy", "uuid=u-m"], published, "-"),
        (&["node=mine"], published, "n"),
        (&["node=other,MINE"], published, "n"),
        (&["node=other"], published, "-"),
        (&["gateway=C"], published, "-"),
        (&["by=u-p"], published, "-"),
        (&["proxy", "dead"], published, "-"),
        (&["node=mine", "dead"], published, "-"),
        (&["proxy", "readonly"], published, "n"),
    ];
    for (settings, published, expected) in cases {
        let scene = Scene::new(&[remote("n", settings)], &[("mine", "C")], published);
        assert_eq!(scene.behind("u-n"), *expected, "{settings:?} {published:?}");
    }
}

#[test]
fn dead_remotes_are_not_served_unless_the_configuration_knows_better() {
    for (settings, expected) in [(&["proxy"][..], "-"), (&["proxy", "alive"], "n")] {
        let mut scene = Scene::new(&[remote("n", settings)], &[], &[("u-n", "n")]);
        scene.book.trust.insert(uuid("u-n"), Trust::Dead);
        assert_eq!(scene.behind("u-n"), expected);
    }
}

#[test]
fn our_own_uuid_is_never_behind_us() {
    let own = remote("n", &["proxy", "uuid=gw"]);
    let scene = Scene::new(&[own], &[], &[("gw", "n")]);
    assert_eq!(scene.behind("gw"), "-");
}

#[test]
fn what_others_publish_is_not_ours() {
    let mut scene = Scene::new(&[remote("n", &["proxy"])], &[], &[]);
    scene.publish("gw2", &[("u-n", "n")]);
    assert_eq!(scene.behind("u-n"), "-");
}

#[test]
fn of_two_ways_the_cheaper_is_taken() {
    let ways = [
        remote("far", &["proxy", "uuid=u-n", "cost=300"]),
        remote("n", &["proxy", "uuid=u-n", "cost=250.5"]),
    ];
    for (name, expected) in [("n", "n"), ("far", "far")] {
        assert_eq!(Scene::new(&ways, &[], &[("u-n", name)]).behind("u-n"), expected);
    }
}

#[test]
fn nodes_are_those_on_which_branch_and_configuration_agree() {
    let nodes = [
        remote("a", &["node=mine", "cost=2"]),
        remote("b", &["node=Mine", "cost=1"]),
        remote("unconfigured", &["proxy"]),
        remote("elsewhere", &["node=other"]),
        remote("unrecorded", &["node=mine"]),
        remote("gone", &["node=mine", "dead"]),
        remote("ourselves", &["node=mine", "uuid=gw"]),
        remote("again", &["node=mine", "uuid=u-a", "cost=3"]),
    ];
    let recorded = ["u-a", "u-b", "u-unconfigured", "u-elsewhere", "u-gone", "gw", "u-hostile"];
    let clusters = [("mine", "C")];
    let scene = Scene::new(&nodes, &clusters, &[("C", "mine")]).record("C", &recorded);
    assert_eq!(scene.behind("C"), "mine[b a]");
    let unpublished = Scene::new(&nodes, &clusters, &[]).record("C", &recorded);
    assert_eq!(unpublished.behind("C"), "-");
    let unrecorded = Scene::new(&nodes, &clusters, &[("C", "mine")]);
    assert_eq!(unrecorded.behind("C"), "-");
    // Who pushes cannot have us answer for a cluster of others, be it without nodes.
    let foreign = Scene::new(&nodes, &clusters, &[("D", "theirs")]).record("D", &recorded);
    assert_eq!(foreign.behind("D"), "-");
    let all_gone = Scene::new(&nodes, &clusters, &[("C", "mine")]).record("C", &[]);
    assert_eq!(all_gone.behind("C"), "mine[]");
}

#[test]
fn other_gateways_are_nodes_and_what_they_serve_is_reached() {
    let gateway =
        |settings: &[&str]| remote("g", &[&["url=ssh://h/g", "uuid=gw2"], settings].concat());
    let with = |remotes: &[Remote], published: &[(&str, &str)], theirs: &[(&str, &str)]| {
        let scene = Scene::new(remotes, &[("mine", "C")], published);
        let mut scene = scene.record("C", &["u-a", "u-b"]);
        scene.publish("gw2", theirs);
        scene
    };
    let theirs = [("C", "mine"), ("u-b", "b")];
    let published = [("C", "mine"), ("u-b", "g-b")];
    let a = remote("a", &["node=mine"]);
    let scene = with(&[a.clone(), gateway(&["gateway=C"])], &published, &theirs);
    assert_eq!(
        (scene.behind("C"), scene.behind("u-b")),
        ("mine[a g-mine@gw2]".into(), "g-b".into())
    );
    // Not configured, or as the gateway of another cluster; then the branch says so in vain.
    for settings in [&[][..], &["gateway=D"]] {
        let scene = with(&[a.clone(), gateway(settings)], &published, &theirs);
        assert_eq!(scene.behind("C"), "mine[a]", "{settings:?}");
    }
    let scene = with(&[a.clone(), gateway(&[])], &published, &theirs);
    assert_eq!(scene.behind("u-b"), "-");
    // A chain: what is proxied by what is proxied.
    let scene = with(&[a.clone(), gateway(&["proxy"])], &published, &theirs);
    assert_eq!(scene.behind("u-b"), "g-b");
    // The configuration describes it by hand, otherwise.
    let by_hand = remote("g-b", &["uuid=u-x"]);
    let scene = with(&[gateway(&["gateway=C"]), by_hand], &published, &theirs);
    assert_eq!(scene.behind("u-b"), "-");
    // One that is on this disk is no gateway for us.
    let near = remote("g", &["url=/srv/g", "uuid=gw2", "gateway=C"]);
    assert_eq!(with(&[a, near], &published, &theirs).behind("C"), "mine[a]");
}

#[test]
fn what_a_gateway_serves_inherits_its_settings_and_costs() {
    let base = remote("g", &["url=ssh://h/g", "uuid=gw2", "readonly", "proxy", "cost=150"]);
    let mut scene = Scene::new(&[base], &[], &[]).record("C", &["u-b"]);
    scene.publish("gw2", &[("C", "mine"), ("u-b", "b"), ("u-d", "d")]);
    let all = neighbours(&scene.remotes, &scene.book, &SpecialRemotes::default());
    let about: Vec<_> = all
        .iter()
        .map(|it| (it.remote.name.as_str(), it.cost, it.remote.read_only, it.remote.proxy))
        .collect();
    let node_cost = f64::from(200.1_f32);
    assert_eq!(about[0], ("g", 150.0, true, true));
    assert!(about.contains(&("g-mine", 150.0, true, true)));
    assert!(about.contains(&("g-d", 150.0, true, true)));
    assert_eq!(about[3], ("g-b", node_cost, true, true));
}
