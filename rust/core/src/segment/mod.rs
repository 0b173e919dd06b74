//! The segment: the file that all processes of a host map, its layout, its locks and its clock.

pub(crate) mod attachment;
pub mod clock;
pub(crate) mod creation;
pub(crate) mod damage;
pub(crate) mod description;
pub mod layout;
pub(crate) mod live;
pub(crate) mod locks;
pub(crate) mod mapping;
pub(crate) mod size;
pub mod stored_header;
