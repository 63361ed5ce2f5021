//! How a collector is reached: the `OTEL_EXPORTER_OTLP_*` variables, each for one signal or for all.

use std::{fmt, fs, time::Duration};

use reqwest::{Certificate, Identity};

use crate::config::{
    ConfigError,
    environment::{milliseconds, variable},
};

/// How a collector is reached, apart from what the SDK reads for itself.
pub struct Otlp {
    /// What is spoken.
    pub protocol: Protocol,
    /// The variable that names the endpoint.
    pub endpoint_variable: String,
    /// The endpoint as it is given, if it is.
    pub endpoint: Option<String>,
    /// The most that connecting and an attempt to export may take, and after which no other is made: the exporter's timeout
    /// or that of what feeds it (`OTEL_BSP_EXPORT_TIMEOUT`, `OTEL_METRIC_EXPORT_TIMEOUT`), which the SDK does not keep.
    pub timeout: Duration,
    /// Certificates to trust, as PEM.
    pub ca: Option<Pem>,
    /// The certificate to show and its key, both as PEM.
    pub identity: Option<(Pem, Pem)>,
}

/// The content of a PEM file.
pub(crate) type Pem = Vec<u8>;

/// What is spoken to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    HttpProtobuf,
}

/// The SDK's default for an export.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Otlp {
    /// That of a signal, `TRACES` or `METRICS`.
    pub(super) fn of(signal: &str) -> Result<Self, ConfigError> {
        let protocol = match of_signal(signal, "PROTOCOL")? {
            None => Protocol::HttpProtobuf,
            Some((name, value)) => match value.to_ascii_lowercase().as_str() {
                "grpc" => Protocol::Grpc,
                "http/protobuf" => Protocol::HttpProtobuf,
                _ => return Err(ConfigError::variable(&name, "takes grpc or http/protobuf")),
            },
        };
        let (endpoint_variable, endpoint) = match of_signal(signal, "ENDPOINT")? {
            Some((name, value)) => {
                let is_url = reqwest::Url::parse(&value)
                    .is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
                if !is_url {
                    return Err(ConfigError::variable(
                        &name,
                        "takes an http or https URL, such as http://127.0.0.1:4317",
                    ));
                }
                (name, Some(value))
            }
            None => ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), None),
        };
        let timeout = match of_signal(signal, "TIMEOUT")? {
            Some((name, _)) => milliseconds(&name)?.unwrap_or(TIMEOUT),
            None => TIMEOUT,
        };
        let of_processor = milliseconds(if signal == "TRACES" {
            "OTEL_BSP_EXPORT_TIMEOUT"
        } else {
            "OTEL_METRIC_EXPORT_TIMEOUT"
        })?;
        Ok(Self {
            protocol,
            endpoint_variable,
            endpoint,
            timeout: of_processor.map_or(timeout, |most| timeout.min(most)),
            ca: certificate(signal, "CERTIFICATE")?.map(|(_, pem)| pem),
            identity: identity(signal)?,
        })
    }
}

/// The certificate to show and its key, which only go together.
fn identity(signal: &str) -> Result<Option<(Pem, Pem)>, ConfigError> {
    match (
        certificate(signal, "CLIENT_CERTIFICATE")?,
        file(signal, "CLIENT_KEY")?,
    ) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(missing(signal, "CLIENT_KEY", "CLIENT_CERTIFICATE")),
        (None, Some(_)) => Err(missing(signal, "CLIENT_CERTIFICATE", "CLIENT_KEY")),
        (Some((_, certificate)), Some((name, key))) => {
            let both = Identity::from_pem(&[certificate.as_slice(), b"\n", &key].concat());
            // Whether they belong together is only seen when they are used.
            let fit = both
                .and_then(|identity| reqwest::Client::builder().identity(identity).build())
                .is_ok();
            let takes = "takes a PEM file with the key of the client certificate";
            if fit {
                Ok(Some((certificate, key)))
            } else {
                Err(ConfigError::variable(&name, takes))
            }
        }
    }
}

fn missing(signal: &str, wanted: &str, there: &str) -> ConfigError {
    let name = format!("OTEL_EXPORTER_OTLP_{signal}_{wanted}");
    ConfigError::variable(&name, format!("is missing: {there} goes with it"))
}

/// A setting of the OTLP exporter: the signal's own before the one for all signals; with the name of its variable.
pub(super) fn of_signal(
    signal: &str,
    setting: &str,
) -> Result<Option<(String, String)>, ConfigError> {
    for name in [
        format!("OTEL_EXPORTER_OTLP_{signal}_{setting}"),
        format!("OTEL_EXPORTER_OTLP_{setting}"),
    ] {
        if let Some(value) = variable(&name)? {
            return Ok(Some((name, value)));
        }
    }
    Ok(None)
}

/// The content of the file that a setting names; with the name of its variable.
fn file(signal: &str, setting: &str) -> Result<Option<(String, Vec<u8>)>, ConfigError> {
    let Some((name, path)) = of_signal(signal, setting)? else {
        return Ok(None);
    };
    match fs::read(path) {
        Ok(content) => Ok(Some((name, content))),
        Err(error) => Err(ConfigError::variable(
            &name,
            format!("takes a PEM file ({error})"),
        )),
    }
}

/// The same, of certificates.
fn certificate(signal: &str, setting: &str) -> Result<Option<(String, Vec<u8>)>, ConfigError> {
    let Some((name, pem)) = file(signal, setting)? else {
        return Ok(None);
    };
    let found = Certificate::from_pem_bundle(&pem).is_ok_and(|found| !found.is_empty());
    if found {
        Ok(Some((name, pem)))
    } else {
        Err(ConfigError::variable(
            &name,
            "takes a PEM file of certificates",
        ))
    }
}

impl fmt::Debug for Otlp {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp")
            .field("protocol", &self.protocol)
            .field("endpoint_variable", &self.endpoint_variable)
            .finish_non_exhaustive()
    }
}
