//! Which web origins may connect, and the CORS headers that let a browser read the answers (Fetch standard, section 3.2).
//!
//! The list guards every entry, the WebSocket handshake too: browsers do not apply CORS to WebSockets, so without the
//! check any page could connect with its visitor's cookies (CVE-2026-44211, cross-site WebSocket hijacking).

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, header};

/// Origins that may connect and what browsers are told about them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Cors {
    /// Origins that may connect. Same origin only.
    pub origins: Origins,
    /// Whether cookies may be sent along (`Access-Control-Allow-Credentials`). Off.
    pub credentials: bool,
    /// Methods told to a preflight. `GET,HEAD,PUT,PATCH,POST,DELETE`, as Node does.
    pub methods: String,
    /// Headers told to a preflight. `None` repeats what the browser asks for.
    pub allowed_headers: Option<String>,
    /// Headers that scripts may read.
    pub exposed_headers: Option<String>,
    /// How long a browser may remember a preflight.
    pub max_age: Option<Duration>,
}

/// A set of web origins.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Origins {
    /// Only pages from the host that the request was sent to. Requests without an `Origin` are not from a page and pass.
    #[default]
    SameOrigin,
    /// Every origin.
    Any,
    /// Exactly these, such as `https://app.example.com`. No patterns: suffix tricks are how lists are evaded.
    List(Vec<String>),
    /// A decision of the application; it is given the `Origin` header.
    Predicate(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl Cors {
    /// Lets pages of every origin connect.
    #[must_use]
    pub fn any() -> Self {
        Self {
            origins: Origins::Any,
            ..Self::default()
        }
    }

    /// Lets pages of exactly these origins connect.
    #[must_use]
    pub fn list<T: Into<String>>(origins: impl IntoIterator<Item = T>) -> Self {
        Self {
            origins: Origins::List(origins.into_iter().map(Into::into).collect()),
            ..Self::default()
        }
    }

    /// Whether a request with these headers may go on.
    pub(crate) fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        match &self.origins {
            Origins::Any => true,
            Origins::List(list) => list.iter().any(|each| each == origin),
            Origins::Predicate(predicate) => predicate(origin),
            Origins::SameOrigin => headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok())
                .zip(origin.split_once("://"))
                .is_some_and(|(host, (_, origin_host))| host.eq_ignore_ascii_case(origin_host)),
        }
    }

    /// Adds the headers for an answer to `request`. Nothing is added for requests that no page sent.
    pub(crate) fn apply(&self, request: &HeaderMap, response: &mut HeaderMap) {
        if matches!(self.origins, Origins::SameOrigin) {
            return;
        }
        let Some(origin) = request.get(header::ORIGIN).filter(|_| self.allows(request)) else {
            return;
        };
        if matches!(self.origins, Origins::Any) && !self.credentials {
            response.insert(
                header::ACCESS_CONTROL_ALLOW_ORIGIN,
                HeaderValue::from_static("*"),
            );
        } else {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            response.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if self.credentials {
            response.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
        if let Some(exposed) = &self.exposed_headers {
            insert(response, header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }

    /// Whether this is a browser's preflight that we answer.
    pub(crate) fn is_preflight(&self, method: &Method, headers: &HeaderMap) -> bool {
        *method == Method::OPTIONS
            && !matches!(self.origins, Origins::SameOrigin)
            && headers.contains_key(header::ORIGIN)
    }

    /// Adds the headers of a preflight's answer (status 204).
    pub(crate) fn apply_preflight(&self, request: &HeaderMap, response: &mut HeaderMap) {
        self.apply(request, response);
        insert(
            response,
            header::ACCESS_CONTROL_ALLOW_METHODS,
            &self.methods,
        );
        response.append(
            header::VARY,
            HeaderValue::from_static("Access-Control-Request-Headers"),
        );
        match (
            &self.allowed_headers,
            request.get(header::ACCESS_CONTROL_REQUEST_HEADERS),
        ) {
            (Some(allowed), _) => insert(response, header::ACCESS_CONTROL_ALLOW_HEADERS, allowed),
            (None, Some(asked)) => {
                drop(response.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone()))
            }
            (None, None) => {}
        }
        if let Some(age) = self.max_age {
            response.insert(
                header::ACCESS_CONTROL_MAX_AGE,
                HeaderValue::from(age.as_secs()),
            );
        }
    }
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            origins: Origins::default(),
            credentials: false,
            methods: "GET,HEAD,PUT,PATCH,POST,DELETE".into(),
            allowed_headers: None,
            exposed_headers: None,
            max_age: None,
        }
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameOrigin => f.write_str("SameOrigin"),
            Self::Any => f.write_str("Any"),
            Self::List(list) => f.debug_tuple("List").field(list).finish(),
            Self::Predicate(_) => f.write_str("Predicate(_)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn cve_2026_44211_origin_tricks_do_not_pass_a_list() {
        let cors = Cors::list(["https://good.example"]);
        for (origin, expected) in [
            ("https://good.example", true),
            ("https://good.example.evil", false),
            ("https://evil.example", false),
            ("http://good.example", false),
            ("https://good.example:8443", false),
            ("https://GOOD.example", false),
            ("null", false),
            ("", false),
            ("https://good.example/", false),
            ("https://good.example@evil.example", false),
        ] {
            assert_eq!(
                cors.allows(&headers(&[("origin", origin)])),
                expected,
                "{origin:?}"
            );
        }
    }

    #[test]
    fn cve_2020_28481_default_is_same_origin() {
        let cors = Cors::default();
        assert!(cors.allows(&headers(&[
            ("host", "a.example:80"),
            ("origin", "http://a.example:80")
        ])));
        assert!(!cors.allows(&headers(&[
            ("host", "a.example"),
            ("origin", "http://b.example")
        ])));
        assert!(!cors.allows(&headers(&[("origin", "http://a.example")])));
        assert!(!cors.allows(&headers(&[("host", "a.example"), ("origin", "null")])));
        assert!(
            cors.allows(&headers(&[("host", "a.example")])),
            "not from a page"
        );
    }

    #[test]
    fn answers_carry_the_headers() {
        let mut out = HeaderMap::new();
        Cors::any().apply(&headers(&[("origin", "http://x")]), &mut out);
        assert_eq!(out[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        let mut cors = Cors::any();
        cors.credentials = true;
        let mut out = HeaderMap::new();
        cors.apply(&headers(&[("origin", "http://x")]), &mut out);
        assert_eq!(out[header::ACCESS_CONTROL_ALLOW_ORIGIN], "http://x");
        assert_eq!(out[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    }
}
