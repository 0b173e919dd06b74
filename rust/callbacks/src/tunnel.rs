//! The answer of a proxy to `CONNECT`. The HTTP client does not return the status of a refused
//! tunnel, so this module asks the proxy once more.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// Time limit of the request.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer that contain the status.
const HEAD: usize = 16;

/// The status with which `proxy` refuses a tunnel to `target`; `None` if it does not answer, or if
/// it uses TLS itself.
pub async fn refusal(proxy: &Url, target: &Url) -> Option<u16> {
    if proxy.scheme() != "http" {
        return None;
    }
    timeout(TIMEOUT, ask(proxy, target)).await.ok()?.filter(|status| *status != 200)
}

async fn ask(proxy: &Url, target: &Url) -> Option<u16> {
    let (host, port) = (proxy.host_str()?, proxy.port_or_known_default()?);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut connection = TcpStream::connect((host, port)).await.ok()?;
    let authority = format!("{}:{}", target.host_str()?, target.port_or_known_default()?);
    let mut lines = vec![format!("CONNECT {authority} HTTP/1.1"), format!("Host: {authority}")];
    if !proxy.username().is_empty() || proxy.password().is_some() {
        let password = proxy.password().unwrap_or_default();
        let pair = [proxy.username(), ":", password].map(|part| percent_decode_str(part).collect());
        let pair: Vec<u8> = pair.into_iter().flat_map(|part: Vec<u8>| part).collect();
        lines.push(format!("Proxy-Authorization: Basic {}", STANDARD.encode(pair)));
    }
    let request = lines.join("\r\n") + "\r\n\r\n";
    connection.write_all(request.as_bytes()).await.ok()?;
    let mut head = [0; HEAD];
    connection.read_exact(&mut head).await.ok()?;
    let status = head.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    str::from_utf8(status).ok()?.parse().ok()
}
