//! The pages under `docs` against the source: what the source can say is explained, and what is explained it can say.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kentongan::{ClientBundles, DisconnectReason, RefusalCode};
use regex::Regex;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// The sources of the library, the protocol and the store, without their tests.
fn sources() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![
        root().join("crates/kentongan/src"),
        root().join("crates/kentongan-protocol/src"),
        root().join("crates/kentongan-store/src"),
    ];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).unwrap();
                let tests = text.find("#[cfg(test)]\nmod tests {");
                found.push(text[..tests.unwrap_or(text.len())].to_owned());
            }
        }
    }
    found
}

/// What is captured by `pattern` in the sources.
fn captured(sources: &[String], pattern: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    sources
        .iter()
        .flat_map(|text| pattern.captures_iter(text))
        .map(|captures| captures[1].to_owned())
        .collect()
}

/// The text of every function of one of these names.
fn functions(sources: &[String], names: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for text in sources {
        for name in names {
            for (start, _) in text.match_indices(&format!("fn {name}(")) {
                let rest = &text[start..];
                found.push(rest[..rest.find("\n    }\n").unwrap()].to_owned());
            }
        }
    }
    found
}

/// All that the source can call an error, a refusal, an end or an outcome.
fn codes() -> BTreeSet<String> {
    let sources = sources();
    let mut codes = captured(&functions(&sources, &["code"]), r#"=> "([^"]+)""#);
    codes.extend(captured(&sources, r#"Violation\(\d+, "([^"]+)"\)"#));
    codes.extend(captured(&sources, r#"\.with_code\("([^"]+)"\)"#));
    codes.extend(captured(&sources, r#"const REFUSED: &str = "([^"]+)""#));
    codes.extend(RefusalCode::ALL.map(|code| code.as_str().to_owned()));
    codes.extend(DisconnectReason::ALL.map(|reason| reason.as_str().to_owned()));
    // The close codes of WebSocket: constants, and those of errors.
    codes.extend(captured(&sources, r"const [A-Z_]+: u16 = (1\d\d\d);"));
    codes.extend(captured(&sources, r"Violation\((1\d\d\d),"));
    codes.extend(captured(
        &functions(&sources, &["close_code"]),
        r"=> (1\d\d\d)",
    ));
    // Examples in documentation are the application's own.
    codes.remove("token_expired");
    codes
}

#[test]
fn every_code_is_explained() {
    let page = page("errors.md");
    let codes = codes();
    for probe in [
        "ack_timed_out",
        "websocket_control_flood",
        "slow consumer",
        "internal",
        "refused",
        "gap",
        "1013",
        "1008",
        "too_deep",
    ] {
        assert!(codes.contains(probe), "the sources are read: {probe}");
    }
    let missing: Vec<_> = codes
        .iter()
        .filter(|code| !page.contains(&format!("| `{code}` |")))
        .collect();
    assert!(
        missing.is_empty(),
        "no row in docs/errors.md begins with {missing:?}"
    );
}

#[test]
fn every_text_for_a_client_is_explained() {
    let page = page("errors.md");
    let sources = sources();
    let mut texts = captured(&functions(&sources, &["response"]), r#"\(\d, "([^"]+)"\)"#);
    texts.extend(captured(&sources, r#"Refusal::new\("([^"]+)"\)"#));
    texts.extend(captured(
        &functions(&sources, &["client_text"]),
        r#"Self::Deserialize\(_\) => "([^"]+)""#,
    ));
    texts.extend(captured(
        &sources,
        r#"connect_error\([^;]*?"([^"]+)",\s*None"#,
    ));
    for probe in [
        "Session ID unknown",
        "Invalid namespace",
        "Timed out",
        "Internal error",
        "Too many namespaces",
    ] {
        assert!(
            texts.contains(probe),
            "the sources are read: {probe} in {texts:?}"
        );
    }
    // Examples in documentation are the application's own.
    for example in ["no", "your session is over"] {
        texts.remove(example);
    }
    let missing: Vec<_> = texts.iter().filter(|text| !page.contains(*text)).collect();
    assert!(
        missing.is_empty(),
        "docs/errors.md does not mention {missing:?}"
    );
}

#[test]
fn every_row_is_of_a_code_that_exists() {
    let codes = codes();
    let page = page("errors.md");
    let rows = Regex::new(r"(?m)^\| `([a-z_0-9 ]+)` \|").unwrap();
    let mut known = codes;
    // A text for people, in a table of texts.
    known.insert("invalid arguments".to_owned());
    let stale: Vec<_> = rows
        .captures_iter(&page)
        .map(|row| row[1].to_owned())
        .filter(|code| !known.contains(code))
        .collect();
    assert!(
        stale.is_empty(),
        "rows of codes that nothing gives: {stale:?}"
    );
}

#[test]
fn every_page_of_the_guide_is_a_module_and_shown() {
    let list = fs::read_to_string(root().join("crates/kentongan/src/guide.rs")).unwrap();
    let overview = page("guide/overview.md");
    for entry in fs::read_dir(root().join("docs/guide")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".md").filter(|name| *name != "overview") else {
            continue;
        };
        assert!(
            list.contains(&format!("    {name}\n")),
            "{name} is no page of `guide`"
        );
        assert!(
            overview.contains(&format!("[`guide::{name}`]")),
            "the overview does not lead to {name}"
        );
    }
}

#[test]
fn the_client_of_the_testing_page_is_the_one_of_the_examples() {
    let client = page("guide/client.rs.in");
    assert!(page("guide/testing.md").contains(client.trim_end()));
}

#[test]
fn the_names_of_the_bundles_are_those_of_the_package() {
    // What socket.io-client 4.8 has in `dist`.
    let kinds = ["", ".min", ".esm.min", ".msgpack.min"];
    let expected: BTreeSet<_> = kinds
        .iter()
        .flat_map(|kind| {
            [
                format!("socket.io{kind}.js"),
                format!("socket.io{kind}.js.map"),
            ]
        })
        .collect();
    assert_eq!(
        ClientBundles::NAMES
            .map(str::to_owned)
            .into_iter()
            .collect::<BTreeSet<_>>(),
        expected
    );
}
