//! Reads the response to a REST request.

use std::time::SystemTime;

use http::{HeaderName, header};
use reqwest::Response;

use super::{decoding, retry_after};
use crate::{
    call::Call,
    envelope::{ApiResponse, PrivateValues},
    error::Error,
};

/// The longest response that is read, in bytes. The documented ones are far shorter.
pub(crate) const MAX_RESPONSE: usize = 64 * 1024;

/// Reads a response. Of an error only what fits into [`MAX_RESPONSE`] is read, because its status says enough.
///
/// # Errors
///
/// [`Error::TooLarge`] if a success is longer than that, or the end of the connection.
pub(super) async fn read(response: &mut Response, call: &Call) -> Result<ApiResponse, Error> {
    let status = response.status();
    let http_status = status.as_u16();
    let is_announced = response.content_length() > Some(MAX_RESPONSE as u64);
    if is_announced && status.is_success() {
        return Err(Error::TooLarge { http_status });
    }
    let mut body = Vec::new();
    while body.len() <= MAX_RESPONSE
        && let Some(chunk) = response
            .chunk()
            .await
            .map_err(|it| connection_error(it, call))?
    {
        body.extend_from_slice(&chunk);
    }
    let encoding = text(response, &header::CONTENT_ENCODING);
    let mut body = decoding::decode(body, encoding, MAX_RESPONSE + 1);
    if body.len() > MAX_RESPONSE && status.is_success() {
        return Err(Error::TooLarge { http_status });
    }
    body.truncate(MAX_RESPONSE);
    Ok(ApiResponse {
        http_status,
        content_type: text(response, &header::CONTENT_TYPE).map(str::to_owned),
        retry_after: retry_after::read(response.headers(), SystemTime::now()),
        body: String::from_utf8(body)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        values: PrivateValues::default(),
    })
}

fn text<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Why there is no response. The error loses its URL, which may hold a user name.
pub(super) fn connection_error(error: reqwest::Error, call: &Call) -> Error {
    let error = error.without_url();
    if error.is_connect() || !call.record.was_sent() {
        Error::Unreachable(error)
    } else {
        Error::ConnectionLost(error)
    }
}
