//! The target of the load: only this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Reads `HOST:PORT` or `http://HOST:PORT`; the host is a loopback address or `localhost`.
pub fn parse(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix("http://").unwrap_or(text);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    let address = match bare.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => bare.parse().ok(),
    };
    let Some(address) = address else {
        return Err(format!(
            "the target is no address: `{text}`\nhint: give it as 127.0.0.1:8000 or [::1]:8000"
        ));
    };
    let own = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    if own {
        Ok(address)
    } else {
        Err(format!(
            "the target is not on this machine: `{text}`\nhint: only 127.0.0.0/8 and ::1 are \
             accepted, so that a slip cannot flood anybody else"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_accepted() {
        for text in ["127.0.0.1:8000", "http://127.9.8.7:1/", "[::1]:80", "localhost:8000"] {
            parse(text).unwrap();
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "10.0.0.1:80",
            "0.0.0.0:80",
            "[::]:80",
            "[::ffff:127.0.0.1]:80",
            "[fe80::1]:80",
            "example.org:80",
            "localhost.example.org:80",
            "127.0.0.1",
            "https://127.0.0.1:80",
            "",
        ] {
            parse(text).unwrap_err();
        }
    }
}
