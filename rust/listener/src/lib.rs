//! The native listener: one thread per worker that serves HTTP/1 from the counter.
//!
//! A connection begins in the *accept lane* ([`accept_lane`]): heads are parsed with `httparse`, and
//! each `GET /api/verve/accept` without a body is answered in place. At the first request that is not
//! exactly that, the connection moves to the *hyper lane* ([`hyper_lane`]) with the bytes read so far
//! and stays there: hyper parses it, accepts are still answered from the counter, and every other
//! request is handed out as an [`Exchange`] through the [`Inbox`], for the application to answer.
//!
//! The crate knows no Python and takes no lock on the way of an accept.

mod accept_lane;
mod answer;
mod body;
mod connections;
#[cfg(test)]
mod differential;
mod exchange;
mod figures;
pub mod head;
mod hyper_lane;
mod io;
mod limits;
mod listener;

pub use self::{
    answer::{Fields, common_fields, fields_of},
    body::{BodySender, Sending},
    exchange::{BodyPart, Event, Exchange, Inbox},
    figures::Figures,
    limits::Limits,
    listener::{Accept, Listener},
};
