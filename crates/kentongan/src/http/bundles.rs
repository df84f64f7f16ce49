//! The client bundles of `socket.io-client`, served next to the engine (Node's `serveClient`).
//!
//! Owns a fixed set of names and the bytes behind them, read once. It must not know the file system afterwards: a request
//! is looked up among the names, so no path in it can lead anywhere else.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use sha1::{Digest, Sha1};

use super::{
    compression,
    reply::{self, Body},
};

/// The files that browsers load the stock client from, held in memory: `{path}socket.io.js` and its kin.
///
/// Nothing is served unless an application gives the files, from the npm package `socket.io-client` that it depends on:
///
/// ```no_run
/// use kentongan::{ClientBundles, Config};
///
/// let mut config = Config::default();
/// config.client_bundles = Some(ClientBundles::from_folder("node_modules/socket.io-client/dist")?);
/// # Ok::<(), kentongan::ClientBundlesError>(())
/// ```
///
/// The service has to be mounted where these paths lead: `Server::serve` and the layer do it by themselves, a router needs
/// `/socket.io/{file}` next to `/socket.io/`.
///
/// Answers have an `ETag` of the contents, so that a page that has the file asks only whether it changed (304). They are
/// compressed with gzip for clients that accept it, as [`Config::http_compression_bytes_min`] says; that is done once, at
/// start-up. Whoever may not connect may still load them: the list of origins decides only who may read them by script.
///
/// [`Config::http_compression_bytes_min`]: crate::Config::http_compression_bytes_min
#[derive(Clone)]
pub struct ClientBundles {
    /// In the order of [`ClientBundles::NAMES`].
    files: Arc<[Option<Bundle>; NAMES_COUNT]>,
}

struct Bundle {
    plain: Variant,
    /// `None` when it would not be smaller.
    gzip: Option<Variant>,
}

struct Variant {
    body: Bytes,
    /// Strong, so it differs between the two (RFC 9110, section 8.8.3.3).
    etag: HeaderValue,
}

/// The client bundles could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientBundlesError {
    /// A file is there and cannot be read.
    #[error("cannot read {name}: {error}")]
    Read {
        /// The file's name.
        name: &'static str,
        /// Why.
        error: io::Error,
    },
    /// The files together are larger than allowed.
    #[error("the client bundles are larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// None of the files is there.
    #[error("no client bundle found: expected socket.io.js or its kin")]
    Missing,
    /// A file of this name is never served.
    #[error("{0:?} is not the name of a client bundle")]
    Name(String),
}

impl ClientBundlesError {
    /// Stable name for metrics and logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "bundles_read",
            Self::TooLarge { .. } => "bundles_too_large",
            Self::Missing => "bundles_missing",
            Self::Name(_) => "bundles_name",
        }
    }
}

impl ClientBundles {
    /// The names that can be served, those that Node serves.
    pub const NAMES: [&'static str; NAMES_COUNT] = [
        "socket.io.js",
        "socket.io.js.map",
        "socket.io.min.js",
        "socket.io.min.js.map",
        "socket.io.esm.min.js",
        "socket.io.esm.min.js.map",
        "socket.io.msgpack.min.js",
        "socket.io.msgpack.min.js.map",
    ];

    /// Bytes of all files together, uncompressed. 8 MiB; those of socket.io-client 4.8 are 1.2 MB.
    pub const BYTES_MAX: usize = 8 << 20;

    /// Reads the files of [`Self::NAMES`] that `folder` has, and nothing else of it. Blocks while it reads.
    ///
    /// # Errors
    /// [`ClientBundlesError`]: a file cannot be read, they are larger than [`Self::BYTES_MAX`], or there is none.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, ClientBundlesError> {
        let mut files = Vec::new();
        let mut left = Self::BYTES_MAX;
        for name in Self::NAMES {
            let Some(bytes) = read(&folder.as_ref().join(name), left)
                .map_err(|error| ClientBundlesError::Read { name, error })?
            else {
                continue;
            };
            left = left
                .checked_sub(bytes.len())
                .ok_or(ClientBundlesError::TooLarge {
                    bytes_max: Self::BYTES_MAX,
                })?;
            files.push((name, bytes));
        }
        Self::from_files(files)
    }

    /// From files that the program has already, such as by `include_bytes!`.
    ///
    /// # Errors
    /// [`ClientBundlesError`]: a name is not one of [`Self::NAMES`], they are larger than [`Self::BYTES_MAX`], or there is
    /// none.
    pub fn from_files<N: AsRef<str>, B: Into<Bytes>>(
        files: impl IntoIterator<Item = (N, B)>,
    ) -> Result<Self, ClientBundlesError> {
        let mut kept = [const { None }; NAMES_COUNT];
        let mut bytes = 0;
        for (name, body) in files {
            let (name, body) = (name.as_ref(), body.into());
            let slot = position(name)
                .and_then(|index| kept.get_mut(index))
                .ok_or_else(|| ClientBundlesError::Name(name.to_owned()))?;
            bytes += body.len();
            if bytes > Self::BYTES_MAX {
                return Err(ClientBundlesError::TooLarge {
                    bytes_max: Self::BYTES_MAX,
                });
            }
            *slot = Some(Bundle::new(body));
        }
        if kept.iter().all(Option::is_none) {
            return Err(ClientBundlesError::Missing);
        }
        Ok(Self {
            files: Arc::new(kept),
        })
    }

    /// The answer to a request for a bundle; `None`: it asks for something else. The last part of the path decides, since
    /// a router may have cut off what is before it.
    pub(crate) fn answer(
        &self,
        parts: &Parts,
        gzip_bytes_min: Option<usize>,
    ) -> Option<Response<Body>> {
        let index = position(parts.uri.path().rsplit('/').next()?)?;
        let Some(bundle) = self.files.get(index).and_then(Option::as_ref) else {
            return Some(reply::empty(StatusCode::NOT_FOUND));
        };
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            let mut response = reply::empty(StatusCode::METHOD_NOT_ALLOWED);
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(response);
        }
        let is_map = Self::NAMES
            .get(index)
            .is_some_and(|name| name.ends_with(".map"));
        Some(bundle.answer(parts, is_map, gzip_bytes_min))
    }
}

impl Bundle {
    fn new(body: Bytes) -> Self {
        let hash = URL_SAFE_NO_PAD.encode(Sha1::digest(&body));
        let gzip = compression::gzip_best(&body)
            .filter(|gzip| gzip.len() < body.len())
            .map(|body| Variant {
                body,
                etag: etag(&hash, "-gzip"),
            });
        Self {
            plain: Variant {
                body,
                etag: etag(&hash, ""),
            },
            gzip,
        }
    }

    fn answer(&self, parts: &Parts, is_map: bool, gzip_bytes_min: Option<usize>) -> Response<Body> {
        let gzip = self
            .gzip
            .as_ref()
            .filter(|_| gzip_bytes_min.is_some_and(|min| self.plain.body.len() >= min));
        let is_gzip = gzip.is_some() && compression::accepts_gzip(&parts.headers);
        let chosen = gzip.filter(|_| is_gzip).unwrap_or(&self.plain);
        let mut response = if self.is_known(&parts.headers) {
            reply::empty(StatusCode::NOT_MODIFIED)
        } else {
            self.whole(chosen, &parts.method, is_map, is_gzip)
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, chosen.etag.clone());
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=0"),
        );
        if gzip.is_some() {
            headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        response
    }

    fn whole(
        &self,
        chosen: &Variant,
        method: &Method,
        is_map: bool,
        is_gzip: bool,
    ) -> Response<Body> {
        let body = if *method == Method::HEAD {
            Body::default()
        } else {
            Body::new(chosen.body.clone())
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(if is_map {
                "application/json; charset=utf-8"
            } else {
                "application/javascript; charset=utf-8"
            }),
        );
        // Said here, since HEAD has no body to tell it from.
        headers.insert(header::CONTENT_LENGTH, chosen.body.len().into());
        if is_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    /// Whether the client says that it has the contents. The weak form of a tag counts too (RFC 9110, section 13.1.2), and
    /// so does the tag of the other encoding, since what it stands for has not changed.
    fn is_known(&self, request: &HeaderMap) -> bool {
        request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|tag| {
                let tag = tag.strip_prefix("W/").unwrap_or(tag);
                tag == "*"
                    || [Some(&self.plain), self.gzip.as_ref()]
                        .into_iter()
                        .flatten()
                        .any(|variant| variant.etag == tag)
            })
    }
}

impl fmt::Debug for ClientBundles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().zip(self.files.iter());
        f.debug_set()
            .entries(names.filter_map(|(name, file)| file.as_ref().map(|_| name)))
            .finish()
    }
}

fn position(name: &str) -> Option<usize> {
    ClientBundles::NAMES.iter().position(|each| *each == name)
}

fn etag(hash: &str, suffix: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{hash}{suffix}\"")).expect("base64 is ASCII")
}

/// The file's bytes, at most one more than `bytes_max`; `None`: there is no such file.
fn read(path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

const NAMES_COUNT: usize = 8;
