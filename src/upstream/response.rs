//! Reads the response to a REST request.

use std::time::SystemTime;

use bytes::BytesMut;
use http::{HeaderName, header};
use reqwest::Response;

use super::retry_after;
use crate::{
    call::Call,
    envelope::{ApiResponse, RequestValues},
    error::Error,
};

/// The longest response that is read, in bytes. The documented ones are far shorter.
pub(crate) const MAX_RESPONSE: usize = 64 * 1024;

/// Reads a whole response.
///
/// # Errors
///
/// [`Error::TooLarge`] if it is longer than [`MAX_RESPONSE`], or the end of the connection.
pub(super) async fn read(response: &mut Response, call: &Call) -> Result<ApiResponse, Error> {
    let http_status = response.status().as_u16();
    let too_large = Error::TooLarge { http_status };
    let length = response.content_length();
    if length.is_some_and(|length| length > MAX_RESPONSE as u64) {
        return Err(too_large);
    }
    let mut body = BytesMut::new();
    let lost = |error| connection_error(error, call);
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len() + chunk.len() > MAX_RESPONSE {
            return Err(too_large);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(ApiResponse {
        http_status,
        content_type: text(response, &header::CONTENT_TYPE).map(str::to_owned),
        retry_after: text(response, &header::RETRY_AFTER)
            .and_then(|text| retry_after::parse(text, SystemTime::now())),
        body: body.freeze(),
        values: RequestValues::default(),
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
