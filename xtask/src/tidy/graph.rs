//! Which crate may know which: the arrows of the architecture, and what the protocol crate may never pull in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::failure::Failure;

/// Each crate of the workspace with the crates of the workspace that it may depend on. A new crate gets a row.
const ARROWS: [(&str, &[&str]); 10] = [
    ("kentongan-protocol", &[]),
    ("kentongan", &["kentongan-protocol"]),
    ("kentongan-rules", &[]),
    ("kentongan-store", &[]),
    (
        "kentongan-features",
        &["kentongan", "kentongan-rules", "kentongan-store"],
    ),
    ("kentongan-redis", &["kentongan", "kentongan-features"]),
    (
        "kentongan-server",
        &[
            "kentongan",
            "kentongan-features",
            "kentongan-redis",
            "kentongan-rules",
            "kentongan-store",
        ],
    ),
    ("kentongan-load", &["kentongan-protocol"]),
    (
        "kentongan-testkit",
        &[
            "kentongan",
            "kentongan-features",
            "kentongan-protocol",
            "kentongan-rules",
            "kentongan-store",
        ],
    ),
    ("xtask", &[]),
];
/// Arrows for tests alone: the load generator is tried on our server, but must not know it; the library and the testkit turn
/// their own features on for their tests and examples.
const TEST_ARROWS: [(&str, &str); 3] = [
    ("kentongan-load", "kentongan"),
    ("kentongan", "kentongan"),
    ("kentongan-testkit", "kentongan-testkit"),
];
/// For tests only: never a normal dependency of anything.
const TESTKIT: &str = "kentongan-testkit";
/// Crates that are pure: bytes and `now` in, actions out.
const PURE: [&str; 2] = ["kentongan-protocol", "kentongan-rules"];
/// I/O, runtimes, chance. Not even by way of another crate.
const IMPURE: [&str; 17] = [
    "async-io",
    "async-std",
    "axum",
    "futures-executor",
    "futures-util",
    "getrandom",
    "h2",
    "hyper",
    "hyper-util",
    "mio",
    "rand",
    "rand_core",
    "reqwest",
    "smol",
    "socket2",
    "tokio",
    "tungstenite",
];
/// Edges that do not make a pure crate impure, from and to. `ahash` (below the JSON Schema validator) takes the seed of
/// its hash maps from the system, as the maps of the standard library do; nothing that can be observed depends on it.
const HARMLESS: [(&str, &str); 1] = [("ahash", "getrandom")];

/// Checks the output of `cargo metadata --format-version 1`.
pub(super) fn check(metadata: &str) -> Result<Vec<String>, Failure> {
    let metadata: Value = serde_json::from_str(metadata)
        .map_err(|error| Failure::new(format!("cargo metadata cannot be read: {error}")))?;
    let members: BTreeSet<&str> = strings(&metadata["workspace_members"]).collect();
    let packages: BTreeMap<&str, &Value> = list(&metadata["packages"])
        .filter_map(|package| Some((package["id"].as_str()?, package)))
        .collect();
    let ours: Vec<&Value> = members
        .iter()
        .filter_map(|id| packages.get(id).copied())
        .collect();
    let mut found = Vec::new();
    if ours.is_empty() {
        found.push("cargo metadata names no member of the workspace".to_owned());
    }
    for package in &ours {
        found.extend(arrows(package, &ours));
    }
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"])
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    for package in ours.iter().filter(|package| PURE.contains(&name(package))) {
        let mut seen = BTreeSet::new();
        let id = package["id"].as_str().unwrap_or_default();
        impurities(
            id,
            &[name(package)],
            &nodes,
            &packages,
            &mut seen,
            &mut found,
        );
    }
    Ok(found)
}

/// Dependencies of one crate of ours on others that the table does not allow.
fn arrows(package: &Value, ours: &[&Value]) -> Vec<String> {
    let crate_name = name(package);
    let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == crate_name) else {
        return vec![format!(
            "{crate_name}: not in the table of arrows (xtask/src/tidy/graph.rs)"
        )];
    };
    let dependencies = list(&package["dependencies"])
        .filter(|dependency| ours.iter().any(|ours| name(ours) == name(dependency)));
    dependencies
        .filter_map(|dependency| {
            let target = name(dependency);
            let is_for_tests = dependency["kind"] == "dev";
            if target == TESTKIT && !is_for_tests {
                return Some(format!(
                    "{crate_name}: {TESTKIT} is for tests, so it must be a dev-dependency"
                ));
            }
            let is_allowed = allowed.contains(&target)
                || target == TESTKIT
                || is_for_tests && TEST_ARROWS.contains(&(crate_name, target));
            (!is_allowed)
                .then(|| format!("{crate_name} -> {target}: no such arrow in the architecture"))
        })
        .collect()
}

/// Walks normal dependencies (not those of tests and build scripts) and reports the way to each impure crate.
fn impurities<'m>(
    id: &str,
    way: &[&'m str],
    nodes: &BTreeMap<&'m str, &'m Value>,
    packages: &BTreeMap<&'m str, &'m Value>,
    seen: &mut BTreeSet<&'m str>,
    found: &mut Vec<String>,
) {
    let Some(node) = nodes.get(id) else { return };
    for dependency in list(&node["deps"]) {
        let is_normal = list(&dependency["dep_kinds"])
            .any(|kind| kind["kind"].is_null() && !is_for_browsers(&kind["target"]));
        let Some(target) = dependency["pkg"]
            .as_str()
            .filter(|target| is_normal && seen.insert(target))
        else {
            continue;
        };
        let Some(package) = packages.get(target) else {
            continue;
        };
        let is_harmless = way
            .last()
            .is_some_and(|from| HARMLESS.contains(&(from, name(package))));
        if is_harmless {
            // Another way to the same crate may still be a forbidden one.
            seen.remove(target);
            continue;
        }
        let way = [way, &[name(package)]].concat();
        if IMPURE.contains(&name(package)) {
            found.push(format!(
                "{}: a pure crate must not reach I/O, a runtime or chance",
                way.join(" -> ")
            ));
        } else {
            impurities(target, &way, nodes, packages, seen, found);
        }
    }
}

/// True for a dependency that is there on WebAssembly only, where no server runs.
fn is_for_browsers(target: &Value) -> bool {
    target.as_str().is_some_and(|target| {
        target.contains("target_arch = \"wasm32\"")
            && !target.contains("not(")
            && !target.contains("any(")
    })
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    list(value).filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A workspace of the given dependencies (from, to, kind); crates named like ours are its members.
    fn sample(edges: &[(&str, &str, Value)]) -> String {
        let names: BTreeSet<&str> = edges
            .iter()
            .flat_map(|(from, to, _)| [*from, *to])
            .collect();
        let of = |name: &str| {
            edges
                .iter()
                .filter(|(from, _, _)| *from == name)
                .cloned()
                .collect::<Vec<_>>()
        };
        let packages: Vec<Value> = names
            .iter()
            .map(|name| json!({"id": name, "name": name, "dependencies": of(name).iter().map(|(_, to, kind)| json!({"name": to, "kind": kind})).collect::<Vec<_>>()}))
            .collect();
        let nodes: Vec<Value> = names
            .iter()
            .map(|name| json!({"id": name, "deps": of(name).iter().map(|(_, to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]})).collect::<Vec<_>>()}))
            .collect();
        let members: Vec<&&str> = names
            .iter()
            .filter(|name| name.starts_with("kentongan"))
            .collect();
        json!({"packages": packages, "workspace_members": members, "resolve": {"nodes": nodes}})
            .to_string()
    }

    fn check_edges(edges: &[(&str, &str, Value)], expected: &[&str]) {
        assert_eq!(check(&sample(edges)).unwrap(), expected);
    }

    #[test]
    fn arrows_point_one_way() {
        let normal = Value::Null;
        check_edges(&[("kentongan", "kentongan-protocol", normal.clone())], &[]);
        check_edges(
            &[("kentongan-protocol", "kentongan", normal.clone())],
            &["kentongan-protocol -> kentongan: no such arrow in the architecture"],
        );
        check_edges(
            &[("kentongan-new", "bytes", normal)],
            &["kentongan-new: not in the table of arrows (xtask/src/tidy/graph.rs)"],
        );
    }

    #[test]
    fn the_testkit_is_for_tests() {
        check_edges(&[("kentongan", "kentongan-testkit", json!("dev"))], &[]);
        check_edges(
            &[("kentongan", "kentongan-testkit", Value::Null)],
            &["kentongan: kentongan-testkit is for tests, so it must be a dev-dependency"],
        );
    }

    #[test]
    fn the_load_generator_knows_our_server_in_tests_alone() {
        let to_the_server = |kind| [("kentongan-load", "kentongan", kind)];
        check_edges(&to_the_server(json!("dev")), &[]);
        check_edges(
            &to_the_server(Value::Null),
            &["kentongan-load -> kentongan: no such arrow in the architecture"],
        );
    }

    #[test]
    fn the_protocol_crate_reaches_nothing_impure() {
        let bad =
            "kentongan-protocol -> a -> rand: a pure crate must not reach I/O, a runtime or chance";
        check_edges(
            &[
                ("kentongan-protocol", "a", Value::Null),
                ("a", "rand", Value::Null),
            ],
            &[bad],
        );
        check_edges(
            &[
                ("kentongan-protocol", "a", json!("dev")),
                ("a", "rand", Value::Null),
            ],
            &[],
        );
        check_edges(
            &[
                ("kentongan-protocol", "a", Value::Null),
                ("a", "rand", json!("build")),
            ],
            &[],
        );
    }

    #[test]
    fn seeds_of_hash_maps_are_harmless_and_hide_nothing() {
        let harmless = ("ahash", "getrandom", Value::Null);
        let to_ahash = ("kentongan-rules", "ahash", Value::Null);
        check_edges(&[to_ahash.clone(), harmless.clone()], &[]);
        check_edges(
            &[
                to_ahash,
                harmless,
                ("kentongan-rules", "zoo", Value::Null),
                ("zoo", "getrandom", Value::Null),
            ],
            &[
                "kentongan-rules -> zoo -> getrandom: a pure crate must not reach I/O, a runtime or chance",
            ],
        );
    }

    #[test]
    fn what_is_there_in_browsers_only_is_not_ours() {
        for (target, expected) in [
            (r#"cfg(target_arch = "wasm32")"#, true),
            (
                r#"cfg(all(target_arch = "wasm32", target_os = "unknown"))"#,
                true,
            ),
            (r#"cfg(not(target_arch = "wasm32"))"#, false),
            (r#"cfg(any(unix, target_arch = "wasm32"))"#, false),
            ("cfg(unix)", false),
        ] {
            assert_eq!(is_for_browsers(&json!(target)), expected, "{target}");
        }
        assert!(!is_for_browsers(&Value::Null));
    }

    #[test]
    fn nonsense_is_no_success() {
        assert!(check("{").is_err());
        assert_eq!(
            check("{}").unwrap(),
            ["cargo metadata names no member of the workspace"]
        );
    }
}
