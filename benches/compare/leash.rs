//! Holds what the benchmark starts: it ends when the benchmark ends, however that ends.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use rustix::process::{Signal, set_parent_process_death_signal};

/// A command for the program that the system kills together with this process. Its environment has the path alone, so that
/// nothing depends on whose shell it is.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .arg("leash")
        .arg(program)
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// Becomes the command. The system may only be asked for a signal by the process that is to get it.
pub(crate) fn become_command(command: &[OsString]) -> ExitCode {
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let error = Command::new(&command[0]).args(&command[1..]).exec();
    eprintln!("cannot run {}: {error}", command[0].display());
    ExitCode::FAILURE
}
