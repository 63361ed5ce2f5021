//! A gateway that speaks TLS.

use std::{fs, path::PathBuf};

use rcgen::SignatureAlgorithm;
use tempfile::TempDir;

use super::{
    api::{Api, Reply},
    certificates::{Authority, Clients, Leaf},
    gateway::{Call, Gateway, KEY, get, within},
    tls_client::TlsClient,
};

/// A gateway that speaks TLS, and the authorities of its certificate and its clients'.
pub struct TlsGateway {
    pub gateway: Gateway,
    pub authority: Authority,
    pub clients: Clients,
    pub api: Api,
    folder: TempDir,
}

impl TlsGateway {
    /// One that demands a certificate of its clients.
    pub async fn start(algorithm: &'static SignatureAlgorithm, options: &[&str]) -> Self {
        let authority = Authority::root("servers");
        let clients = Clients::new();
        let folder = tempfile::tempdir().unwrap();
        let server = authority.server(algorithm);
        let file = |name: &str, pem: &str| write(&folder, name, pem);
        let files = [
            ("--tls-cert", file("server.pem", &server.pem)),
            ("--tls-key", file("server-key.pem", &server.key_pem())),
            ("--tls-client-ca", file("ca.pem", &clients.authorities())),
            (
                "--tls-client-crl",
                file("crl.pem", &clients.revocation_lists()),
            ),
        ];
        let files = files.map(|(flag, path)| format!("{flag}={}", path.display()));
        let files = files.each_ref().map(String::as_str);
        let api = Api::start(Reply::json(200, Call::Question.success())).await;
        let options = [&files, options, &["--app-key", KEY]].concat();
        Self {
            gateway: Gateway::with(&api.url(), &options),
            authority,
            clients,
            api,
            folder,
        }
    }

    pub fn client(&self, certificate: Option<&Leaf>) -> TlsClient {
        TlsClient::new(&self.authority, certificate)
    }

    /// Whether a call of that client is served.
    pub async fn serves(&self, client: &TlsClient) -> bool {
        client.is_served(self.gateway.address()).await
    }

    /// Where the file of that name is: `server.pem`, `server-key.pem`, `ca.pem` or `crl.pem`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file's contents.
    pub fn write(&self, name: &str, pem: &str) {
        write(&self.folder, name, pem);
    }

    /// How many handshakes ended so.
    pub async fn handshakes(&self, result: &str) -> u64 {
        self.count("handshakes", result).await
    }

    /// How many reloads ended so, `ok` or `failed`.
    pub async fn reloads(&self, result: &str) -> u64 {
        self.count("reloads", result).await
    }

    async fn count(&self, of: &str, result: &str) -> u64 {
        let metrics = format!("{}/metrics", self.gateway.announced("admin on "));
        let (_, page) = get(&metrics).await;
        let result = format!("result=\"{result}\"");
        let name = format!("reset_gateway_tls_{of}_total{{");
        let is_counted = |line: &&str| line.starts_with(&name) && line.contains(&result);
        let line = page.lines().find(is_counted);
        line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
    }

    /// Asserts that the log says in one line more than `before` that a handshake has ended so.
    pub async fn assert_failed(&self, what: &str, result: &str, before: &str) {
        let new = || self.gateway.log().split_off(before.len());
        within(|| new().contains("TLS handshake failed")).await;
        let results: Vec<_> = new().lines().filter_map(result_of).collect();
        assert_eq!(results, [result], "{what}: {}", new());
    }
}

/// The result in a log line; `None` for one that is about something else.
fn result_of(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    Some(line["result"].as_str()?.to_owned())
}

fn write(folder: &TempDir, name: &str, pem: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, pem).unwrap();
    path
}
