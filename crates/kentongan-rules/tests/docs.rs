//! The documentation says what the code does.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

mod support;

use kentongan_rules::{Code, compile, limits};
use support::{compile_with, root, workspace};

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// The cells of all table rows whose first cell is code.
fn rows(page: &str) -> Vec<Vec<String>> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells = row.trim_matches('|').split(" | ");
        cells
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    })
    .collect()
}

const POLICY: (&str, &str) = ("p.cedar", "permit (principal, action, resource);");

#[test]
fn defaults_written_out_change_nothing() {
    let mut spelled = String::new();
    for row in rows(&page("defaults.md")) {
        let (setting, value) = (&row[0], &row[1]);
        // `auth.policies` is set below; a default of `none` cannot be written.
        if value == "none" || setting == "auth.policies" || setting == "features.*.presence.linger"
        {
            continue;
        }
        let setting = setting.replacen("features.*", "features.chat", 1).replacen(
            "messages.*",
            "messages.post",
            1,
        );
        let value = match value.as_str() {
            "the feature's" => "\"log\"",
            value => value,
        };
        spelled.push_str(&format!("{setting} = {value}\n"));
    }
    let common = "auth.policies = [\"p.cedar\"]\nauth.jwt.secret = \"env:A\"\nfeatures.chat.kind = \"log\"\nfeatures.chat.room = \"chat\"\nfeatures.chat.presence = {}\n";
    let silent = format!(
        "{common}features.chat.messages.post = {{}}\nfeatures.chat.replay.messages = 1000\n"
    );
    let silent = format!("{:?}", compile_with(&silent, &[POLICY]).unwrap());
    let written = common.replace("presence = {}", "presence.linger = \"15s\"") + &spelled;
    let written = match compile_with(&written, &[POLICY]) {
        Ok(rules) => format!("{rules:?}"),
        Err(diagnostics) => panic!("{}\n{written}", diagnostics[0]),
    };
    assert_eq!(silent, written);
    // The window has a default for each bound, whichever one is given.
    let by_age =
        format!("{common}features.chat.messages.post = {{}}\nfeatures.chat.replay.age = \"7d\"\n");
    assert_eq!(
        silent,
        format!("{:?}", compile_with(&by_age, &[POLICY]).unwrap())
    );
}

#[test]
fn every_setting_has_its_row() {
    let page = page("defaults.md");
    let known: Vec<String> = rows(&page).into_iter().map(|row| row[0].clone()).collect();
    // What the messages for unknown settings list is what the code knows.
    for (table, prefix) in [
        ("server", "server"),
        ("server.heartbeat", "server.heartbeat"),
        ("auth.claims", "auth.claims"),
        ("features.chat", "features.*"),
        ("features.chat.replay", "features.*.replay"),
        ("features.chat.show", "features.*.show"),
        ("features.chat.presence", "features.*.presence"),
        ("features.chat.messages.post", "features.*.messages.*"),
        (
            "features.chat.messages.post.rate",
            "features.*.messages.*.rate",
        ),
    ] {
        let diagnostics = compile_with(&format!("{table}.zzzzzzzz = 1"), &[]).unwrap_err();
        let unknown = diagnostics
            .iter()
            .find(|d| d.code == Code::UnknownSetting)
            .unwrap();
        for name in unknown.way_out.split('`').skip(1).step_by(2) {
            let setting = format!("{prefix}.{name}");
            let has_row = known
                .iter()
                .any(|known| *known == setting || known.starts_with(&format!("{setting}.")));
            let is_required = ["features.*.kind", "features.*.room"].contains(&setting.as_str());
            let is_without = [
                "auth.claims.org",
                "auth.claims.projects",
                "auth.claims.roles",
            ]
            .contains(&setting.as_str());
            assert!(
                has_row || is_required || is_without || setting == "features.*.messages",
                "{setting}"
            );
        }
    }
}

#[test]
fn every_code_is_in_the_reference() {
    let page = page("rules.md");
    let documented: Vec<String> = rows(&page).into_iter().map(|row| row[0].clone()).collect();
    for code in Code::ALL {
        assert!(
            documented.iter().any(|known| known == code.as_str()),
            "{code}"
        );
    }
    for number in [
        limits::DATA_DEPTH_MAX.to_string(),
        "10,000".into(),
        "65,536".into(),
        "1,000".into(),
    ] {
        assert!(page.contains(&number), "{number}");
    }
    assert_eq!(
        (
            limits::DATA_VALUES_MAX,
            limits::DECISIONS_MAX,
            limits::SCHEMA_STEPS_MAX
        ),
        (10_000, 65_536, 1_000)
    );
}

#[test]
fn the_example_in_the_reference_compiles() {
    assert!(compile(&workspace(), "kentongan.toml").is_ok());
}
