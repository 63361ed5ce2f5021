//! What has to hold between the options, and in the files that they name: from what was typed to the settings.

use std::{fs, net::SocketAddr, path::PathBuf};

use reqwest::Certificate;

use super::{ExplainOptions, KeyOptions, SandboxListen, SandboxOptions, ServeOptions};
use crate::{
    address::Address,
    app_key,
    attempt_limiter::Rates,
    config::{Api, ConfigError, Explain, Key, Limits, Sandbox, Serve, Telemetry},
};

impl ServeOptions {
    pub(super) fn check(self) -> Result<Serve, ConfigError> {
        let api = match (self.upstream_url, self.sandbox) {
            (Some(_), false) if self.sandbox_listen.sandbox_listen.is_some() => {
                return Err(ConfigError::flag("--sandbox-listen", "goes with --sandbox"));
            }
            (Some(url), false) => Api::Url(url),
            (None, true) => Api::Sandbox(self.sandbox_listen.address()),
            (Some(_), true) => {
                return Err(ConfigError::flag(
                    "--sandbox",
                    "cannot be given together with --upstream-url",
                ));
            }
            (None, false) => {
                let takes = "is missing: it takes the API's base URL, such as https://api.example.com; or use --sandbox";
                return Err(ConfigError::flag("--upstream-url", takes));
            }
        };
        check_distinct(&self.listen, self.admin_listen.0, &api)?;
        Ok(Serve {
            listen: self.listen,
            admin_listen: self.admin_listen.0,
            api,
            api_version: self.upstream_api_version,
            connect_timeout: self.connect_timeout,
            ca: self
                .upstream_ca
                .map(certificates)
                .transpose()?
                .unwrap_or_default(),
            key: self.key.check()?,
            limits: Limits {
                timeout: self.timeout,
                max_in_flight: self.max_in_flight,
                max_connections: self.max_connections,
                max_connection_age: self.max_connection_age.0,
                drain_delay: self.drain_delay,
                drain_timeout: self.drain_timeout,
            },
            rates: Rates {
                codes: self.code_attempts.0,
                all_codes: self.code_attempts_total.0,
                answers: self.answer_attempts.0,
            },
            caller_metadata: self.caller_metadata,
            worker_threads: self.worker_threads,
            telemetry: Telemetry::from_environment(self.log.log_format)?,
        })
    }
}

/// No address may be listened on twice. A port 0 is another one each time.
fn check_distinct(
    listen: &[Address],
    admin: Option<SocketAddr>,
    api: &Api,
) -> Result<(), ConfigError> {
    let sandbox = match api {
        Api::Sandbox(address) => Some(*address),
        Api::Url(_) => None,
    };
    let others = [("--admin-listen", admin), ("--sandbox-listen", sandbox)];
    let others = others
        .into_iter()
        .filter_map(|(flag, address)| Some((flag, Address::Tcp(address?))));
    let mut seen: Vec<Address> = Vec::new();
    for (flag, address) in listen
        .iter()
        .cloned()
        .map(|address| ("--listen", address))
        .chain(others)
    {
        if seen.contains(&address) && !address.is_any_port() {
            return Err(ConfigError::flag(
                flag,
                "takes an address that no other listener has",
            ));
        }
        seen.push(address);
    }
    Ok(())
}

impl SandboxListen {
    fn address(&self) -> SocketAddr {
        self.sandbox_listen
            .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

impl KeyOptions {
    pub(super) fn check(self) -> Result<Key, ConfigError> {
        match (self.app_key, self.app_key_file) {
            (Some(key), _) => Ok(Key::Fixed(key)),
            (None, Some(path)) => match app_key::read(&path) {
                Ok(key) => Ok(Key::File(path, key)),
                Err(error) => Err(ConfigError::flag(
                    "--app-key-file",
                    format!("takes a file with an application key ({error})"),
                )),
            },
            (None, None) => Ok(Key::Callers),
        }
    }
}

impl SandboxOptions {
    pub(super) fn check(self) -> Result<Sandbox, ConfigError> {
        let key = match self.key.check()? {
            Key::Callers => None,
            Key::Fixed(key) | Key::File(_, key) => Some(key),
        };
        let telemetry = Telemetry::from_environment(self.log.log_format)?;
        Ok(Sandbox {
            listen: self.listen.address(),
            key,
            telemetry,
        })
    }
}

impl ExplainOptions {
    pub(super) fn check(self) -> Explain {
        Explain {
            rpc: self.rpc,
            http_status: self.http_status,
            content_type: self.content_type,
            retry_after: self.retry_after,
            answered: self.answered,
            key_owner: if self.callers_key {
                app_key::KeyOwner::Caller
            } else {
                app_key::KeyOwner::Gateway
            },
            body: self.body,
        }
    }
}

/// The first of the addresses, of which the variable may name none.
pub(super) fn first(addresses: Vec<Address>) -> Result<Address, ConfigError> {
    let takes = "takes IP:port or unix:/absolute/path";
    addresses
        .into_iter()
        .next()
        .ok_or_else(|| ConfigError::flag("--listen", takes))
}

fn certificates(path: PathBuf) -> Result<Vec<Certificate>, ConfigError> {
    let takes = |why: String| {
        ConfigError::flag(
            "--upstream-ca",
            format!("takes a PEM file of certificates ({why})"),
        )
    };
    let pem = fs::read(path).map_err(|error| takes(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem)
        .ok()
        .filter(|found| !found.is_empty());
    found.ok_or_else(|| takes("no certificate in it".to_owned()))
}
