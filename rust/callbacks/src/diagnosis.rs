//! One callback by hand: what the guard thinks of its host, and what its receiver answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Host;
use verve_core::platform::boot_nanoseconds;
use verve_core::request::endpoint;
use verve_core::{Error, Rejection};

use crate::destination::{host, origin};
use crate::egress_policy::EgressPolicy;
use crate::service::Settings;
use crate::transport::{AttemptResult, Post, Transport};

/// How long a post may take until its status has come.
const DEADLINE: Duration = Duration::from_secs(10);

/// What was found.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The endpoint in the form that it is sent to, or why it is refused.
    pub endpoint: Result<String, Rejection>,
    /// Its addresses, and whether the guard permits them; or why there are none.
    pub addresses: Result<Vec<(IpAddr, bool)>, String>,
    /// Authorities that are trusted for https.
    pub authorities: usize,
    /// What came of the post.
    pub end: Option<AttemptResult>,
    /// How long it took.
    pub took: Duration,
}

/// Sends one callback to `url` that reports `count`, past all limits.
pub fn diagnose(url: &str, count: u64, settings: Settings) -> Result<Diagnosis, Error> {
    let setting = |message| Error::Setting { message };
    let policy = Arc::new(EgressPolicy {
        proxied: settings.wire.proxy.is_some(),
        mode: settings.mode,
        allow_list: settings.allow_list,
    });
    let transport =
        Transport::new(policy.clone(), settings.lookup, settings.signer, &settings.wire)
            .map_err(setting)?;
    let checked = endpoint::normal_form_with(url, |host| policy.opens(host))
        .and_then(|url| policy.admit(&host(origin(&url))).map(|()| url));
    let mut found = Diagnosis {
        endpoint: checked.clone(),
        addresses: Ok(Vec::new()),
        authorities: transport.authorities,
        end: None,
        took: Duration::ZERO,
    };
    let Ok(url) = checked else { return Ok(found) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| setting(error.to_string()))?;
    runtime.block_on(async {
        let host = host(origin(&url));
        let addresses = match host {
            Host::Domain(name) => {
                let answer = transport.resolver.addresses(name);
                match tokio::time::timeout(DEADLINE, answer).await {
                    Ok(answer) => answer.map_err(|error| error.to_string()),
                    Err(_) => Err("the resolver does not answer".into()),
                }
            }
            Host::Ipv4(address) => Ok(vec![address.into()]),
            Host::Ipv6(address) => Ok(vec![address.into()]),
        };
        found.addresses = addresses.map(|addresses| {
            let judge = |address| (address, policy.permits(&host, address));
            addresses.into_iter().map(judge).collect()
        });
        let began = Instant::now();
        let id = format!("msg_test{:016x}", boot_nanoseconds());
        let body = format!("{{\"unique_request_count\": {count}}}");
        let post = Post { url: url.clone(), id, body, deadline: DEADLINE, keep: false };
        found.end = Some(transport.send(&post).await);
        found.took = began.elapsed();
    });
    runtime.shutdown_background();
    Ok(found)
}
