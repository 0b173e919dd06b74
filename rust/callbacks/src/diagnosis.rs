//! The diagnosis of one callback that is sent by hand: addresses, egress policy, answer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use url::Host;
use verve_core::platform::boot_nanoseconds;
use verve_core::request::endpoint;
use verve_core::{Error, Rejection};

use crate::destination::{Connections, host, origin};
use crate::service::Settings;
use crate::transport::{AttemptResult, Post};

/// Maximum time of a post until the status of the answer is read.
const DEADLINE: Duration = Duration::from_secs(10);

/// The findings.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The endpoint in its normal form, or the rejection.
    pub endpoint: Result<String, Rejection>,
    /// Its addresses, and whether the egress policy permits each; or why there are none.
    pub addresses: Result<Vec<(IpAddr, bool)>, String>,
    /// Number of authorities that are trusted for https.
    pub authorities: usize,
    /// The result of the post.
    pub result: Option<AttemptResult>,
    /// How long the post took.
    pub elapsed: Duration,
}

/// Sends one callback that reports `count` to `url`, without limits.
pub fn diagnose(url: &str, count: u64, settings: &Settings) -> Result<Diagnosis, Error> {
    let (policy, transport) = settings.open()?;
    let checked = endpoint::normal_form_with(url, |host| policy.opens(host))
        .and_then(|url| policy.admit(&host(origin(&url))).map(|()| url));
    let mut found = Diagnosis {
        endpoint: checked.clone(),
        addresses: Ok(Vec::new()),
        authorities: transport.authorities,
        result: None,
        elapsed: Duration::ZERO,
    };
    let Ok(url) = checked else { return Ok(found) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Setting { message: error.to_string() })?;
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
        let post = Post {
            url: url.clone(),
            id,
            body,
            deadline: DEADLINE,
            connections: Connections::Closed,
        };
        found.result = Some(transport.send(&post).await);
        found.elapsed = began.elapsed();
    });
    runtime.shutdown_background();
    Ok(found)
}
