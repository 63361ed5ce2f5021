//! Properties of what callers learn of a response: it is little, plain and complete, and repeats no value of the request.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use http::{HeaderName, HeaderValue};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{encoding::encoded_twice, generate};
use crate::{
    envelope::PrivateValues,
    error::Error,
    invisible::is_invisible,
    rpc::{REQUEST_FIELDS, Rpc},
    status::{Classification, DOMAIN},
    steps,
};

/// One status passes on at most this many bytes of the API's text.
const MAX_TEXT: usize = 512;
/// Clients accept at least this many bytes of headers.
const MAX_STATUS: usize = 4096;
/// Shorter values occur in any text by chance.
const SHORTEST: usize = 4;

/// Only a 2xx is a success. The status of any other response is small and complete, and repeats no value of the request.
pub fn response(u: &mut Unstructured<'_>) -> Result<()> {
    let rpc = *u.choose(&Rpc::ALL)?;
    let values: Vec<_> = generate::list(u, 1..=3, generate::value)?;
    let response = generate::response(u, &values)?;
    let Err(error) = steps::parse(rpc, &response, u.arbitrary()?) else {
        assert!((200..=299).contains(&response.http_status));
        return Ok(());
    };
    let error = match u.arbitrary()? {
        true => Error::Api(error).with_callers_key(),
        false => Error::Api(error),
    };
    let classification = Classification::of(&error, rpc.is_read_only());
    let status = classification.status(&error, rpc.is_read_only(), Duration::MAX);
    assert_eq!(status.code(), classification.code);
    assert_complete(&status);
    for text in texts_of_the_api(&status) {
        assert_repeats_none(&text, &values);
    }
    Ok(())
}

/// Sanitized text is short and plain, and contains no value.
pub fn text(u: &mut Unstructured<'_>) -> Result<()> {
    let values: Vec<_> = generate::list(u, 1..=3, generate::value)?;
    let texts: Vec<_> = generate::list(u, 1..=5, |u| generate::text(u, &values))?;
    let text = PrivateValues(values.clone()).redactor().sanitize(&texts);
    assert!(text.len() <= MAX_TEXT, "{text:?}");
    let is_markup = |c: char| c.is_control() || c == '<' || c == '>';
    assert!(!text.contains(is_markup), "{text:?}");
    assert!(!text.contains("  "), "{text:?}");
    assert_repeats_none(&text, &values);
    Ok(())
}

/// The API's texts in a status, without the names and the rule that are the contract's own.
fn texts_of_the_api(status: &Status) -> Vec<String> {
    const RULE: &str = "must be the answer to the trader's secret question";
    let details = status.get_error_details();
    let info = details.error_info().expect("there is an ErrorInfo");
    let mut texts = Vec::from_iter(info.metadata.get("upstreamCodes").cloned());
    texts.extend(details.localized_message().map(|it| it.message.clone()));
    for violation in details
        .bad_request()
        .into_iter()
        .flat_map(|it| &it.field_violations)
    {
        texts.extend([violation.field.clone(), violation.description.clone()]);
    }
    texts.retain(|text| text != RULE && !REQUEST_FIELDS.contains(&&**text));
    texts
}

/// Neither the text nor its letters alone contain a value in any encoding or case.
fn assert_repeats_none(text: &str, values: &[String]) {
    let is_visible = |c: &char| !c.is_whitespace() && !is_invisible(*c);
    let is_long = |value: &&str| value.chars().filter(is_visible).count() >= SHORTEST;
    let fold = |text: &str| text.to_lowercase().to_uppercase();
    let letters: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
    let texts = [text, &letters].map(fold);
    for value in values.iter().map(|value| value.trim()).filter(is_long) {
        for encoded in encoded_twice(value).map(|encoded| fold(&encoded)) {
            let is_in_text = texts.iter().any(|text| text.contains(&encoded));
            assert!(!is_in_text, "{text:?} repeats {value:?}");
        }
    }
}

/// The status fits into a client's header limit and has all details. UNAVAILABLE means that the call did nothing.
fn assert_complete(status: &Status) {
    let headers = status.clone().into_http::<()>().headers().clone();
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 32;
    let size: usize = headers.iter().map(size).sum();
    assert!(size < MAX_STATUS, "{size} bytes: {status:?}");
    assert_ne!(status.code(), Code::Ok);
    assert!(status.message().is_ascii());

    let details = status.check_error_details().expect("standard details");
    let info = details.error_info().expect("there is an ErrorInfo");
    assert_eq!(info.domain, DOMAIN);
    const KEYS: [&str; 4] = ["fault", "httpStatus", "outcome", "upstreamCodes"];
    assert!(info.metadata.keys().all(|key| KEYS.contains(&key.as_str())));
    assert!(info.metadata.contains_key("httpStatus"));
    let outcome = &*info.metadata["outcome"];
    let may_have_acted = outcome == "unknown" && status.code() != Code::Unavailable;
    assert!(may_have_acted || outcome == "refused", "{outcome}");
    let retry_delay = details.retry_info().and_then(|info| info.retry_delay);
    assert!(retry_delay <= Some(Duration::from_secs(300)));
}
