//! The REST request of a call.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use percent_encoding::utf8_percent_encode;
use reqwest::{Body, Request};
use serde::Serializer;

use super::body::RequestBody;
use crate::{call::Call, endpoint::Endpoint, rpc::PERCENT_ENCODED};

const ET_APP_KEY: HeaderName = HeaderName::from_static("et-app-key");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a request carries.
#[derive(Hash)]
pub(crate) enum Payload<'a> {
    /// One query parameter: its name and value.
    Query(&'static str, &'a str),
    Json(Bytes),
}

/// What a request and its retries have in common.
pub(crate) struct ApiRequest<'a> {
    pub(crate) call: &'a Call,
    pub(crate) app_key: &'a HeaderValue,
    pub(crate) payload: Payload<'a>,
}

impl Payload<'_> {
    /// A JSON object with these members.
    pub(crate) fn json(members: &[(&str, &str)]) -> Self {
        let mut json = Vec::new();
        let written = serde_json::Serializer::new(&mut json).collect_map(members.iter().copied());
        written.expect("strings are JSON");
        Self::Json(json.into())
    }
}

impl ApiRequest<'_> {
    /// The request, apart from the client's default headers.
    pub(super) fn build(&self, endpoint: &Endpoint) -> Request {
        let mut request = Request::new(endpoint.rpc.http_method().clone(), endpoint.url.clone());
        let headers = request.headers_mut();
        headers.insert(ET_APP_KEY, self.app_key.clone());
        let json = match &self.payload {
            Payload::Query(name, value) => {
                let query = format!("{name}={}", utf8_percent_encode(value, PERCENT_ENCODED));
                request.url_mut().set_query(Some(&query));
                None
            }
            Payload::Json(json) => {
                headers.insert(header::CONTENT_TYPE, JSON);
                Some(json.clone())
            }
        };
        let record = Arc::clone(&self.call.record);
        *request.body_mut() = Some(Body::wrap(RequestBody { json, record }));
        request
    }
}
