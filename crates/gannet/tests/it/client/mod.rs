//! Scenarios with the real git-annex client.
