//! Why a request is rejected: one table of reasons, with their names and HTTP statuses.

use std::fmt;

/// Writes the enum, [`Rejection::ALL`], the names and the statuses from one table, so that no reason can
/// lack one of them.
macro_rules! rejections {
    ($($(#[$doc:meta])+ $variant:ident = $status:literal $name:literal,)+) => {
        /// Why a request was answered `failed`.
        ///
        /// `as usize` is the position in [`Rejection::ALL`], so that a metric can be an array.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Rejection {
            $($(#[$doc])+ $variant,)+
        }

        impl Rejection {
            /// Every reason, in the order of the enum.
            pub const ALL: [Self; [$($status),+].len()] = [$(Self::$variant),+];

            /// The words of the `verve-error` header and of the metric's label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The HTTP status of the answer.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)+
                }
            }
        }
    };
}

// A new reason goes last: its position is that of its count in the segment.
rejections! {
    /// The query names no `id`.
    IdMissing = 400 "id missing",
    /// The query names `id` more than once, even with the same value.
    IdRepeated = 400 "id repeated",
    /// An id is not of the form `-?[0-9]+`.
    IdInvalid = 400 "id invalid",
    /// An id is an integer outside int64.
    IdOutOfRange = 400 "id out of range",
    /// The query names more than one `endpoint`.
    EndpointRepeated = 400 "endpoint repeated",
    /// The endpoint is no absolute http or https URL, or one that two parsers read differently.
    EndpointInvalid = 400 "endpoint invalid",
    /// The endpoint is longer than [`crate::request::endpoint::LIMIT`] bytes.
    EndpointTooLong = 400 "endpoint too long",
    /// The endpoint has a user name or a password.
    EndpointUserinfo = 400 "endpoint userinfo",
    /// The endpoint's host is an address that a callback must not reach, or a name of the loopback.
    EndpointAddress = 400 "endpoint address",
    /// The endpoint's port is one that browsers block, since it belongs to another protocol.
    EndpointPort = 400 "endpoint port",
    /// Callbacks go to listed destinations only, and the endpoint's destination is not listed.
    EndpointNotListed = 400 "endpoint not listed",
    /// The endpoint is valid, but the service sends no callbacks.
    CallbacksUnavailable = 503 "callbacks unavailable",
    /// The endpoint's destination has all the callback cells that it may have.
    CallbacksFull = 503 "callbacks full",
    /// The circuit breaker of the endpoint's destination is open.
    DestinationFailing = 503 "destination failing",
    /// The window holds as many ids as the segment was made for.
    TableFull = 503 "table full",
    /// The file system or the memory limit has no room for more ids.
    NoSpace = 503 "no space",
    /// No arena is free for the new window.
    NoArena = 503 "no arena",
    /// The segment cannot be used.
    SegmentUnusable = 503 "segment unusable",
    /// The id is counted on this host, but the store did not acknowledge it.
    StoreUnconfirmed = 503 "store unconfirmed",
    /// The path does not support this method.
    Method = 405 "method",
    /// The batch's content type is none of the three.
    BodyType = 415 "body type",
    /// The batch is compressed or otherwise encoded.
    BodyEncoding = 415 "body encoding",
    /// The batch is larger than the limit.
    BodyTooLarge = 413 "body too large",
    /// The client took too long to send the batch.
    BodyTooSlow = 408 "body too slow",
    /// Other batches that are being read use up the worker's budget for bodies.
    BodiesFull = 503 "bodies full",
    /// The batch does not have the form of its content type.
    BodyInvalid = 400 "body invalid",
    /// A batch names `id` or `endpoint` in its query.
    QueryInBatch = 400 "query in batch",
    /// An internal error of the service.
    Internal = 500 "internal",
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::Rejection;
    use std::collections::HashSet;

    #[test]
    fn a_rejection_is_its_own_index() {
        for (index, rejection) in Rejection::ALL.into_iter().enumerate() {
            assert_eq!(rejection as usize, index);
        }
    }

    #[test]
    fn names_are_distinct_and_fit_a_header() {
        let names: HashSet<_> = Rejection::ALL.into_iter().map(Rejection::name).collect();
        assert_eq!(names.len(), Rejection::ALL.len());
        let plain = |byte: u8| byte == b' ' || byte.is_ascii_lowercase();
        assert!(names.iter().all(|name| name.bytes().all(plain)));
    }

    #[test]
    fn every_status_is_an_error() {
        let statuses: HashSet<_> = Rejection::ALL.into_iter().map(Rejection::status).collect();
        assert_eq!(statuses, HashSet::from([400, 405, 408, 413, 415, 500, 503]));
    }
}
