//! The grammar of requests: queries, batches, ids and endpoints, and the reasons of rejections.

pub mod address;
pub mod batch;
pub mod endpoint;
pub(crate) mod id;
pub mod query;
pub mod rejection;
