//! Failures of attempts: a closed list, derived from the chain of errors of the HTTP client.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::resolver::{Crowded, NotPermitted, NotResolved};

/// The cause of a failure: the label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Cause {
    /// The egress policy refused the address.
    Address,
    /// The name was not resolved.
    Name,
    /// No connection was established.
    Connection,
    /// TLS was not established.
    Tls,
    /// The egress proxy failed or refused.
    Proxy,
    /// A deadline passed.
    Deadline,
    /// The connection ended before an answer, or the answer was not HTTP.
    Broken,
    /// The status of the answer was not 2xx.
    Status,
}

impl Cause {
    /// Every cause, in order.
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

/// Defines the enum, the description of each failure and its cause in one table.
macro_rules! failures {
    ($($(#[$doc:meta])+ $variant:ident = $cause:ident $name:literal,)+) => {
        /// The failure of an attempt that got no answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Failure {
            $($(#[$doc])+ $variant,)+
        }

        impl Failure {
            /// A short description.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The cause.
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
    /// The egress policy refused the address or the host.
    Refused = Address "address refused",
    /// The name could not be resolved.
    Resolve = Name "name not resolved",
    /// The look-up of the name got no turn in time.
    Crowded = Name "too many look-ups",
    /// No process listens on the port.
    ConnectionRefused = Connection "connection refused",
    /// There is no route to the host.
    Unreachable = Connection "host unreachable",
    /// No connection, for another reason.
    Connect = Connection "no connection",
    /// The receiver's certificate has expired.
    Expired = Tls "TLS: the certificate has expired",
    /// The receiver's certificate is not valid yet.
    NotYetValid = Tls "TLS: the certificate is not valid yet",
    /// The receiver's certificate is for another name.
    WrongName = Tls "TLS: the certificate is for another name",
    /// No trusted authority has signed the receiver's certificate.
    UnknownIssuer = Tls "TLS: the certificate is of an unknown authority",
    /// The receiver's certificate was revoked.
    Revoked = Tls "TLS: the certificate was revoked",
    /// Something else is wrong with the receiver's certificate.
    Certificate = Tls "TLS: the certificate cannot be used",
    /// The receiver has no version of TLS or no cipher in common.
    Version = Tls "TLS: no common version or cipher",
    /// The receiver asks for a client certificate, and refuses it or its absence.
    ClientCertificate = Tls "TLS: the receiver refuses our certificate",
    /// The receiver does not speak TLS.
    Plain = Tls "TLS: the receiver does not speak it",
    /// The connection ended during the handshake.
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
    /// The answer was not HTTP.
    Malformed = Broken "answer is no HTTP",
    /// The connection ended before the answer.
    Broken = Broken "connection broken",
}

impl Failure {
    /// The failure beneath an error. `proxied`: connections lead to the proxy, not to the receiver.
    #[must_use]
    pub fn of(error: &reqwest::Error, proxied: bool) -> Self {
        let found = causes(error).find_map(Self::known);
        match found {
            // The proxy answered `CONNECT`.
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
            // A connection that ends while it is being established has reached TLS.
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
            // The type of this error is private to hyper-util.
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

/// The error and those beneath it. An I/O error may hold another one that is not its source.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        held.map_or_else(|| error.source(), |held| Some(held))
    })
}
