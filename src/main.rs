//! The `reset-gateway` program. Its exit status is 0 if all went well, 2 if a setting is wrong or
//! missing, and 1 for any other failure.

use std::{env, io, process::ExitCode};

use mimalloc::MiMalloc;
use reset_gateway::{
    output,
    run::{self, Failure},
};

/// Saves 10 % of the CPU per call: a call makes nearly a hundred allocations.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // rustls needs a provider before the first certificate is read, which may be a setting.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("no other provider is installed");
    match run::run(env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::print(io::stderr(), format!("reset-gateway: {failure}\n"));
            let is_setting = matches!(failure, Failure::Config(_));
            ExitCode::from(if is_setting { 2 } else { 1 })
        }
    }
}
