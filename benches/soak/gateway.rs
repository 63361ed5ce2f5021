//! The gateway under load.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tokio::time::sleep;
use tonic::transport::Endpoint;

use crate::{call::Client, process::Process};

pub(crate) struct Gateway {
    pub(crate) process: Process,
    address: SocketAddr,
    admin: String,
}

impl Gateway {
    pub(crate) fn start(program: &Path, api: SocketAddr) -> Self {
        let mut child = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--app-key", "soak", "--timeout", "1s"])
            .args(["--upstream-url", &format!("http://{api}")])
            // The API refuses codes at random, and the soak has few users: both would soon exhaust the limits.
            .args(["--code-attempts", "off", "--code-attempts-total", "off"])
            .args(["--resets", "off"])
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address_after = |prefix: &str| {
            let mut addresses = lines
                .by_ref()
                .filter_map(|line| Some(line.unwrap().strip_prefix(prefix)?.to_owned()));
            addresses.next().unwrap()
        };
        Self {
            address: address_after("gRPC on ").parse().unwrap(),
            admin: address_after("admin on "),
            process: Process(child),
        }
    }

    /// A client with a connection of its own.
    pub(crate) async fn client(&self) -> Client {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        Client::new(endpoint.connect().await.unwrap())
    }

    pub(crate) fn open_files(&self) -> u64 {
        let files = fs::read_dir(format!("/proc/{}/fd", self.process.0.id()));
        files.unwrap().count() as u64
    }

    /// The metrics once the load has ended.
    pub(crate) async fn metrics(&self) -> String {
        // Calls that were cancelled last may still be ending.
        sleep(Duration::from_secs(1)).await;
        // reqwest needs one even without TLS.
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/metrics", self.admin);
        client.get(url).send().await.unwrap().text().await.unwrap()
    }
}
