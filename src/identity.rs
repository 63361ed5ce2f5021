//! Who the peer of a connection is: the names that a policy is matched against.

use rustls::pki_types::CertificateDer;
use spiffe::SpiffeId;
use webpki::EndEntityCert;
use x509_cert::{Certificate, der::Decode};

/// The longest SPIFFE id, in bytes, by the SPIFFE-ID standard, section 2.3.
const MAX_SPIFFE_ID: usize = 2048;

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
    pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, &'static str> {
        let unreadable = "the certificate cannot be read";
        let parsed = EndEntityCert::try_from(certificate).map_err(|_| unreadable)?;
        let owned = |names: &mut dyn Iterator<Item = &str>| names.map(str::to_owned).collect();
        let mut principals: Vec<String> = owned(&mut parsed.valid_uri_names());
        check_spiffe(&principals)?;
        if principals.is_empty() {
            principals = owned(&mut parsed.valid_dns_names());
        }
        if principals.is_empty() {
            let parsed = Certificate::from_der(certificate).map_err(|_| unreadable)?;
            principals = vec![parsed.tbs_certificate.subject.to_string()];
        }
        match principals.iter().any(String::is_empty) {
            true => Err("the certificate has an empty name"),
            false => Ok(Self { principals }),
        }
    }

    /// The peer's one name; `None` if it has none.
    pub(crate) fn principal(&self) -> Option<&str> {
        let first = self.principals.first();
        first.map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// Checks the URIs of a certificate. With a SPIFFE id there may be no other (X.509-SVID, section 2), and only one that is
/// in its one form is compared byte by byte.
fn check_spiffe(uris: &[String]) -> Result<(), &'static str> {
    const SCHEME: &str = "spiffe:";
    let has_scheme = |uri: &String| {
        let start = uri.get(..SCHEME.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    };
    if !uris.iter().any(has_scheme) {
        return Ok(());
    }
    let [uri] = uris else {
        return Err("the certificate has a SPIFFE id and another URI");
    };
    let id = SpiffeId::new(uri).ok();
    let is_valid = uri.len() <= MAX_SPIFFE_ID && id.is_some_and(|id| id.to_string() == *uri);
    is_valid
        .then_some(())
        .ok_or("the certificate's SPIFFE id is not valid")
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

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
        Identity::of_certificate(certificate.der())
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
        let long = format!("spiffe://example.org/{}", "a".repeat(MAX_SPIFFE_ID - 20));
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
}
