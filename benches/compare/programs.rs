//! The programs that take part, and how they are started.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;

/// The programs, by name or path.
#[derive(Args, Debug)]
pub(crate) struct Tools {
    /// The gateway that ships (`cargo build --release`)
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "target/release/reset-gateway"
    )]
    pub(crate) gateway: PathBuf,
    /// Envoy, with the filter `grpc_json_reverse_transcoder`
    #[arg(long, value_name = "PROGRAM", default_value = "envoy")]
    pub(crate) envoy: PathBuf,
    /// nginx, with the module `stub_status`
    #[arg(long, value_name = "PROGRAM", default_value = "nginx")]
    pub(crate) nginx: PathBuf,
    /// h2load, of nghttp2
    #[arg(long, value_name = "PROGRAM", default_value = "h2load")]
    pub(crate) h2load: PathBuf,
}

/// A command that inherits neither the environment nor the terminal.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A loopback address on a port picked by the system, for programs that cannot report the port they got.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
