//! The files of the stock client, as browsers and caches ask for them: raw HTTP in, every header that matters out.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::{io::Read, path::PathBuf};

use flate2::read::GzDecoder;
use http_body::Body as _;
use kentongan::{Body, ClientBundles, ClientBundlesError, Config, Cors};
use support::{
    TestServer,
    http::{Answer, get, request},
    start,
};
use tower_service::Service as _;

const SCRIPT: &str = "/socket.io/socket.io.min.js";
const MAP: &str = "/socket.io/socket.io.min.js.map";

/// Long and repetitive, so that gzip makes it smaller.
fn script() -> String {
    "export const io = () => 'not the real one';\n".repeat(100)
}

fn bundles() -> ClientBundles {
    ClientBundles::from_files([
        ("socket.io.min.js", script()),
        ("socket.io.min.js.map", "{}".to_owned()),
    ])
    .unwrap()
}

async fn serve_bundles(change: impl FnOnce(&mut Config)) -> TestServer {
    let mut config = Config::default();
    config.client_bundles = Some(bundles());
    change(&mut config);
    start(config).await
}

async fn ask(server: &TestServer, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    request(server.addr, method, target, headers, b"").await
}

/// A folder of this test's own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kentongan-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, contents: &[u8]) {
        std::fs::write(self.0.join(name), contents).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_bundle_is_served_with_its_type_and_a_tag() {
    let server = serve_bundles(|_| {}).await;
    for (target, content_type, body) in [
        (SCRIPT, "application/javascript; charset=utf-8", script()),
        (MAP, "application/json; charset=utf-8", "{}".to_owned()),
    ] {
        let answer = get(server.addr, target).await;
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=0"));
        assert_eq!(answer.header("content-encoding"), None);
        assert_eq!(answer.text(), body);
        let etag = answer.header("etag").unwrap();
        assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    }
    // A query, such as one that defeats caches, changes nothing.
    assert_eq!(get(server.addr, &format!("{SCRIPT}?v=2")).await.status, 200);
}

#[tokio::test]
async fn the_engine_goes_on_next_to_the_bundles() {
    let server = serve_bundles(|_| {}).await;
    let handshake = get(server.addr, "/socket.io/?EIO=4&transport=polling").await;
    assert!(handshake.text().starts_with('0'), "{handshake:?}");
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let server = serve_bundles(|_| {}).await;
    let gzip = ("Accept-Encoding", "gzip");
    let plain_tag = get(server.addr, SCRIPT)
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    let gzip_tag = ask(&server, "GET", SCRIPT, &[gzip])
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    assert_ne!(plain_tag, gzip_tag, "strong tags differ where the bytes do");
    let other = get(server.addr, MAP)
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    for (tags, expected) in [
        (plain_tag.clone(), 304),
        (gzip_tag, 304),
        (format!("W/{plain_tag}"), 304),
        (format!("\"x\", W/\"y\" ,{plain_tag}"), 304),
        ("*".to_owned(), 304),
        (other, 200),
        ("\"\"".to_owned(), 200),
        (plain_tag.trim_matches('"').to_owned(), 200),
        (String::new(), 200),
    ] {
        let answer = ask(&server, "GET", SCRIPT, &[("If-None-Match", &tags)]).await;
        assert_eq!(answer.status, expected, "{tags:?}");
        assert_eq!(answer.header("etag"), Some(&*plain_tag));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=0"));
        assert_eq!(answer.body.is_empty(), expected == 304, "{tags:?}");
    }
}

#[tokio::test]
async fn gzip_for_those_who_take_it() {
    let server = serve_bundles(|_| {}).await;
    for (accepted, gzip) in [
        ("gzip, deflate, br", true),
        ("br", false),
        ("gzip;q=0", false),
        ("deflate", false),
    ] {
        let answer = ask(&server, "GET", SCRIPT, &[("Accept-Encoding", accepted)]).await;
        let encoding = answer.header("content-encoding");
        assert_eq!(encoding, gzip.then_some("gzip"), "{accepted}");
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{accepted}");
        let mut text = String::new();
        if gzip {
            assert!(answer.body.len() < script().len());
            GzDecoder::new(&*answer.body)
                .read_to_string(&mut text)
                .unwrap();
        } else {
            text.push_str(answer.text());
        }
        assert_eq!(text, script(), "{accepted}");
    }
    // Too small to be worth it.
    let answer = ask(&server, "GET", MAP, &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(answer.header("content-encoding"), None);
    let never = serve_bundles(|config| config.http_compression_bytes_min = None).await;
    let answer = ask(&never, "GET", SCRIPT, &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(
        (answer.header("content-encoding"), answer.header("vary")),
        (None, None)
    );
}

#[tokio::test]
async fn head_says_what_get_would() {
    let server = serve_bundles(|_| {}).await;
    for headers in [&[][..], &[("Accept-Encoding", "gzip")]] {
        let mut got = ask(&server, "GET", SCRIPT, headers).await;
        let head = ask(&server, "HEAD", SCRIPT, headers).await;
        got.headers.retain(|(name, _)| name != "date");
        let mut told = head.headers.clone();
        told.retain(|(name, _)| name != "date");
        got.headers.sort();
        told.sort();
        assert_eq!((head.status, told), (got.status, got.headers));
        assert_eq!(head.body, b"");
        // hyper's HTTP/1 would drop a body; others that the service is mounted in might not.
        let mut asked = http::Request::head(SCRIPT);
        for (name, value) in headers {
            asked = asked.header(*name, *value);
        }
        let asked = asked.body(Body::default()).unwrap();
        let mut service = server.server.service();
        let Ok(answer) = service.call(asked).await;
        assert_eq!(answer.body().size_hint().exact(), Some(0));
    }
}

#[tokio::test]
async fn other_methods_are_refused() {
    let server = serve_bundles(|_| {}).await;
    for method in ["POST", "PUT", "DELETE"] {
        let answer = ask(&server, method, SCRIPT, &[]).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD")),
            "{method}"
        );
    }
}

#[tokio::test]
async fn names_are_looked_up_and_never_followed() {
    let folder = Folder::new("names");
    folder.write("socket.io.js", b"the client");
    folder.write("secret.js", b"a secret");
    folder.write("index.js", b"a secret");
    let server = serve_bundles(|config| {
        config.client_bundles = Some(ClientBundles::from_folder(&folder.0).unwrap());
    })
    .await;
    assert_eq!(
        get(server.addr, "/socket.io/socket.io.js").await.body,
        b"the client"
    );
    for target in [
        "/socket.io/socket.io.min.js", // A name of the set that the folder does not have.
        "/socket.io/secret.js",
        "/socket.io/index.js",
        "/socket.io/../secret.js",
        "/socket.io/socket.io.js/../secret.js",
        "/socket.io/%2e%2e/secret.js",
        "/socket.io/..%2fsecret.js",
        "/socket.io/socket.io.js%00",
        "/socket.io/SOCKET.IO.JS",
        "/socket.io/socket.io.js/",
        "/socket.io/socket.io.js/.",
    ] {
        let answer = get(server.addr, target).await;
        assert!(matches!(answer.status, 400 | 404), "{target}: {answer:?}");
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(
            !body.contains("secret") && !body.contains("client"),
            "{target}: {body}"
        );
    }
    let missing = get(server.addr, "/socket.io/socket.io.min.js").await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn without_bundles_the_engine_answers() {
    let server = start(Config::default()).await;
    let answer = get(server.addr, SCRIPT).await;
    assert_eq!(
        (answer.status, answer.text()),
        (400, r#"{"code":0,"message":"Transport unknown"}"#)
    );
}

#[tokio::test]
async fn pages_of_other_origins_may_load_a_bundle_and_those_of_the_list_may_read_it() {
    let server = serve_bundles(|config| config.cors = Cors::list(["https://good.example"])).await;
    for (origin, allowed) in [
        ("https://good.example", Some("https://good.example")),
        ("https://bad.example", None),
    ] {
        let answer = ask(&server, "GET", SCRIPT, &[("Origin", origin)]).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (200, allowed)
        );
    }
}

#[test]
fn a_folder_is_read_within_the_limit() {
    let folder = Folder::new("limit");
    assert!(matches!(
        ClientBundles::from_folder(&folder.0),
        Err(ClientBundlesError::Missing)
    ));
    let half = ClientBundles::BYTES_MAX / 2;
    folder.write("socket.io.js", &vec![b'x'; half]);
    folder.write("socket.io.js.map", &vec![b'x'; half]);
    ClientBundles::from_folder(&folder.0).expect("exactly the limit");
    folder.write("socket.io.js.map", &vec![b'x'; half + 1]);
    let error = ClientBundles::from_folder(&folder.0).unwrap_err();
    assert_eq!(error.code(), "bundles_too_large");
    folder.write("socket.io.js.map", b"");
    std::fs::create_dir(folder.0.join("socket.io.min.js")).unwrap();
    let error = ClientBundles::from_folder(&folder.0).unwrap_err();
    assert_eq!(error.code(), "bundles_read", "a folder is no file");
}

#[test]
fn other_names_are_refused() {
    let error = ClientBundles::from_files([("../socket.io.js", "x")]).unwrap_err();
    assert_eq!(error.code(), "bundles_name");
    let none: [(&str, &str); 0] = [];
    assert_eq!(
        ClientBundles::from_files(none).unwrap_err().code(),
        "bundles_missing"
    );
}
