//! Lets libFuzzer choose what to send to the target that `GANNET_FUZZ_TARGET` names. `cargo xtask
//! fuzz` builds and runs it.
#![no_main]

use std::sync::OnceLock;

use gannet_fuzz::Target;

libfuzzer_sys::fuzz_target!(
    init: {
        TARGET.get_or_init(|| {
            let name = std::env::var("GANNET_FUZZ_TARGET").unwrap_or_default();
            gannet_fuzz::target(&name).expect("GANNET_FUZZ_TARGET names no target")
        });
    },
    |bytes: &[u8]| {
        (TARGET.get().expect("init ran").run)(bytes);
    }
);

static TARGET: OnceLock<&'static Target> = OnceLock::new();
