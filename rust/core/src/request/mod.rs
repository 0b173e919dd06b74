//! What a request says: the grammar of queries, batches, ids and endpoints, and why one is rejected.

pub mod address;
pub mod batch;
pub mod endpoint;
pub(crate) mod id;
pub mod query;
pub mod rejection;
