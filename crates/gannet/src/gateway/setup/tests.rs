use super::*;
use crate::gateway::gate::tests::{Scene, cluster, remote, uuid};

/// What is planned, in words: `NAME: nodes` for each cluster, and what is served.
fn plan(scene: &Scene, special: &SpecialRemotes) -> (Vec<String>, Vec<String>, Vec<Problem>) {
    let plan = Plan::new(&uuid("gw"), Scope::Clusters, &scene.remotes, &scene.book, special);
    let nodes = plan.clusters.iter().map(|it| {
        let nodes: Vec<_> = it.nodes.iter().map(Uuid::as_str).collect();
        let news = if it.nodes == it.recorded { "" } else { " (news)" };
        format!("{}: {}{news}", it.name, nodes.join(" "))
    });
    let serves = plan.serves.iter().map(|(_, name)| name.clone());
    (nodes.collect(), serves.collect(), plan.refused)
}

#[test]
fn names_of_clusters_survive_in_the_configuration() {
    for good in ["a", "a-b", "a.b", "A-b", "1.b", "a_x.b", "\u{e9}.b", "b-", "a.B2-"] {
        assert_eq!(check_cluster_name(good), Ok(()), "{good}");
    }
    for bad in ["", " ", "2x", "a_b", "a.2", "a.", ".a", "-a", "a b", "a/b", "\u{e9}", "a.\u{e9}"] {
        let why = check_cluster_name(bad).unwrap_err();
        assert!(why.contains("letter"), "{bad}: {why}");
    }
}

#[test]
fn what_cannot_be_served_is_left_out_with_advice() {
    let mut unknown = remote("n2", &["proxy"]);
    unknown.uuid = None;
    let mut exported = remote("n3", &["proxy"]);
    exported.location = Location::Special { kind: "directory", value: b"/x".to_vec() };
    let mut spaced = remote("n4", &["proxy"]);
    spaced.name = "n 4".to_owned();
    let remotes = [
        remote("n1", &["node=MINE,none"]),
        unknown,
        exported,
        spaced,
        remote("n5", &["node=mine", "uuid=gw"]),
        remote("n6", &[]),
        remote("n7", &["proxy", "dead"]),
    ];
    let scene = Scene::new(&remotes, &[("mine", "C")], &[]).record("C", &["u-n6", "u-n1"]);
    let settings = |text: &str| -> SpecialSettings {
        let pairs = text.split(' ').filter_map(|word| word.split_once('='));
        pairs.map(|(name, value)| (name.into(), value.into())).collect()
    };
    let special = |text: &str| SpecialRemotes::from_iter([(uuid("u-n3"), settings(text))]);
    let (nodes, serves, refused) = plan(&scene, &special("type=directory exporttree=yes"));
    assert_eq!(nodes, ["mine: u-n1 (news)"]);
    assert_eq!(serves, ["mine", "n1", "n7"]);
    let expected = ["uuid is not known", "annexobjects=yes,", "white space", "never a node"];
    assert_eq!(refused.len(), expected.len(), "{refused:?}");
    for said in expected {
        assert_eq!(refused.iter().filter(|it| it.what.contains(said)).count(), 1, "{refused:?}");
    }
    let (_, serves, _) = plan(&scene, &special("exporttree=yes annexobjects=yes"));
    assert!(serves.contains(&"n3".to_owned()), "{serves:?}");
    let (_, serves, _) = plan(&scene, &special("exporttree=no"));
    assert!(serves.contains(&"n3".to_owned()), "{serves:?}");
}

/// A repository that knows another gateway, called `g`.
fn beside(settings: &[&str], clusters: &[(&str, &str)]) -> Scene {
    let remotes = [remote("g", &[&["url=ssh://host/x"], settings].concat()), remote("a1", &[])];
    let mut scene = Scene::new(&remotes, clusters, &[]);
    scene.publish("u-g", &[("C", "Clu"), ("D", "other"), ("u-b1", "b1"), ("u-b2", "b2")]);
    scene.record("C", &["u-b1", "u-b2"])
}

#[test]
fn a_cluster_of_another_gateway_is_found_by_its_name() {
    let scene = beside(&[], &[]);
    let found = extension("g", "Clu", &scene.remotes, &scene.book).unwrap();
    let c = cluster("C").as_uuid().to_string();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let gateway = "remote.g.annex-cluster-gateway";
    let values = vec![pair("annex.cluster.Clu", &c), pair(gateway, &c)];
    assert_eq!(found, Extension { cluster: cluster("C"), values });

    let scene = beside(&["gateway=D"], &[("clu", "C")]);
    let found = extension("g", "clu", &scene.remotes, &scene.book).unwrap();
    let both = format!("{} {c}", cluster("D").as_uuid());
    assert_eq!(found.values, [pair(gateway, &both)], "the other cluster is kept");
    let scene = beside(&["gateway=C"], &[("clu", "C")]);
    assert!(extension("g", "clu", &scene.remotes, &scene.book).unwrap().values.is_empty());
}

#[test]
fn a_cluster_that_is_not_found_is_asked_for_with_advice() {
    let refusal = |scene: &Scene, remote: &str, name: &str| {
        extension(remote, name, &scene.remotes, &scene.book).unwrap_err()
    };
    let scene = beside(&[], &[]);
    let cases = [
        ("g", "b1", "no cluster"),
        ("g", "nope", "Clu, other"),
        ("a1", "Clu", "git fetch a1"),
        ("q", "Clu", "git remote add q"),
        ("g", "a_b", "a letter from a to z"),
    ];
    for (remote, name, said) in cases {
        let why = refusal(&scene, remote, name);
        assert!(why.contains(said), "{remote} {name}: {why}");
    }
    let mut hidden = beside(&[], &[]);
    hidden.remotes.mentioned.insert("g-Clu".to_owned());
    assert!(refusal(&hidden, "g", "Clu").contains("--remove-section remote.g-Clu"));
    let taken = beside(&[], &[("clu", "D")]);
    assert!(refusal(&taken, "g", "Clu").contains("another cluster called `clu`"));
    let near = beside(&["url=/srv/x"], &[]);
    assert!(refusal(&near, "g", "Clu").contains("over ssh"));
}

#[test]
fn nodes_of_other_gateways_stay_and_are_served_by_their_full_names() {
    let scene = beside(&["gateway=C"], &[("clu", "C")]);
    let (nodes, serves, refused) = plan(&scene, &SpecialRemotes::default());
    assert_eq!(nodes, ["clu: u-b1 u-b2"]);
    assert_eq!(serves, ["clu", "g-b1", "g-b2"]);
    assert!(refused.is_empty(), "{refused:?}");
    let mut scene = scene;
    scene.remotes.mentioned.insert("g-b2".to_owned());
    scene.remotes.all[1].cluster_nodes = vec!["clu".to_owned()];
    let (nodes, serves, _) = plan(&scene, &SpecialRemotes::default());
    assert_eq!(nodes, ["clu: u-a1 u-b1 (news)"]);
    assert_eq!(serves, ["clu", "a1", "g-b1"]);
}
