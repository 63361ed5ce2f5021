//! What holds whatever the API and callers send. The tests below try it with random bytes, the targets in `fuzz/` with
//! those that a fuzzer comes up with.

mod answers;
mod choices;
mod disguise;
mod texts;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, StatusExt};

use self::choices::Choices;
use crate::{
    app_key::KeyOwner,
    call,
    envelope::{
        RequestValues,
        details::{MAX_TEXT, sanitize},
    },
    error::Error,
    invisible::is_invisible,
    proto::ErrorReason,
    rpc::{REQUEST_FIELDS, Rpc},
    status::{Classification, DOMAIN},
    steps,
    upstream::retry_after,
};

/// The least that a client's header limit leaves for a status, in bytes.
const MAX_STATUS: usize = 4096;
/// Shorter values are in any text.
const SHORTEST: usize = 4;

/// The verdict on an answer: a success has a 2xx; a failure's status is small, says what it must, and no value of the
/// request.
pub fn verdict(bytes: &[u8]) {
    let choices = &mut Choices::from(bytes);
    let rpc = choices.of(&Rpc::ALL);
    let (answered, owner) = (
        choices.once_in(2),
        choices.of(&[KeyOwner::Gateway, KeyOwner::Caller]),
    );
    let values = choices.several(0, 3, texts::value);
    let answer = answers::answer(choices, &values);
    match steps::parse(rpc, &answer, answered) {
        Ok(()) => assert!(
            (200..=299).contains(&answer.http_status),
            "a success: {answer:?}"
        ),
        Err(refusal) => {
            let error = Error::Refused(refusal);
            let verdict = Classification::of(&error, rpc.is_read_only(), owner);
            let status = verdict.status(&error);
            assert_eq!(status.code(), verdict.code);
            is_complete(&status);
            for text in told(&status, verdict.reason) {
                is_free_of(&text, &values);
            }
        }
    }
}

/// What is passed on of messages: little, plain, without a value of the request; and what is plain already, as it is.
pub fn text(bytes: &[u8]) {
    let choices = &mut Choices::from(bytes);
    let values = choices.several(0, 4, texts::value);
    let messages = choices.several(1, 4, |choices| texts::message(choices, &values));
    let mut budget = MAX_TEXT;
    let text = pass_on(messages.iter().map(String::as_str), &values, &mut budget);
    assert_eq!(text.len() + budget, MAX_TEXT, "{text:?}");
    assert!(
        !text.contains(|c: char| c.is_control() || matches!(c, '<' | '>')),
        "not plain: {text:?}"
    );
    assert!(!text.contains("  "), "not plain: {text:?}");
    is_free_of(&text, &values);

    let harmless = choices.several(1, 3, texts::sentence);
    let codes = choices.several(0, 3, |choices| format!("{:06}", choices.number()));
    assert_eq!(
        pass_on(harmless.iter().copied(), &codes, &mut { MAX_TEXT }),
        harmless.join(" ")
    );
}

/// The time that a call may take: never more than the gateway allows or the caller asks for, and no less than that but a
/// little. What is no timeout changes nothing.
pub fn grpc_timeout(bytes: &[u8]) {
    let choices = &mut Choices::from(bytes);
    let most = Duration::from_millis(choices.number().into());
    let Ok(value) = HeaderValue::from_bytes(choices.rest()) else {
        return;
    };
    let expected = nanoseconds(value.as_bytes());
    let budget = call::budget(
        &HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), value)]),
        most,
    );
    assert!(budget <= most);
    let Some(timeout) = expected else {
        return assert_eq!(budget, most);
    };
    let least = timeout.saturating_sub(10_000_000).min(most.as_nanos());
    assert!(
        (least..=timeout).contains(&budget.as_nanos()),
        "{budget:?} of {timeout} ns"
    );
}

/// The time to wait: of digits so many seconds, of a date the time until then, and nothing of anything else.
pub fn retry_after(bytes: &[u8]) {
    let choices = &mut Choices::from(bytes);
    let seconds = u64::from(choices.number()) << choices.below(20);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let later = Duration::from_secs(choices.number().into());
    let text = String::from_utf8_lossy(choices.rest());
    let parsed = retry_after::parse(&text, now);

    let trimmed = text.trim();
    if !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit()) {
        let add = |number: u64, digit: u8| {
            number
                .saturating_mul(10)
                .saturating_add((digit - b'0').into())
        };
        assert_eq!(
            parsed,
            Some(Duration::from_secs(trimmed.bytes().fold(0, add))),
            "{text:?}"
        );
    } else if let Some(wait) = parsed {
        assert!(
            wait < Duration::from_secs(10_000 * 366 * 24 * 3600),
            "after the year 9999: {text:?}"
        );
    }
    assert_eq!(
        retry_after::parse(&httpdate::fmt_http_date(now + later), now),
        Some(later)
    );
}

fn pass_on<'m>(
    messages: impl IntoIterator<Item = &'m str>,
    values: &[String],
    budget: &mut usize,
) -> String {
    sanitize(
        messages,
        &RequestValues::of(values.iter().map(String::as_str)).redactor(),
        budget,
    )
}

/// A `grpc-timeout` by its grammar, `1*8DIGIT ("H" / "M" / "S" / "m" / "u" / "n")`.
fn nanoseconds(value: &[u8]) -> Option<u128> {
    let (unit, digits) = value.split_last()?;
    let units = [
        (b'H', 3_600_000_000_000),
        (b'M', 60_000_000_000),
        (b'S', 1_000_000_000),
    ];
    let smaller = [(b'm', 1_000_000), (b'u', 1_000), (b'n', 1)];
    let (_, factor) = units
        .into_iter()
        .chain(smaller)
        .find(|(name, _)| name == unit)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    digits
        .iter()
        .try_fold(0, |number: u128, b| {
            Some(number * 10 + u128::from(char::from(*b).to_digit(10)?))
        })
        .map(|number| number * factor)
}

/// What every status of a failure has, and how much of a client's header limit it takes.
fn is_complete(status: &Status) {
    let headers = status.clone().into_http::<()>().headers().clone();
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum();
    assert!(size < MAX_STATUS, "{size} bytes: {status:?}");
    assert_ne!(status.code(), Code::Ok);

    let details = status
        .check_error_details_vec()
        .expect("the details are of the standard kinds");
    let infos: Vec<_> = details
        .iter()
        .filter_map(|detail| match detail {
            ErrorDetail::ErrorInfo(info) => Some(info),
            _ => None,
        })
        .collect();
    let [info] = infos[..] else {
        panic!("{} of ErrorInfo: {status:?}", infos.len())
    };
    assert_eq!(info.domain, DOMAIN);
    assert!(
        ErrorReason::from_str_name(&info.reason)
            .is_some_and(|reason| reason != ErrorReason::Unspecified)
    );
    let of = |key: &str| info.metadata.get(key).map(String::as_str);
    assert!(
        matches!(of("fault"), Some("caller" | "gateway" | "upstream")),
        "{info:?}"
    );
    assert!(
        matches!(of("outcome"), Some("not_sent" | "refused" | "unknown")),
        "{info:?}"
    );
    assert!(
        !(status.code() == Code::Unavailable && of("outcome") == Some("unknown")),
        "not safe to repeat: {info:?}"
    );
    for detail in &details {
        if let ErrorDetail::RetryInfo(info) = detail {
            assert!(
                info.retry_delay
                    .is_some_and(|delay| delay <= Duration::from_secs(300)),
                "{info:?}"
            );
        }
    }
}

/// All texts of a status that are not the gateway's own, which are checked to be that.
fn told(status: &Status, reason: ErrorReason) -> Vec<String> {
    const RULE: &str = "must be the answer to the trader's secret question";
    assert!(status.message().ends_with('.') && status.message().is_ascii());
    let details = status.get_error_details();
    let mut texts = Vec::new();
    if let Some(info) = details.error_info() {
        assert_eq!(info.reason, reason.as_str_name());
        let known = ["fault", "outcome", "httpStatus", "upstreamCodes"];
        assert!(
            info.metadata
                .keys()
                .all(|key| known.contains(&key.as_str())),
            "{info:?}"
        );
        assert!(
            info.metadata
                .get("httpStatus")
                .is_some_and(|status| status.parse::<u16>().is_ok()),
            "{info:?}"
        );
        texts.extend(info.metadata.get("upstreamCodes").cloned());
    }
    texts.extend(
        details
            .localized_message()
            .map(|message| message.message.clone()),
    );
    for violation in details
        .bad_request()
        .into_iter()
        .flat_map(|request| &request.field_violations)
    {
        if !REQUEST_FIELDS.contains(&violation.field.as_str()) {
            texts.push(violation.field.clone());
        }
        if violation.description != RULE {
            texts.push(violation.description.clone());
        }
    }
    texts
}

/// The text has none of the values in it, in any disguise or case, and its letters do not spell any.
fn is_free_of(text: &str, values: &[String]) {
    // Of what nobody can see there is nothing to keep out.
    let is_seen = |value: &&str| {
        value
            .chars()
            .any(|c| !c.is_whitespace() && !is_invisible(c))
    };
    let values = values
        .iter()
        .map(|value| value.trim())
        .filter(|value| value.chars().count() >= SHORTEST);
    let values = values.filter(is_seen);
    for value in values {
        for disguise in disguise::ALL {
            let once = disguise(value);
            for disguised in disguise::ALL.map(|disguise| disguise(&once)) {
                let found = text.contains(&disguised)
                    || text.to_lowercase().contains(&disguised.to_lowercase())
                    || text.to_uppercase().contains(&disguised.to_uppercase());
                assert!(!found, "{text:?} repeats {value:?} as {disguised:?}");
            }
        }
        let letters = spelled(value);
        let is_found =
            value.is_ascii() && letters.len() >= SHORTEST && spelled(text).contains(&letters);
        assert!(!is_found, "{text:?} spells {value:?}");
    }
}

/// Without ASCII's signs and spaces, and in lower case.
fn spelled(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_ascii() || c.is_ascii_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, test_runner::RngSeed};

    use super::*;

    /// Few, and always the same, so that a run of the tests says something of the change at hand; the fuzzer tries more.
    fn cases(cases: u32) -> ProptestConfig {
        ProptestConfig {
            cases,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::default()
        }
    }

    proptest! {
        #![proptest_config(cases(512))]

        #[test]
        fn a_verdict_is_safe_to_tell(bytes in vec(any::<u8>(), 0..2000)) {
            verdict(&bytes);
        }

        #[test]
        fn a_text_is_safe_to_pass_on(bytes in vec(any::<u8>(), 0..300)) {
            text(&bytes);
        }

        #[test]
        fn a_timeout_is_as_its_grammar_has_it(value in r"[0-9]{0,9}[HMSmuns]?", most: [u8; 2]) {
            grpc_timeout(&[&most[..], value.as_bytes()].concat());
        }

        #[test]
        fn a_timeout_may_be_anything(bytes in vec(any::<u8>(), 0..20)) {
            grpc_timeout(&bytes);
        }

        #[test]
        fn a_wait_is_as_long_as_it_says(value in r" ?[0-9]{1,25} ?", times: [u8; 5]) {
            retry_after(&[&times[..], value.as_bytes()].concat());
        }

        #[test]
        fn a_wait_may_be_anything(bytes in vec(any::<u8>(), 0..40)) {
            retry_after(&bytes);
        }
    }
}
