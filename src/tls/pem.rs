//! Reads PEM files, and says what is wrong with them where rustls' own errors mislead.

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{Error, PemObject},
};

/// The certificates of a file, of which there is at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    sections(pem, "certificate")
}

/// The certificate revocation lists of a file, of which there is at least one: rustls takes a file without any, and then
/// checks nothing.
pub(crate) fn revocation_lists(
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    sections(pem, "certificate revocation list")
}

/// The one private key of a file, in the form of PKCS #8, PKCS #1 or SEC 1.
pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if is_encrypted(pem) {
        return Err("the key is encrypted; openssl pkey writes one that is not".to_owned());
    }
    let mut keys = sections(pem, "private key")?;
    match keys.len() {
        1 => Ok(keys.remove(0)),
        _ => Err("more than one private key in it".to_owned()),
    }
}

fn sections<T: PemObject>(pem: &[u8], what: &str) -> Result<Vec<T>, String> {
    let sections: Result<Vec<_>, _> = T::pem_slice_iter(pem).collect();
    let sections = sections.map_err(|error| unreadable(&error, what))?;
    match sections.is_empty() {
        true => Err(format!("no {what} in it")),
        false => Ok(sections),
    }
}

/// The text never holds a part of the file.
fn unreadable(error: &Error, what: &str) -> String {
    match error {
        Error::NoItemsFound => format!("no {what} in it"),
        Error::MissingSectionEnd { .. } => "it is cut off: an END line is missing".to_owned(),
        _ => "it is not PEM".to_owned(),
    }
}

/// Whether there is an encrypted key, in the form of PKCS #8 or of OpenSSL's older one.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}
