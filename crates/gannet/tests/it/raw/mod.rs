//! Requests of our own making, byte for byte.

mod harness_works;
