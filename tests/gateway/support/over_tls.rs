//! The same tests over TLS: with the variable `OVER_TLS` every gateway serves TLS on TCP, and every client of the harness
//! speaks it.

use std::{env, fs, path::Path, process::Command, sync::OnceLock};

use rcgen::PKCS_ECDSA_P256_SHA256;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::{certificates::Authority, gateway::Gateway, tls_client::TlsClient};

/// A connection of a client.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

struct Tls {
    folder: TempDir,
    client: TlsClient,
}

/// `None` if the tests run without TLS.
fn tls() -> Option<&'static Tls> {
    static TLS: OnceLock<Option<Tls>> = OnceLock::new();
    let made = TLS.get_or_init(|| env::var_os("OVER_TLS").map(|_| Tls::new()));
    made.as_ref()
}

pub fn is_over_tls() -> bool {
    tls().is_some()
}

impl Tls {
    fn new() -> Self {
        let authority = Authority::root("servers");
        let server = authority.server(&PKCS_ECDSA_P256_SHA256);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cert"), &server.pem).unwrap();
        fs::write(folder.path().join("key"), server.key_pem()).unwrap();
        Self {
            folder,
            client: TlsClient::new(&authority, None),
        }
    }
}

/// Adds TLS to the command of a gateway that has none of its own.
pub fn add_tls(command: &mut Command) {
    let Some(tls) = tls() else { return };
    let is_tls = |arg: &std::ffi::OsStr| arg.to_string_lossy().starts_with("--tls-");
    if !command.get_args().any(is_tls) {
        let path = |name: &str| -> Box<Path> { tls.folder.path().join(name).into() };
        command.arg("--tls-cert").arg(&*path("cert"));
        command.arg("--tls-key").arg(&*path("key"));
    }
}

/// What connects over TLS, if the tests run over it and the address is not a Unix socket's.
pub fn client_for(address: &str) -> Option<&'static TlsClient> {
    let tls = tls().filter(|_| !address.starts_with("unix:"));
    tls.map(|tls| &tls.client)
}

/// A connection to the gateway, on which nothing was sent yet beside the handshake.
pub async fn open(gateway: &Gateway) -> Stream {
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    secure(stream).await
}

/// The same on a connection that is there.
pub async fn secure(stream: TcpStream) -> Stream {
    match tls() {
        Some(tls) => Either::Right(Box::new(tls.client.secure(stream).await.unwrap())),
        None => Either::Left(stream),
    }
}
