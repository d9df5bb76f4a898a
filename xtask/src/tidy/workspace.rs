//! What Cargo knows of the workspace.

use serde_json::Value;

use crate::run::Result;

/// A crate of the workspace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    /// Its directory from the root, with a `/` at its end.
    pub(super) dir: String,
    pub(super) dependencies: Vec<Dependency>,
    /// Source files of its targets, from the root: the roots of its module trees.
    pub(super) roots: Vec<String>,
}

/// What a crate depends on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// Whether only its tests do.
    pub(super) for_tests: bool,
}

/// Reads what `cargo metadata --no-deps` prints.
///
/// # Errors
/// When it is not that.
pub(super) fn read(metadata: &str) -> Result<Vec<Package>> {
    let metadata: Value = serde_json::from_str(metadata)?;
    let root = text(&metadata, "workspace_root")?;
    list(&metadata, "packages")?.iter().map(|package| read_package(package, root)).collect()
}

fn read_package(package: &Value, root: &str) -> Result<Package> {
    let from_root = |path: &str| -> Result<String> {
        let rest = path.strip_prefix(root).and_then(|rest| rest.strip_prefix('/'));
        Ok(rest.ok_or_else(|| format!("{path} is outside of {root}"))?.to_owned())
    };
    let manifest = from_root(text(package, "manifest_path")?)?;
    let mut roots = Vec::new();
    for target in list(package, "targets")? {
        roots.push(from_root(text(target, "src_path")?)?);
    }
    let mut dependencies = Vec::new();
    for dependency in list(package, "dependencies")? {
        dependencies.push(Dependency {
            name: text(dependency, "name")?.to_owned(),
            for_tests: dependency["kind"] == "dev",
        });
    }
    Ok(Package {
        name: text(package, "name")?.to_owned(),
        dir: manifest.trim_end_matches("Cargo.toml").to_owned(),
        dependencies,
        roots,
    })
}

fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str> {
    value[member].as_str().ok_or_else(|| format!("cargo metadata has no {member}").into())
}

fn list<'a>(value: &'a Value, member: &str) -> Result<&'a Vec<Value>> {
    value[member].as_array().ok_or_else(|| format!("cargo metadata has no {member}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_becomes_packages() {
        let metadata = r#"{"workspace_root": "/x", "packages": [{
            "name": "gannet-core", "manifest_path": "/x/crates/gannet-core/Cargo.toml",
            "targets": [{"src_path": "/x/crates/gannet-core/src/lib.rs"}],
            "dependencies": [{"name": "bytes", "kind": null}, {"name": "proptest", "kind": "dev"},
                             {"name": "cc", "kind": "build"}]}]}"#;
        let dependency = |name: &str, for_tests| Dependency { name: name.to_owned(), for_tests };
        let expected = Package {
            name: "gannet-core".to_owned(),
            dir: "crates/gannet-core/".to_owned(),
            dependencies: vec![
                dependency("bytes", false),
                dependency("proptest", true),
                dependency("cc", false),
            ],
            roots: vec!["crates/gannet-core/src/lib.rs".to_owned()],
        };
        assert_eq!(read(metadata).unwrap(), [expected]);
    }

    #[test]
    fn other_text_is_refused() {
        assert!(read("{}").is_err());
        assert!(read("").is_err());
    }
}
