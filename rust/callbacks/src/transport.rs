//! The HTTP client of callbacks: sends one POST with a deadline.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Proxy, Response, redirect, retry};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use crate::concurrency::LARGEST;
use crate::destination::Connections;
use crate::egress_policy::EgressPolicy;
use crate::failure::{Cause, Failure};
use crate::resolver::{Lookup, Resolver};
use crate::signature::Signer;
use crate::tunnel;

/// Maximum time for establishing a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(15);
/// Idle connections per host: as many as may be in use at once, since a new connection costs as
/// much as several posts.
const IDLE_CONNECTIONS: usize = LARGEST;
/// Maximum number of fields of an answer. hyper prepares a place for each in every answer that it
/// reads: 1,024 cost 1 to 2 us, sixteen times as many 250 us.
const FIELDS: usize = 1_024;
/// Maximum bytes of a body that are read so that its connection can be used again.
const ANSWER: usize = 64 << 10;
/// Maximum time for reading a body; the result is known from the status by then.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// The longest pause that a receiver can ask for; a longer one is shortened to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// A PEM file that was read once: a process that starts later gets the content, not the file.
#[derive(Clone)]
pub struct Pem {
    /// Its path, for messages.
    pub path: PathBuf,
    /// Its content.
    pub content: Vec<u8>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content may be a key.
        f.debug_struct("Pem").field("path", &self.path).finish_non_exhaustive()
    }
}

/// TLS and the egress proxy of the connections.
#[derive(Clone, Debug, Default)]
pub struct TransportSettings {
    /// Authorities to trust in addition to those of the host.
    pub authorities: Option<Pem>,
    /// The client certificate.
    pub certificate: Option<Pem>,
    /// Its private key, if it is not in the file of the certificate.
    pub key: Option<Pem>,
    /// URL of the egress proxy.
    pub proxy: Option<String>,
}

/// The result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// The receiver answered.
    Answered {
        /// The status of the answer.
        status: u16,
        /// The pause that `Retry-After` asks for.
        pause: Option<Duration>,
    },
    /// There was no answer.
    Failed(Failure),
    /// The proxy made no tunnel.
    Untunneled {
        /// The failure.
        failure: Failure,
        /// The status of the refusal.
        status: Option<u16>,
    },
}

impl AttemptResult {
    /// The status of the answer, of the receiver or of the proxy.
    #[must_use]
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(status),
            Self::Untunneled { status, .. } => status,
            Self::Failed(_) => None,
        }
    }

    /// The cause of a failure; `None` after a success.
    #[must_use]
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Answered { status: 200..=299, .. } => None,
            Self::Answered { .. } => Some(Cause::Status),
            Self::Failed(failure) | Self::Untunneled { failure, .. } => Some(failure.cause()),
        }
    }

    /// The reason of a failure in words; empty after a success.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Answered { status: 200..=299, .. } => "",
            Self::Answered { status: 300..=399, .. } => "redirects are not followed",
            Self::Answered { .. } => "refused by the receiver",
            Self::Failed(failure) | Self::Untunneled { failure, .. } => failure.name(),
        }
    }
}

/// One callback to be sent.
#[derive(Clone, Debug)]
pub struct Post {
    /// The endpoint, in its normal form.
    pub url: String,
    /// The header `webhook-id`, the same for all attempts.
    pub id: String,
    /// The body.
    pub body: String,
    /// Maximum time until the status of the answer is read.
    pub deadline: Duration,
    /// Whether the connection is kept.
    pub connections: Connections,
}

/// The HTTP client, with the egress policy and the signer.
#[derive(Debug)]
pub struct Transport {
    client: Client,
    policy: Arc<EgressPolicy>,
    signer: Signer,
    proxy: Option<Url>,
    /// The resolver that the client uses.
    pub resolver: Resolver,
    /// Number of trusted authorities, of the host and of the settings.
    pub authorities: usize,
}

impl Transport {
    /// Reads the PEM files and creates the client.
    pub fn new(
        policy: Arc<EgressPolicy>,
        lookup: Arc<dyn Lookup>,
        signer: Signer,
        wire: &TransportSettings,
    ) -> Result<Self, String> {
        let proxy = wire.proxy.as_deref().map(proxy_of).transpose()?;
        let host = proxy.as_ref().and_then(|(_, url)| url.host_str().map(Arc::from));
        let resolver = Resolver::new(policy.clone(), lookup, host);
        let (config, authorities) = tls(wire)?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(config)
            .dns_resolver(resolver.clone())
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .http1_only()
            // Only the status matters, so odd fields in the head are tolerated.
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_max_headers(FIELDS)
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .user_agent(concat!("Verve/", env!("CARGO_PKG_VERSION")));
        let (proxy, proxy_url) = proxy.unzip();
        if let Some(proxy) = proxy {
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| chain(&error))?;
        Ok(Self { client, policy, signer, proxy: proxy_url, resolver, authorities })
    }

    /// Makes one attempt.
    pub async fn send(&self, post: &Post) -> AttemptResult {
        let Ok(url) = Url::parse(&post.url) else { return AttemptResult::Failed(Failure::Refused) };
        if !self.permits(&url) {
            return AttemptResult::Failed(Failure::Refused);
        }
        let request =
            self.client.post(url.clone()).headers(self.headers(post)).body(post.body.clone());
        match tokio::time::timeout(post.deadline, request.send()).await {
            Err(_) => AttemptResult::Failed(Failure::Deadline),
            Ok(Err(error)) => self.failed(&error, &url).await,
            Ok(Ok(response)) => {
                let status = response.status().as_u16();
                let pause = pause(response.headers());
                if post.connections == Connections::Kept {
                    let _ = tokio::time::timeout(ANSWER_TIME, read_to_end(response)).await;
                }
                AttemptResult::Answered { status, pause }
            }
        }
    }

    async fn failed(&self, error: &reqwest::Error, url: &Url) -> AttemptResult {
        let failure = Failure::of(error, self.policy.proxied);
        let status = match (failure, &self.proxy) {
            (Failure::ProxyAuthentication, _) => Some(407),
            (Failure::ProxyRefused, Some(proxy)) => tunnel::refusal(proxy, url).await,
            _ => return AttemptResult::Failed(failure),
        };
        AttemptResult::Untunneled { failure, status }
    }

    /// Judges what the resolver never sees: an address in the URL, and the host if a proxy resolves
    /// it.
    fn permits(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let literal: Option<IpAddr> = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        };
        self.policy.admit(&host).is_ok()
            && literal.is_none_or(|address| self.policy.permits(&host, address))
    }

    fn headers(&self, post: &Post) -> HeaderMap {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut headers = HeaderMap::with_capacity(6);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let signature = self.signer.sign(&post.id, now, &post.body);
        let pairs = [
            ("webhook-id", Some(post.id.clone())),
            ("webhook-timestamp", Some(now.to_string())),
            ("webhook-signature", signature),
        ];
        for (name, value) in pairs {
            // Ids, numbers and base64 are always valid values.
            if let Some(value) = value.and_then(|value| HeaderValue::from_maybe_shared(value).ok())
            {
                headers.insert(name, value);
            }
        }
        if post.connections == Connections::Closed {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers
    }
}

/// Reads a short body to its end, so that the connection can be used again. A longer one ends it.
async fn read_to_end(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > ANSWER {
            return;
        }
    }
}

/// `Retry-After`: seconds, or a date.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value)
            .ok()?
            .duration_since(SystemTime::now())
            .unwrap_or_default(),
    };
    Some(pause.min(LONGEST_PAUSE))
}

fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

fn proxy_of(text: &str) -> Result<(Proxy, Url), String> {
    let wrong = || "the proxy is no http URL; hint: `http://user:password@proxy.example:3128`";
    // Not shown: the URL may hold a password.
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong().into());
    }
    let proxy = Proxy::all(url.clone()).map_err(|_| wrong())?;
    Ok((proxy, url))
}

/// The TLS configuration, and the number of authorities that it trusts.
fn tls(wire: &TransportSettings) -> Result<(ClientConfig, usize), String> {
    let mut roots = RootCertStore::empty();
    // Certificates of the host that cannot be parsed are left out.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = &wire.authorities {
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(|error| wrong(pem, &error))?;
        }
    }
    let authorities = roots.len();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| chain(&error))?
        .with_root_certificates(roots);
    let Some(pem) = &wire.certificate else {
        return Ok((builder.with_no_client_auth(), authorities));
    };
    let key_pem = wire.key.as_ref().unwrap_or(pem);
    let key =
        PrivateKeyDer::from_pem_slice(&key_pem.content).map_err(|error| wrong(key_pem, &error))?;
    let config = builder.with_client_auth_cert(certificates(pem)?, key);
    config.map(|config| (config, authorities)).map_err(|error| wrong(pem, &error))
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem.content)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(pem, &error))?;
    if found.is_empty() {
        return Err(format!("the file holds no certificate: `{}`", pem.path.display()));
    }
    Ok(found)
}

fn wrong(pem: &Pem, error: &dyn Error) -> String {
    format!("the file cannot be used: {error}: `{}`", pem.path.display())
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_PAUSE, Pem, TransportSettings, pause, proxy_of, tls};
    use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
    use std::time::{Duration, SystemTime};

    fn asked(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        pause(&headers)
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
        assert_eq!(asked("0"), Some(Duration::ZERO));
        assert_eq!(asked(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(asked("99999999999"), Some(LONGEST_PAUSE));
        let later = SystemTime::now() + Duration::from_secs(20);
        let pause = asked(&httpdate::fmt_http_date(later)).unwrap();
        assert!((18..=20).contains(&pause.as_secs()), "{pause:?}");
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        for odd in ["", "-1", "1.5", "soon", "99999999999999999999999"] {
            assert_eq!(asked(odd), None, "{odd:?}");
        }
        assert_eq!(super::pause(&HeaderMap::new()), None);
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_and_its_password_not_shown() {
        assert!(proxy_of("http://user:hidden@proxy.example:3128").is_ok());
        for odd in ["proxy.example:3128", "socks5://user:hidden@proxy.example", "http://:hidden@"] {
            let error = proxy_of(odd).unwrap_err();
            assert!(error.contains("hint: ") && !error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn files_that_hold_no_certificate_are_named() {
        let pem = Pem { path: "/an/authority.pem".into(), content: b"no PEM".to_vec() };
        assert!(!format!("{pem:?}").contains("content"));
        let wire = TransportSettings { authorities: Some(pem), ..TransportSettings::default() };
        let error = tls(&wire).unwrap_err();
        assert_eq!(error, "the file holds no certificate: `/an/authority.pem`");
        assert!(tls(&TransportSettings::default()).is_ok());
    }
}
