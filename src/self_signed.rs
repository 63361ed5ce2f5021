//! Certificates to try TLS with in the sandbox: a certificate authority, and by it a server's and a client's certificate.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

/// The client's name.
const CLIENT: &str = "spiffe://sandbox.example/client";
/// How long the certificates are valid.
const VALIDITY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The clock of another machine may be this much behind.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

/// The paths of the PEM files. The authority's key is not kept: nobody can sign another certificate with it.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) ca: PathBuf,
    pub(crate) server: PathBuf,
    pub(crate) server_key: PathBuf,
    pub(crate) client: PathBuf,
    pub(crate) client_key: PathBuf,
}

/// Makes the certificates and writes them to the directory. The server's is for this machine and for `addresses`.
///
/// # Errors
///
/// Why the directory cannot be used: it is not empty, or cannot be written to.
pub(crate) fn write(directory: &Path, addresses: &[IpAddr]) -> io::Result<Files> {
    create_empty(directory)?;
    let files = Files::at(directory);
    files.fill(addresses)?;
    Ok(files)
}

impl Files {
    fn at(directory: &Path) -> Self {
        Self {
            ca: directory.join("ca.pem"),
            server: directory.join("server.pem"),
            server_key: directory.join("server-key.pem"),
            client: directory.join("client.pem"),
            client_key: directory.join("client-key.pem"),
        }
    }

    fn fill(&self, addresses: &[IpAddr]) -> io::Result<()> {
        let ca = authority().map_err(io::Error::other)?;
        write_file(&self.ca, 0o644, &ca.pem())?;
        let (certificate, key) = issue(&ca, server(addresses)).map_err(io::Error::other)?;
        write_file(&self.server, 0o644, &certificate)?;
        write_file(&self.server_key, 0o600, &key)?;
        let (certificate, key) = issue(&ca, client()).map_err(io::Error::other)?;
        write_file(&self.client, 0o644, &certificate)?;
        write_file(&self.client_key, 0o600, &key)
    }
}

/// Creates the directory unless it exists and is empty.
fn create_empty(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    match fs::read_dir(directory)?.next() {
        None => Ok(()),
        Some(_) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
    }
}

fn write_file(path: &Path, mode: u32, pem: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(pem.as_bytes())
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut ca = params("reset-gateway sandbox CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(ca, KeyPair::generate()?)
}

/// Signs a certificate for a new key; both as PEM.
fn issue(
    ca: &CertifiedIssuer<'_, KeyPair>,
    params: Result<CertificateParams, rcgen::Error>,
) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let certificate = params?.signed_by(&key, ca)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn server(addresses: &[IpAddr]) -> Result<CertificateParams, rcgen::Error> {
    let mut all = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    all.extend(addresses);
    all.sort_unstable();
    all.dedup();
    let mut params = leaf(
        "reset-gateway sandbox",
        ExtendedKeyUsagePurpose::ServerAuth,
        SanType::DnsName("localhost".try_into()?),
    );
    let addresses = all.into_iter().map(SanType::IpAddress);
    params.subject_alt_names.extend(addresses);
    Ok(params)
}

fn client() -> Result<CertificateParams, rcgen::Error> {
    Ok(leaf(
        "reset-gateway sandbox client",
        ExtendedKeyUsagePurpose::ClientAuth,
        SanType::URI(CLIENT.try_into()?),
    ))
}

fn leaf(name: &str, purpose: ExtendedKeyUsagePurpose, san: SanType) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.subject_alt_names = vec![san];
    params.use_authority_key_identifier_extension = true;
    params
}

fn params(name: &str) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + VALIDITY).into();
    params
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
    use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};

    use super::*;

    fn read(path: &Path) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(path).unwrap()
    }

    /// Whether the certificate is trusted by the CA for that use at that time from now.
    fn is_trusted(ca: &Path, certificate: &Path, usage: KeyUsage, after: Duration) -> bool {
        let (ca, certificate) = (read(ca), read(certificate));
        let anchor = [anchor_from_trusted_cert(&ca).unwrap()];
        let leaf = EndEntityCert::try_from(&certificate).unwrap();
        let now = SystemTime::now() + after;
        let time = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap());
        let algorithms = &[ring::ECDSA_P256_SHA256];
        let trusted = leaf.verify_for_usage(algorithms, &anchor, &[], time, usage, None, None);
        trusted.is_ok()
    }

    #[test]
    fn the_certificates_are_for_their_own_use_only_and_for_some_days() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(&folder.path().join("not/yet"), &[]).unwrap();
        let (server, client) = (KeyUsage::server_auth(), KeyUsage::client_auth());
        let now = Duration::ZERO;
        assert!(is_trusted(&files.ca, &files.server, server, now));
        assert!(is_trusted(&files.ca, &files.client, client, now));
        assert!(!is_trusted(&files.ca, &files.server, client, now));
        assert!(!is_trusted(&files.ca, &files.client, server, now));
        let later = VALIDITY + Duration::from_secs(60);
        assert!(is_trusted(&files.ca, &files.server, server, VALIDITY / 2));
        assert!(!is_trusted(&files.ca, &files.server, server, later));
    }

    #[test]
    fn the_server_is_this_machine_and_the_client_has_a_spiffe_id() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = IpAddr::from([192, 0, 2, 7]);
        let listening = [elsewhere, Ipv4Addr::LOCALHOST.into()];
        let files = write(folder.path(), &listening).unwrap();
        let server = read(&files.server);
        let server = EndEntityCert::try_from(&server).unwrap();
        let is_valid_for = |name: &str| {
            let name = ServerName::try_from(name).unwrap();
            server.verify_is_valid_for_subject_name(&name).is_ok()
        };
        for name in ["localhost", "127.0.0.1", "::1", "192.0.2.7"] {
            assert!(is_valid_for(name), "{name}");
        }
        assert!(!is_valid_for("example.com") && !is_valid_for("192.0.2.8"));

        let client = read(&files.client);
        let client = EndEntityCert::try_from(&client).unwrap();
        assert_eq!(client.valid_uri_names().collect::<Vec<_>>(), [CLIENT]);
    }

    #[test]
    fn only_the_owner_can_read_the_keys() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), &[]).unwrap();
        for (certificate, key) in [
            (&files.server, &files.server_key),
            (&files.client, &files.client_key),
        ] {
            assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            let (key, certificate) = (PrivateKeyDer::from_pem_file(key), read(certificate));
            let key = rustls::crypto::ring::sign::any_supported_type(&key.unwrap()).unwrap();
            let certified = rustls::sign::CertifiedKey::new(vec![certificate], key);
            certified.keys_match().unwrap();
        }
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            5,
            "no key of the authority"
        );
    }

    #[test]
    fn a_directory_that_is_not_empty_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("of-somebody");
        fs::write(&file, "text").unwrap();
        assert!(write(folder.path(), &[]).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write(&file, &[]).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"text");
    }
}
