//! Checks the options of `serve` against each other.

use std::net::IpAddr;

use reqwest::Url;

use super::{AuthzMode, ConfigError, Serve};
use crate::address::Address;

impl Serve {
    /// Checks the options against each other.
    ///
    /// # Errors
    ///
    /// The first option that does not go with the others, or that they require.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let (flag, expected) = match &self.upstream_url {
            None if !self.sandbox => (
                "--upstream-url",
                "is missing: it takes the API's base URL, such as https://api.example.com; or use --sandbox",
            ),
            Some(_) if self.sandbox => {
                ("--sandbox", "cannot be given together with --upstream-url")
            }
            Some(_) if self.sandbox_listen.is_some() => ("--sandbox-listen", "goes with --sandbox"),
            Some(_) if self.self_signed.is_given() => ("--tls-self-signed", "goes with --sandbox"),
            _ if self.authz.authz_mode == AuthzMode::Audit && self.authz.authz_policy.is_none() => {
                ("--authz-mode", "goes with --authz-policy")
            }
            _ => {
                self.check_self_signed()?;
                self.check_tls()?;
                self.check_upstream_certificate()?;
                return self.check_addresses();
            }
        };
        Err(ConfigError::new(flag, expected))
    }

    /// Refuses files beside those that are made.
    fn check_self_signed(&self) -> Result<(), ConfigError> {
        let files = [
            ("--tls-key", &self.tls.tls_key),
            ("--tls-client-ca", &self.tls.tls_client_ca),
        ];
        let given = files.into_iter().find(|(_, file)| file.is_some());
        match given.filter(|_| self.self_signed.is_given()) {
            None => Ok(()),
            Some((flag, _)) => {
                let expected = "cannot be given together with --tls-self-signed";
                Err(ConfigError::new(flag, expected))
            }
        }
    }

    /// Refuses an option of TLS without the one that it goes with.
    fn check_tls(&self) -> Result<(), ConfigError> {
        let tls = &self.tls;
        let made = self.self_signed.is_given();
        let cert = made || tls.tls_cert.is_some();
        let key = made || tls.tls_key.is_some();
        let ca = made || tls.tls_client_ca.is_some();
        let auth = tls.tls_client_auth.is_some();
        let crl = tls.tls_client_crl.is_some();
        let version = tls.tls_min_version.is_some();
        for (flag, is_given, other, is_other_given) in [
            ("--tls-cert", cert, "--tls-key", key),
            ("--tls-key", key, "--tls-cert", cert),
            ("--tls-client-ca", ca, "--tls-cert", cert),
            ("--tls-client-auth", auth, "--tls-client-ca", ca),
            ("--tls-client-crl", crl, "--tls-client-ca", ca),
            ("--tls-min-version", version, "--tls-cert", cert),
        ] {
            if is_given && !is_other_given {
                return Err(ConfigError::new(flag, format!("goes with {other}")));
            }
        }
        Ok(())
    }

    /// Refuses a certificate for the API without a key or without TLS, and a key without a certificate.
    fn check_upstream_certificate(&self) -> Result<(), ConfigError> {
        let (flag, expected) = match (&self.upstream_cert, &self.upstream_key) {
            (None, None) => return Ok(()),
            (Some(_), None) => ("--upstream-cert", "goes with --upstream-key"),
            (None, Some(_)) => ("--upstream-key", "goes with --upstream-cert"),
            (Some(_), Some(_)) if self.is_upstream_https() => return Ok(()),
            (Some(_), Some(_)) => ("--upstream-cert", "goes with an https --upstream-url"),
        };
        Err(ConfigError::new(flag, expected))
    }

    /// Whether requests to the API go over TLS.
    pub(crate) fn is_upstream_https(&self) -> bool {
        let url = self.upstream_url.as_ref();
        url.is_some_and(|url| url.scheme() == "https")
    }

    /// Whether requests to the API leave this machine without TLS.
    pub(crate) fn is_upstream_in_clear(&self) -> bool {
        let url = self.upstream_url.as_ref();
        url.is_some_and(|url| url.scheme() == "http" && !is_loopback(url))
    }

    /// Refuses an address that two listeners have.
    fn check_addresses(&self) -> Result<(), ConfigError> {
        let listen = self.listen.iter().cloned();
        let grpc = listen.map(|address| ("--listen", address));
        let tcp = |flag, address: Option<_>| Some((flag, Address::Tcp(address?)));
        let admin = tcp("--admin-listen", self.admin_listen);
        let sandbox = tcp("--sandbox-listen", self.sandbox_listen);
        let mut seen = Vec::new();
        for (flag, address) in grpc.chain(admin).chain(sandbox) {
            if seen.iter().any(|other| address.overlaps(other)) {
                let expected = "takes an address that no other listener has";
                return Err(ConfigError::new(flag, expected));
            }
            seen.push(address);
        }
        Ok(())
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}
