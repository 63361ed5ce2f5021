//! Who the peer of a connection is: the names that a policy is matched against.

use reqwest::Url;
use rustls::pki_types::DnsName;
use spiffe::SpiffeId;
use x509_cert::{
    Certificate,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// The longest name, in bytes: that of a SPIFFE id, by the SPIFFE-ID standard, section 2.3.
const MAX_NAME: usize = 2048;

/// The identity of a peer. By default it has none: it is connected by TCP without TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The names that a policy is matched against, by gRFC A43. One that is empty stands for a peer without a certificate
    /// on a TLS connection. The first one, if it is not empty, stands for the peer in the log and for the limits.
    pub(crate) principals: Vec<String>,
}

impl Identity {
    /// The identity of the process behind a Unix socket, spelt as SPIRE's selectors.
    pub(crate) fn of_unix_peer(uid: u32, gid: u32) -> Self {
        Self {
            principals: vec![format!("unix:uid:{uid}"), format!("unix:gid:{gid}")],
        }
    }

    /// The identity of a TLS client without a certificate.
    pub(crate) fn of_anonymous_client() -> Self {
        Self {
            principals: vec![String::new()],
        }
    }

    /// The identity in a certificate: its URIs, or if there is none its DNS names, or if there is none its subject.
    ///
    /// # Errors
    ///
    /// Why the certificate names nobody.
    pub(crate) fn of_certificate(certificate: &Certificate) -> Result<Self, &'static str> {
        let certificate = &certificate.tbs_certificate;
        let names = certificate
            .get::<SubjectAltName>()
            .map_err(|_| "a name in the certificate cannot be read")?;
        let (mut uris, mut dns_names) = (Vec::new(), Vec::new());
        for name in names.map_or_else(Vec::new, |(_, names)| names.0) {
            match name {
                GeneralName::UniformResourceIdentifier(uri) => uris.push(uri.to_string()),
                GeneralName::DnsName(name) => dns_names.push(name.to_string()),
                _ => {}
            }
        }
        check_uris(&uris)?;
        let is_dns_name =
            |name: &String| DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_ok();
        if !dns_names.iter().all(is_dns_name) {
            return Err("the certificate contains an invalid DNS name");
        }
        let subject = || vec![certificate.subject.to_string()];
        let found = [uris, dns_names]
            .into_iter()
            .find(|names| !names.is_empty());
        let principals = found.unwrap_or_else(subject);
        let has_length = |name: &String| (1..=MAX_NAME).contains(&name.len());
        match principals.iter().all(has_length) {
            true => Ok(Self { principals }),
            false => Err("the certificate has an empty name, or one longer than 2048 bytes"),
        }
    }

    /// The peer's one name; `None` if it has none.
    pub(crate) fn principal(&self) -> Option<&str> {
        let first = self.principals.first();
        first.map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// Checks the URIs of a certificate, so that none can be taken for another kind of name: a Unix peer's, or a subject. With
/// a SPIFFE id there may be no other URI (X.509-SVID, section 2), and only one that is in its one form is compared byte by
/// byte.
fn check_uris(uris: &[String]) -> Result<(), &'static str> {
    let mut has_spiffe_id = false;
    for uri in uris {
        let parsed = Url::parse(uri).map_err(|_| "the certificate contains an invalid URI")?;
        match parsed.scheme() {
            "unix" => return Err("the certificate has the name of a Unix peer"),
            "spiffe" => has_spiffe_id = true,
            _ => {}
        }
    }
    match uris {
        _ if !has_spiffe_id => Ok(()),
        [uri] if SpiffeId::new(uri).is_ok_and(|id| id.to_string() == *uri) => Ok(()),
        [_] => Err("the certificate's SPIFFE id is not valid"),
        _ => Err("the certificate has a SPIFFE id and another URI"),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, SanType};
    use x509_cert::der::Decode;

    use super::*;

    fn identity_in(der: &[u8]) -> Result<Identity, &'static str> {
        Identity::of_certificate(&Certificate::from_der(der).unwrap())
    }

    /// The identity in a certificate with these URIs and DNS names.
    fn identity(uris: &[&str], names: &[&str]) -> Result<Identity, &'static str> {
        let mut params = CertificateParams::default();
        let uris = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        let names = names
            .iter()
            .map(|name| SanType::DnsName((*name).try_into().unwrap()));
        params.subject_alt_names = uris.chain(names).collect();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, "web");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example");
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        identity_in(certificate.der())
    }

    #[test]
    fn uris_come_before_dns_names_and_those_before_the_subject() {
        let id = "spiffe://example.org/ns/trading/sa/web";
        for (uris, names, expected) in [
            (&[id][..], &["a.example"][..], &[id][..]),
            (
                &["https://a", "https://b"],
                &["c"],
                &["https://a", "https://b"],
            ),
            (
                &[],
                &["a.example", "b.example"],
                &["a.example", "b.example"],
            ),
            (&[], &[], &["O=Example,CN=web"]),
        ] {
            assert_eq!(identity(uris, names).unwrap().principals, expected);
        }
    }

    #[test]
    fn a_spiffe_id_stands_alone_and_has_one_form() {
        let long = format!("spiffe://example.org/{}", "a".repeat(MAX_NAME - 20));
        for uris in [
            &["spiffe://example.org/a", "spiffe://example.org/b"][..],
            &["https://example.org", "spiffe://example.org/a"],
            &["spiffe://example.org/%61"],
            &["spiffe://example.org/a?b"],
            &["spiffe://example.org/a#b"],
            &["spiffe://example.org:1/a"],
            &["spiffe://Example.org/a"],
            &["SPIFFE://example.org/a"],
            &["spiffe://example.org//a"],
            &["spiffe://example.org/a/"],
            &["spiffe://example.org/./a"],
            &["spiffe://example.org/../a"],
            &["spiffe:///a"],
            &[&long],
        ] {
            assert!(identity(uris, &["a.example"]).is_err(), "{uris:?}");
        }
        assert!(identity(&["spiffe://example.org"], &[]).is_ok());
    }

    #[test]
    fn no_name_can_be_taken_for_one_of_another_kind() {
        for (uris, names) in [
            (&["unix:uid:0"][..], &[][..]),
            (&["UNIX:uid:0"], &[]),
            (&["https://example.org", "unix:gid:0"], &[]),
            (&["CN=web"], &[]),
            (&["web"], &[]),
            (&[""], &[]),
            (&[], &["unix:uid:0"]),
            (&[], &["spiffe://example.org/web"]),
            (&[], &["CN=web"]),
            (&[], &[""]),
        ] {
            assert!(identity(uris, names).is_err(), "{uris:?}, {names:?}");
        }
        assert!(identity(&[], &["*.example.org"]).is_ok());
    }

    #[test]
    fn a_name_that_cannot_be_read_is_not_left_out() {
        /// The extension with a name of this tag and these bytes, and a SPIFFE id.
        fn names(tag: u8, name: &[u8]) -> Vec<u8> {
            let id = b"spiffe://example.org/web";
            let names = [&[tag, name.len() as u8], name, &[0x86, id.len() as u8], id].concat();
            [&[0x30, names.len() as u8], &names[..]].concat()
        }
        for (tag, name) in [(0x86, &b"\xff"[..]), (0x82, b"\xff"), (0x8e, b"?")] {
            let mut params = CertificateParams::default();
            let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], names(tag, name));
            params.custom_extensions.push(extension);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert!(identity_in(certificate.der()).is_err(), "{tag:x}");
        }
    }
}
