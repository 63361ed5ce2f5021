//! The `reset-gateway` program: reads the settings, runs the command, tells how it went by its exit status: 0 as asked,
//! 1 it failed, 2 a setting is wrong or missing.

use std::{env, process::ExitCode};

use reset_gateway::{config, run};

fn main() -> ExitCode {
    match config::parse(env::args_os()) {
        Ok(Ok(command)) => match run::run(command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("reset-gateway: {failure}");
                failure.exit_code()
            }
        },
        Ok(Err(help)) => {
            println!("{}", help.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("reset-gateway: {error}");
            run::Failure::from(error).exit_code()
        }
    }
}
