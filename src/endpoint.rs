//! Where the REST call of an rpc goes, worked out once.

use reqwest::Url;

use crate::contract::Rpc;

/// The REST call of an rpc, apart from what differs from call to call.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) rpc: Rpc,
    /// Without a query.
    pub(crate) url: Url,
    /// `/v1.0/users/password/reset`
    pub(crate) template: String,
    /// `POST /v1.0/users/password/reset`
    pub(crate) span_name: String,
}

impl Endpoint {
    /// Below the API's base URL, in that version of the API.
    pub(crate) fn new(rpc: Rpc, base: &Url, api_version: &str) -> Self {
        let template = format!("/v{api_version}{}", rpc.http_path());
        let mut url = base.clone();
        url.set_path(&format!("{}{template}", base.path().trim_end_matches('/')));
        Self { rpc, url, span_name: format!("{} {template}", rpc.http_method()), template }
    }

    /// The URL as telemetry may have it: the query's value is a user name.
    pub(crate) fn url_without_values(&self) -> String {
        match self.rpc {
            Rpc::GetSecretQuestion => format!("{}?username=REDACTED", self.url),
            Rpc::ResetPassword | Rpc::GenerateToken | Rpc::UpdatePassword => self.url.to_string(),
        }
    }
}
