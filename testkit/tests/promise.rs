//! The suite on a place that keeps every promise.

use gannet_testkit::Stern;

gannet_testkit::annex_keeps_its_promise!(stern, Stern::new());
