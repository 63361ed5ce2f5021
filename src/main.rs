//! The `reset-gateway` program. Its exit status is 0 if all went well, 2 if a setting is wrong or
//! missing, and 1 for any other failure.

use std::{env, io, process::ExitCode};

use mimalloc::MiMalloc;
use reset_gateway::{output, run};

/// A call makes nearly a hundred allocations, for which glibc's allocator needs several times as long.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Certificates among the settings are read with it.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("no other provider is installed");
    match run::run(env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::print(io::stderr(), format!("reset-gateway: {failure}\n"));
            failure.exit_code()
        }
    }
}
