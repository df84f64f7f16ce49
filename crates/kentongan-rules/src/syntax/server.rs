//! `[server]` and `[auth]` as they stand in the file.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::table::{Table, shortened};
use crate::defaults;
use crate::diagnostic::{Code, Diagnostic};
use crate::settings::{Algorithm, Auth, Claims, Heartbeat, Jwt, KeySource, Server, Store};
use crate::source::{At, Report};

/// From a second, which a phone's radio can keep up, to what proxies allow a silent line.
const HEARTBEAT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
/// From a kilobyte to what fits into memory many times over.
const MESSAGE_BYTES: RangeInclusive<u64> = 1_000..=64 * 1024 * 1024;
const SHARED_KEY: [(&str, Algorithm); 3] = [
    ("HS256", Algorithm::Hs256),
    ("HS384", Algorithm::Hs384),
    ("HS512", Algorithm::Hs512),
];
const PUBLIC_KEY: [(&str, Algorithm); 7] = [
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
];

/// `[server]`.
#[derive(Debug)]
pub(crate) struct ServerNode {
    pub(crate) settings: Server,
}

/// `[auth]`.
#[derive(Debug)]
pub(crate) struct AuthNode {
    pub(crate) settings: Auth,
    pub(crate) policies: Vec<At<String>>,
}

impl ServerNode {
    pub(crate) fn read(table: Option<Table<'_>>, report: &mut Report) -> Self {
        let mut settings = Server {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            origins: Vec::new(),
            store: store(defaults::STORE).expect("a default is valid"),
            heartbeat: Heartbeat {
                interval: defaults::HEARTBEAT_INTERVAL,
                timeout: defaults::HEARTBEAT_TIMEOUT,
            },
            message_bytes_max: defaults::MESSAGE_BYTES_MAX,
        };
        debug_assert_eq!(settings.listen.to_string(), defaults::LISTEN);
        let Some(mut table) = table else {
            return Self { settings };
        };
        if let Some(text) = table.string("listen", report) {
            match text.value.parse() {
                Ok(address) => settings.listen = address,
                Err(_) => report.push(table.source.diagnostic(
                    Code::Address,
                    &text.span,
                    "`server.listen` is not an address with a port",
                    "write an IP address and a port, such as \"0.0.0.0:8080\" or \"[::]:8080\"",
                )),
            }
        }
        for origin in table.strings("origins", report).unwrap_or_default() {
            if is_origin(origin.value) {
                settings.origins.push(origin.value.to_owned());
            } else {
                let message = format!("`{}` is not an origin", shortened(origin.value));
                report.push(table.source.diagnostic(
                    Code::Address,
                    &origin.span,
                    message,
                    "an origin is scheme, host and perhaps port, as browsers send it: \"https://app.example.com\"",
                ));
            }
        }
        if let Some(text) = table.string("store", report) {
            match store(text.value) {
                Some(store) => settings.store = store,
                None if text.value.contains('@') => report.push(hidden(table.source.diagnostic(
                    Code::SecretInFile,
                    &text.span,
                    "`server.store` has a password in it",
                    "a secret never stands in the rules file: write \"env:NAME\"",
                ))),
                None => report.push(table.source.diagnostic(
                    Code::Address,
                    &text.span,
                    "`server.store` is not a store",
                    "write \"embedded:<folder>\", \"redis://…\", \"rediss://…\" or \"env:NAME\"",
                )),
            }
        }
        if let Some(mut heartbeat) = table.table("heartbeat", report) {
            if let Some(interval) = heartbeat.duration("interval", HEARTBEAT, report) {
                settings.heartbeat.interval = interval.value;
            }
            if let Some(timeout) = heartbeat.duration("timeout", HEARTBEAT, report) {
                settings.heartbeat.timeout = timeout.value;
            }
            heartbeat.finish(report);
        }
        if let Some(bytes) = table.size("message_max", MESSAGE_BYTES, report) {
            settings.message_bytes_max = bytes.value;
        }
        table.finish(report);
        Self { settings }
    }
}

impl AuthNode {
    pub(crate) fn read(table: Option<Table<'_>>, report: &mut Report) -> Self {
        let mut node = Self {
            settings: Auth {
                jwt: None,
                claims: Claims {
                    user: defaults::CLAIM_USER.to_owned(),
                    org: None,
                    projects: None,
                    roles: None,
                },
            },
            policies: Vec::new(),
        };
        let Some(mut table) = table else {
            return node;
        };
        if let Some(jwt) = table.table("jwt", report) {
            node.settings.jwt = read_jwt(jwt, report);
        }
        if let Some(mut claims) = table.table("claims", report) {
            let mut name = |key| claim(&mut claims, key, report);
            if let Some(user) = name("user") {
                node.settings.claims.user = user;
            }
            node.settings.claims.org = name("org");
            node.settings.claims.projects = name("projects");
            node.settings.claims.roles = name("roles");
            claims.finish(report);
        }
        for path in table.strings("policies", report).unwrap_or_default() {
            node.policies
                .push(At::new(path.value.to_owned(), path.span));
        }
        table.finish(report);
        node
    }
}

/// The name of a claim.
fn claim(table: &mut Table<'_>, key: &'static str, report: &mut Report) -> Option<String> {
    let name = table.string(key, report)?;
    if name.value.is_empty() {
        report.push(table.source.diagnostic(
            Code::Name,
            &name.span,
            format!("`auth.claims.{key}` is empty"),
            "name the claim of the token, or take the line out",
        ));
        return None;
    }
    Some(name.value.to_owned())
}

fn read_jwt(mut table: Table<'_>, report: &mut Report) -> Option<Jwt> {
    let secret = table.string("secret", report);
    let jwks = table.string("jwks", report);
    let choices: &[(&str, Algorithm)] = if jwks.is_some() {
        &PUBLIC_KEY
    } else {
        &SHARED_KEY
    };
    let algorithm = table.choice("algorithm", choices, report);
    let source = table.source;
    let span = table.span.clone();
    table.finish(report);
    let (key, default) = match (secret, jwks) {
        (Some(secret), None) => {
            let key = match secret.value.split_once(':') {
                Some(("env", name)) if !name.is_empty() => KeySource::Environment(name.to_owned()),
                Some(("file", path)) if !path.is_empty() => KeySource::File(path.to_owned()),
                _ => {
                    report.push(hidden(source.diagnostic(
                        Code::SecretInFile,
                        &secret.span,
                        "`auth.jwt.secret` is not a place",
                        "a secret never stands in the rules file: write \"env:NAME\" or \"file:path\"",
                    )));
                    return None;
                }
            };
            (key, Algorithm::Hs256)
        }
        (None, Some(jwks)) => {
            if !jwks.value.starts_with("https://") {
                report.push(source.diagnostic(
                    Code::Address,
                    &jwks.span,
                    "`auth.jwt.jwks` is not an https address",
                    "keys that come over an open line can be anyone's: write \"https://…\"",
                ));
            }
            (KeySource::Jwks(jwks.value.to_owned()), Algorithm::Rs256)
        }
        _ => {
            report.push(source.diagnostic(
                Code::MissingSetting,
                &span,
                "`auth.jwt` needs one key: `secret` or `jwks`",
                "write `jwt = { secret = \"env:NAME\" }`, or `jwt = { jwks = \"https://…\" }`",
            ));
            return None;
        }
    };
    Some(Jwt {
        key,
        algorithm: algorithm.map_or(default, |algorithm| algorithm.value),
    })
}

/// The line may hold a real secret, and the text goes to logs.
fn hidden(mut diagnostic: Diagnostic) -> Diagnostic {
    diagnostic.text = " ".repeat(diagnostic.indent) + "…";
    diagnostic.width = 1;
    diagnostic
}

fn store(text: &str) -> Option<Store> {
    match text.split_once(':')? {
        ("embedded", folder) if !folder.is_empty() => Some(Store::Embedded {
            folder: folder.to_owned(),
        }),
        ("env", name) if !name.is_empty() => Some(Store::Environment {
            name: name.to_owned(),
        }),
        // A user part could have a password in it.
        ("redis" | "rediss", rest)
            if rest.len() > 2 && rest.starts_with("//") && !rest.contains('@') =>
        {
            Some(Store::Redis {
                url: text.to_owned(),
            })
        }
        _ => None,
    }
}

/// Exactly what a browser sends: no path, no wildcard, no capitals.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
    matches!(scheme, "http" | "https") && !host.is_empty() && host.chars().all(is_allowed)
}
