//! What all measurements share: the programs, the API, a scratch directory and a runtime.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{api::Api, load};

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

pub(crate) struct Lab {
    pub(crate) tools: Tools,
    pub(crate) api: Api,
    pub(crate) scratch: TempDir,
    /// For the collector, and for the client that makes each candidate's first call.
    pub(crate) runtime: Runtime,
}

impl Lab {
    pub(crate) fn new(tools: Tools) -> Self {
        // A thousand calls at a time need more than the usual 1,024 open files.
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();

        let scratch = tempfile::tempdir().unwrap();
        load::write_request(scratch.path());
        Self {
            api: Api::start(&tools.nginx, scratch.path()),
            tools,
            scratch,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
        }
    }
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
