//! Which room may name which.

use super::Offence;
use super::workspace::Package;

/// Finds dependencies that lead through a wall.
pub(super) fn check(packages: &[Package]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for package in packages {
        let place = format!("{}Cargo.toml", package.dir);
        let Some((_, may_name)) = MAY_NAME.iter().find(|(room, _)| *room == package.name) else {
            let what = format!("{} has no place among the rooms of {}", package.name, file!());
            offences.push(Offence::new(place, what));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let room = MAY_NAME.iter().any(|(room, _)| *room == name);
            let allowed = may_name.contains(&name)
                || (dependency.for_tests && (name == TESTKIT || name == package.name));
            if room && !allowed {
                let what = format!("{} must not name {name}: see ARCHITECTURE.md", package.name);
                offences.push(Offence::new(&place, what));
            }
            let pure = PURE.contains(&package.name.as_str());
            if pure && !dependency.for_tests && OUTSIDE_WORLD.contains(&name) {
                let what = format!("{} is pure, and {name} is not", package.name);
                offences.push(Offence::new(&place, what));
            }
        }
    }
    offences
}

const TESTKIT: &str = "gannet-testkit";

/// Every room and whom it may name. The testkit may be named by the tests of all.
const MAY_NAME: [(&str, &[&str]); 9] = [
    ("gannet-core", &[]),
    ("gannet-wire", &["gannet-core"]),
    ("gannet-repo", &["gannet-core"]),
    ("gannet-net", &["gannet-core", "gannet-wire"]),
    ("gannet-cluster", &["gannet-core"]),
    ("gannet", &["gannet-core", "gannet-wire", "gannet-repo", "gannet-net", "gannet-cluster"]),
    (TESTKIT, &["gannet-core", "gannet-wire"]),
    (
        "gannet-fuzz",
        &["gannet-core", "gannet-wire", "gannet-repo", "gannet-net", "gannet-cluster", TESTKIT],
    ),
    ("xtask", &[]),
];

/// Rooms without a runtime, files, sockets and clocks.
const PURE: [&str; 2] = ["gannet-core", "gannet-wire"];

/// Crates that bring those.
const OUTSIDE_WORLD: [&str; 8] =
    ["tokio", "hyper", "hyper-util", "rustix", "libc", "gix", "tempfile", "getrandom"];

#[cfg(test)]
mod tests {
    use super::super::workspace::Dependency;
    use super::*;

    fn package(name: &str, dependency: &str, for_tests: bool) -> Package {
        Package {
            name: name.to_owned(),
            dir: format!("crates/{name}/"),
            dependencies: vec![Dependency { name: dependency.to_owned(), for_tests }],
            roots: Vec::new(),
        }
    }

    #[test]
    fn a_broken_wall_is_found() {
        let offences = check(&[package("gannet-repo", "gannet-net", false)]);
        let what = "gannet-repo must not name gannet-net: see ARCHITECTURE.md";
        assert_eq!(offences, [Offence::new("crates/gannet-repo/Cargo.toml", what)]);
        // Tests are no way round, except to the testkit.
        assert_eq!(check(&[package("gannet-repo", "gannet-net", true)]).len(), 1);
        assert_eq!(check(&[package("gannet-repo", "gannet-testkit", false)]).len(), 1);
        assert_eq!(check(&[package("gannet-repo", "gannet-testkit", true)]), []);
        // A room may name itself with what only its tests need.
        assert_eq!(check(&[package("gannet-repo", "gannet-repo", true)]), []);
    }

    #[test]
    fn whole_walls_are_left_alone() {
        for (room, may_name) in MAY_NAME {
            for named in may_name {
                assert_eq!(check(&[package(room, named, false)]), [], "{room} {named}");
            }
        }
        assert_eq!(check(&[package("gannet-repo", "tokio", false)]), []);
    }

    #[test]
    fn a_room_that_nobody_planned_is_found() {
        assert_eq!(check(&[package("gannet-attic", "bytes", false)]).len(), 1);
    }

    #[test]
    fn pure_rooms_stay_pure() {
        assert_eq!(check(&[package("gannet-core", "tokio", false)]).len(), 1);
        assert_eq!(check(&[package("gannet-wire", "getrandom", false)]).len(), 1);
        assert_eq!(check(&[package("gannet-wire", "tokio", true)]), []);
    }
}
