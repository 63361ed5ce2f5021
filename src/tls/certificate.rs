//! Facts about certificates and revocation lists that rustls does not check.

use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_cert::{
    Certificate,
    crl::CertificateList,
    der::{Decode, oid::ObjectIdentifier},
    ext::pkix::{BasicConstraints, ExtendedKeyUsage},
};

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const ANY_PURPOSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// Checks that a server's certificate can be used now: rustls serves with one that has expired, or is a client's.
/// Returns when it ends.
pub(super) fn check_server(certificate: &CertificateDer<'_>) -> Result<SystemTime, String> {
    let certificate = Certificate::from_der(certificate)
        .map_err(|_| "its first certificate cannot be read".to_owned())?;
    let validity = certificate.tbs_certificate.validity;
    let (from, to) = (validity.not_before, validity.not_after);
    if SystemTime::now() >= to.to_system_time() {
        return Err(format!("the certificate expired at {to}"));
    }
    if SystemTime::now() < from.to_system_time() {
        return Err(format!("the certificate is not valid before {from}"));
    }
    let purposes = certificate.tbs_certificate.get::<ExtendedKeyUsage>();
    let is_servers = |it: &ObjectIdentifier| [SERVER_AUTH, ANY_PURPOSE].contains(it);
    match purposes {
        Ok(Some((_, purposes))) if !purposes.0.iter().any(is_servers) => {
            Err("clients will refuse it: its extended key usage lacks serverAuth".to_owned())
        }
        _ => Ok(to.to_system_time()),
    }
}

/// Checks that a certificate may sign others: rustls takes any as an authority.
pub(super) fn check_authority(certificate: &CertificateDer<'_>) -> Result<(), String> {
    let certificate = Certificate::from_der(certificate)
        .map_err(|_| "a certificate in it cannot be read".to_owned())?;
    let subject = &certificate.tbs_certificate.subject;
    let constraints = certificate.tbs_certificate.get::<BasicConstraints>();
    let is_authority = matches!(
        constraints,
        Ok(Some((_, BasicConstraints { ca: true, .. })))
    );
    match is_authority {
        true => Ok(()),
        false => Err(format!(
            "{subject} is not an authority's certificate: it lacks CA:TRUE"
        )),
    }
}

/// Checks that an authority's certificate has not expired: rustls trusts one that has.
pub(super) fn check_authority_end(certificate: &CertificateDer<'_>) -> Result<(), String> {
    let certificate = Certificate::from_der(certificate)
        .map_err(|_| "a certificate in it cannot be read".to_owned())?;
    let certificate = certificate.tbs_certificate;
    let (subject, end) = (&certificate.subject, certificate.validity.not_after);
    match SystemTime::now() >= end.to_system_time() {
        true => Err(format!("the certificate of {subject} expired at {end}")),
        false => Ok(()),
    }
}

/// Checks that a revocation list is not out of date: with one that is, all certificates of its issuer are refused.
pub(super) fn check_revocation_list_end(
    list: &CertificateRevocationListDer<'_>,
) -> Result<(), String> {
    let list = CertificateList::from_der(list)
        .map_err(|_| "a revocation list in it cannot be read".to_owned())?;
    match list.tbs_cert_list.next_update {
        Some(end) if SystemTime::now() >= end.to_system_time() => {
            let issuer = &list.tbs_cert_list.issuer;
            Err(format!(
                "the list of {issuer} is out of date: its next update was due at {end}"
            ))
        }
        _ => Ok(()),
    }
}
