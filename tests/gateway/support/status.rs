//! Reads a status as a client does.

use std::fmt::Write;

use tonic::Status;
use tonic_types::StatusExt;

/// The whole status on one line: `CODE REASON fault outcome key=value… detail…`.
pub fn summary(status: &Status) -> String {
    let details = status.check_error_details().unwrap();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "passwordreset.autoshares.dev");
    let of = |key: &str| {
        info.metadata
            .get(key)
            .unwrap_or_else(|| panic!("no {key}: {status:?}"))
    };
    let mut text = format!(
        "{:?} {} {} {}",
        status.code(),
        info.reason,
        of("fault"),
        of("outcome")
    );
    for key in ["httpStatus", "upstreamCodes"] {
        if let Some(value) = info.metadata.get(key) {
            write!(text, " {key}={value}").unwrap();
        }
    }
    for violation in details
        .bad_request()
        .iter()
        .flat_map(|detail| &detail.field_violations)
    {
        write!(text, " [{}: {}]", violation.field, violation.description).unwrap();
    }
    for violation in details
        .precondition_failure()
        .iter()
        .flat_map(|detail| &detail.violations)
    {
        write!(
            text,
            " <{} {} {}>",
            violation.r#type, violation.subject, violation.description
        )
        .unwrap();
    }
    if let Some(delay) = details.retry_info().and_then(|detail| detail.retry_delay) {
        write!(text, " retry={}s", delay.as_secs()).unwrap();
    }
    if let Some(message) = details.localized_message() {
        assert_eq!(message.locale, "en");
        write!(text, " \"{}\"", message.message).unwrap();
    }
    text
}

/// The size of the status by the rules of a client's header limit, in bytes.
pub fn size(status: &Status) -> usize {
    let headers = status.clone().into_http::<()>().headers().clone();
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum()
}

/// Asserts what holds for every status.
pub fn check(status: &Status) {
    let text = summary(status);
    assert!(size(status) < 4096, "{} bytes: {text}", size(status));
    assert!(
        !(text.starts_with("Unavailable") && text.contains(" unknown")),
        "UNAVAILABLE must be safe to repeat: {text}"
    );
}
