//! Why an attempt got no answer: one closed list, read from the chain of errors beneath it.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::resolver::{Crowded, NotPermitted, NotResolved};

/// What failures have in common: the label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Cause {
    /// An address that callbacks must not reach.
    Address,
    /// A name without an address.
    Name,
    /// No connection was made.
    Connection,
    /// A connection, but no TLS.
    Tls,
    /// The egress proxy.
    Proxy,
    /// Too slow.
    Deadline,
    /// The connection ended before an answer, or what came was none.
    Broken,
    /// An answer that is no success.
    Status,
}

impl Cause {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Address,
        Self::Name,
        Self::Connection,
        Self::Tls,
        Self::Proxy,
        Self::Deadline,
        Self::Broken,
        Self::Status,
    ];

    /// The label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Name => "name",
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Deadline => "deadline",
            Self::Broken => "broken",
            Self::Status => "status",
        }
    }
}

/// Writes the enum, the words of each failure and its cause from one table.
macro_rules! failures {
    ($($(#[$doc:meta])+ $variant:ident = $cause:ident $name:literal,)+) => {
        /// Why an attempt got no answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Failure {
            $($(#[$doc])+ $variant,)+
        }

        impl Failure {
            /// In a few words.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What it has in common with others.
            #[must_use]
            pub fn cause(self) -> Cause {
                match self {
                    $(Self::$variant => Cause::$cause,)+
                }
            }
        }
    };
}

failures! {
    /// The guard refused the address or the host.
    Refused = Address "address refused",
    /// The name could not be resolved.
    Resolve = Name "name not resolved",
    /// The name did not come to its turn to be resolved.
    Crowded = Name "too many look-ups",
    /// Nobody listens there.
    ConnectionRefused = Connection "connection refused",
    /// No way leads there.
    Unreachable = Connection "host unreachable",
    /// No connection could be made, for another reason.
    Connect = Connection "no connection",
    /// The receiver's certificate has expired.
    Expired = Tls "TLS: the certificate has expired",
    /// The receiver's certificate is of the future.
    NotYetValid = Tls "TLS: the certificate is not valid yet",
    /// The receiver's certificate is for another name.
    WrongName = Tls "TLS: the certificate is for another name",
    /// No trusted authority has signed the receiver's certificate.
    UnknownIssuer = Tls "TLS: the certificate is of an unknown authority",
    /// The receiver's certificate was revoked.
    Revoked = Tls "TLS: the certificate was revoked",
    /// Something else is wrong with the receiver's certificate.
    Certificate = Tls "TLS: the certificate cannot be used",
    /// The receiver speaks other versions of TLS, or other ciphers.
    Version = Tls "TLS: no common version or cipher",
    /// The receiver asks for a certificate, and refuses ours or that there is none.
    ClientCertificate = Tls "TLS: the receiver refuses our certificate",
    /// The receiver does not speak TLS.
    Plain = Tls "TLS: the receiver does not speak it",
    /// The connection ended before the handshake had.
    Cut = Tls "TLS: the receiver ended the handshake",
    /// The handshake failed for another reason.
    Handshake = Tls "TLS: the handshake failed",
    /// The proxy could not be connected to.
    ProxyAway = Proxy "proxy not reached",
    /// The proxy answered 407.
    ProxyAuthentication = Proxy "proxy wants a user and a password",
    /// The proxy made no tunnel.
    ProxyRefused = Proxy "proxy refused the tunnel",
    /// No connection was made in time.
    ConnectDeadline = Deadline "no connection in time",
    /// The deadline passed.
    Deadline = Deadline "deadline passed",
    /// The connection was reset.
    Reset = Broken "connection reset",
    /// What came was no HTTP.
    Malformed = Broken "answer is no HTTP",
    /// The connection ended before the answer.
    Broken = Broken "connection broken",
}

impl Failure {
    /// What is beneath an error. `proxied`: connections are made to the proxy, not to the receiver.
    #[must_use]
    pub fn of(error: &reqwest::Error, proxied: bool) -> Self {
        let found = causes(error).find_map(Self::known);
        match found {
            // `CONNECT` was answered: it is the receiver's, as the proxy tells.
            Some(failure @ (Self::ProxyAuthentication | Self::ProxyRefused)) => failure,
            _ if error.is_connect() && error.is_timeout() && proxied => Self::ProxyAway,
            _ if error.is_connect() && error.is_timeout() => Self::ConnectDeadline,
            Some(failure)
                if proxied
                    && matches!(failure.cause(), Cause::Name | Cause::Connection)
                    && error.is_connect() =>
            {
                Self::ProxyAway
            }
            // Where a connection is being made, one that ends has begun: the rest is TLS.
            Some(Self::Broken | Self::Reset) if error.is_connect() => Self::Cut,
            Some(failure) => failure,
            None if error.is_timeout() => Self::Deadline,
            None if error.is_connect() && proxied => Self::ProxyAway,
            None if error.is_connect() => Self::Connect,
            None => Self::Broken,
        }
    }

    fn known(cause: &(dyn Error + 'static)) -> Option<Self> {
        if cause.is::<NotPermitted>() {
            Some(Self::Refused)
        } else if cause.is::<NotResolved>() {
            Some(Self::Resolve)
        } else if cause.is::<Crowded>() {
            Some(Self::Crowded)
        } else if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            Some(Self::of_tls(error))
        } else if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            error.is_parse().then_some(Self::Malformed)
        } else if let Some(error) = cause.downcast_ref::<io::Error>() {
            Self::of_system(error.kind())
        } else {
            // The type of this one is private to hyper-util.
            match cause.to_string().strip_prefix("tunnel error: ")? {
                "proxy authorization required" => Some(Self::ProxyAuthentication),
                "failed to create underlying connection" => None,
                _ => Some(Self::ProxyRefused),
            }
        }
    }

    fn of_system(kind: io::ErrorKind) -> Option<Self> {
        match kind {
            io::ErrorKind::ConnectionRefused => Some(Self::ConnectionRefused),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Some(Self::Unreachable)
            }
            io::ErrorKind::TimedOut => Some(Self::ConnectDeadline),
            io::ErrorKind::ConnectionReset => Some(Self::Reset),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Some(Self::Broken),
            _ => None,
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                CertificateError::Revoked => Self::Revoked,
                _ => Self::Certificate,
            },
            rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(
                AlertDescription::ProtocolVersion
                | AlertDescription::HandshakeFailure
                | AlertDescription::InsufficientSecurity,
            ) => Self::Version,
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied,
            ) => Self::ClientCertificate,
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::Plain,
            _ => Self::Handshake,
        }
    }
}

/// The error and all beneath it. An I/O error holds another one without naming it its source.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        held.map_or_else(|| error.source(), |held| Some(held))
    })
}
