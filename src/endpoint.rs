//! Where the REST request of an rpc is sent, and how telemetry describes the request.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::attribute;
use reqwest::Url;

use crate::{config::Serve, rpc::Rpc};

/// The parts that all REST requests of an rpc have in common.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) rpc: Rpc,
    /// Without a query.
    pub(crate) url: Url,
    /// `POST /v1.0/users/password/reset`
    pub(crate) span_name: String,
    /// The attributes of each span and measurement of the request.
    pub(crate) attributes: Vec<KeyValue>,
}

impl Endpoint {
    /// The endpoint below the API's base URL.
    pub(crate) fn new(rpc: Rpc, base: &Url, config: &Serve) -> Self {
        let path = rpc.http_path(config.upstream_release);
        let template = format!("/v{}{path}", config.upstream_api_version);
        let mut url = base.clone();
        url.set_path(&format!("{}{template}", base.path().trim_end_matches('/')));
        let method = rpc.http_method().as_str();
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let attributes = vec![
            KeyValue::new(attribute::HTTP_REQUEST_METHOD, method),
            KeyValue::new(attribute::URL_TEMPLATE, Arc::<str>::from(template.as_str())),
            KeyValue::new(attribute::SERVER_ADDRESS, Arc::<str>::from(host)),
            KeyValue::new(attribute::SERVER_PORT, i64::from(port)),
        ];
        Self {
            rpc,
            url,
            span_name: format!("{method} {template}"),
            attributes,
        }
    }

    /// The URL for telemetry, without the query's value, which is a user name.
    pub(crate) fn url_without_values(&self) -> String {
        match self.rpc {
            Rpc::GetSecretQuestion => format!("{}?username=REDACTED", self.url),
            Rpc::ResetPassword | Rpc::GenerateToken | Rpc::UpdatePassword => self.url.to_string(),
        }
    }
}
