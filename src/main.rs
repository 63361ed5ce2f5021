//! The `reset-gateway` program. Its exit status is 0 if all went well, 2 if a setting is wrong or
//! missing, and 1 for any other failure.

use std::{env, io, process::ExitCode};

use mimalloc::MiMalloc;
use reset_gateway::{
    config, output,
    run::{self, Failure},
};

/// A call makes nearly a hundred allocations, for which glibc's allocator needs several times as long.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // rustls needs it as soon as certificates among the settings are read.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("no other provider is installed");
    let result = config::parse(env::args_os())
        .map_err(Failure::from)
        .and_then(run::run);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::print(io::stderr(), format!("reset-gateway: {failure}\n"));
            failure.exit_code()
        }
    }
}
