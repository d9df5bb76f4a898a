//! What the program is put together from, as far as it is of use by itself.

pub mod clock;
mod credentials;
pub mod gateway;
mod opening;
pub mod remotes;
