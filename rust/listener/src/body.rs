//! The body of an answer under hyper: whole, or in parts that the application sends as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::io::Watch;

/// Parts that wait for a caller who takes none.
const WAITING: usize = 2;

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// It is on its way.
    Sent,
    /// It was not taken: the caller reads too slowly.
    Full,
    /// The connection has ended.
    Gone,
}

/// Sends the parts of a body. The body ends when this is dropped.
#[derive(Debug)]
pub struct BodySender(Sender<Bytes>);

impl BodySender {
    /// Sends a part, unless [`WAITING`] of them wait.
    #[must_use]
    pub fn send(&self, part: Bytes) -> Sending {
        match self.0.try_send(part) {
            Ok(()) => Sending::Sent,
            Err(TrySendError::Full(_)) => Sending::Full,
            Err(TrySendError::Closed(_)) => Sending::Gone,
        }
    }
}

/// What an answer carries.
#[derive(Debug)]
pub(crate) enum Body {
    Whole(Full<Bytes>),
    Parts(Parts),
}

/// Parts, and the watch that is told of their end.
#[derive(Debug)]
pub(crate) struct Parts {
    received: Receiver<Bytes>,
    watch: Option<Arc<Watch>>,
}

impl Body {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }

    /// A body in parts, and its sender.
    pub(crate) fn parts() -> (BodySender, Self) {
        let (sender, received) = channel(WAITING);
        (BodySender(sender), Self::Parts(Parts { received, watch: None }))
    }

    /// Tells the connection's watch what it waits for now, and for parts also their end.
    pub(crate) fn tell(&mut self, watch: &Arc<Watch>) {
        match self {
            Self::Whole(_) => watch.answered(),
            Self::Parts(parts) => {
                watch.streaming();
                parts.watch = Some(watch.clone());
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Parts(parts) => {
                parts.received.poll_recv(context).map(|part| part.map(|part| Ok(Frame::data(part))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(whole) if whole.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Parts(_) => SizeHint::default(),
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.answered();
        }
    }
}
