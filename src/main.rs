//! The `reset-gateway` program: reads the settings, runs the command, tells how it went by its exit status: 0 as asked,
//! 1 it failed, 2 a setting is wrong or missing.

use std::{env, io, process::ExitCode};

use mimalloc::MiMalloc;
use reset_gateway::{config, output, run};

/// A call takes nearly a hundred pieces of memory, which glibc's allocator hands out at several times the cost.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // What TLS is made with, also when certificates in the settings are looked at.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nobody has installed another");
    match config::parse(env::args_os()) {
        Ok(Ok(command)) => {
            run::run(command).map_or_else(|failure| failed(&failure), |()| ExitCode::SUCCESS)
        }
        Ok(Err(help)) => {
            output::print(io::stdout(), format!("{}\n", help.trim_end()));
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error.into()),
    }
}

fn failed(failure: &run::Failure) -> ExitCode {
    output::print(io::stderr(), format!("reset-gateway: {failure}\n"));
    failure.exit_code()
}
