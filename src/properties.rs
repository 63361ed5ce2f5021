//! Properties that hold for all input from the API and callers. The tests below check them with random bytes, and the
//! targets in `fuzz/` with bytes that a fuzzer finds.

mod authority;
mod encoding;
mod generate;

use std::{
    io::Read,
    time::{Duration, SystemTime},
};

use arbitrary::{Result, Unstructured};
use flate2::{
    Compression,
    read::{DeflateEncoder, GzEncoder},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

pub use self::authority::authority;
use crate::{
    call,
    envelope::PrivateValues,
    error::Error,
    invisible::is_invisible,
    proto::ErrorReason,
    request_ids,
    rpc::{REQUEST_FIELDS, Rpc},
    status::{Classification, DOMAIN},
    steps,
    upstream::{decoding, retry_after as retry_after_header},
};

/// One status passes on at most this many bytes of the API's text.
const MAX_TEXT: usize = 512;
/// Clients accept at least this many bytes of headers.
const MAX_STATUS: usize = 4096;
/// Shorter values occur in any text by chance.
const SHORTEST: usize = 4;
const CASES: [fn(&str) -> String; 3] = [str::to_owned, str::to_lowercase, str::to_uppercase];
const RULE: &str = "must be the answer to the trader's secret question";

/// Only a 2xx is a success. The status of any other response is small and complete, and repeats no value of the request.
///
/// # Errors
///
/// If there are not enough bytes. That goes for all of the properties.
pub fn response(u: &mut Unstructured<'_>) -> Result<()> {
    let rpc = *u.choose(&Rpc::ALL)?;
    let values: Vec<_> = generate::list(u, 0..=3, generate::value)?;
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
        assert_contains_none(&text, &values);
    }
    Ok(())
}

/// Sanitized text is short and plain, and contains no value. Plain text without a value stays as it is.
pub fn text(u: &mut Unstructured<'_>) -> Result<()> {
    let sanitized = |messages: &[String], values: &[String]| {
        PrivateValues(values.to_vec()).redactor().sanitize(messages)
    };
    let values: Vec<_> = generate::list(u, 0..=4, generate::value)?;
    let messages: Vec<_> = generate::list(u, 1..=5, |u| generate::message(u, &values))?;
    let text = sanitized(&messages, &values);
    assert!(text.len() <= MAX_TEXT, "{text:?}");
    let is_markup = |c: char| c.is_control() || c == '<' || c == '>';
    assert!(!text.contains(is_markup), "{text:?}");
    assert!(!text.contains("  "), "{text:?}");
    assert_contains_none(&text, &values);

    let harmless: Vec<_> = generate::list(u, 1..=3, |u| generate::choose(u, generate::SENTENCES))?;
    let code = format!("{:06}", u.int_in_range(0..=999_999)?);
    assert_eq!(sanitized(&harmless, &[code]), harmless.join(" "));
    Ok(())
}

/// A call never gets more time than the gateway allows or the caller asks for, and only slightly less.
pub fn grpc_timeout(u: &mut Unstructured<'_>) -> Result<()> {
    const SECOND: u64 = 1_000_000_000;
    const NANOSECONDS: [u64; 6] = [3600 * SECOND, 60 * SECOND, SECOND, 1_000_000, 1_000, 1];
    let most = Duration::from_millis(u.arbitrary::<u16>()?.into());
    let budget_for = |value: &[u8]| {
        let value = HeaderValue::from_bytes(value).ok()?;
        let headers = HeaderMap::from_iter([(call::GRPC_TIMEOUT, value)]);
        Some(call::time_budget(call::callers_timeout(&headers), most))
    };
    // Of any size.
    let number = u.int_in_range(0..=99_999_999)? >> u.int_in_range(0..=26)?;
    let width = u.int_in_range(1..=9)?;
    let unit = u.choose_index(NANOSECONDS.len())?;
    let text = format!("{number:0width$}{}", &"HMSmun"[unit..=unit]);
    // A number of too many digits is ignored.
    let asked = match text.len() {
        0..=9 => Duration::from_nanos(NANOSECONDS[unit].saturating_mul(number)),
        _ => most,
    };
    let expected = asked.saturating_sub(Duration::from_millis(10)).min(most)..=asked.min(most);
    let budget = budget_for(text.as_bytes()).expect("it is a valid header");
    assert!(expected.contains(&budget), "{text}");
    let budget = budget_for(u.bytes(u.len())?);
    assert!(budget.is_none_or(|budget| budget <= most));
    Ok(())
}

/// A `Retry-After` of digits is that many seconds, a date is the time until then, and anything else is ignored.
pub fn retry_after(u: &mut Unstructured<'_>) -> Result<()> {
    let after = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let now = u.int_in_range(0..=1 << 36)?;
    let (number, wait) = (u.arbitrary::<u128>()?, u.arbitrary::<u32>()?.into());
    let parse = |text: &str| retry_after_header::parse(text, after(now));

    let seconds = u64::try_from(number).unwrap_or(u64::MAX);
    let expected = Some(Duration::from_secs(seconds));
    assert_eq!(parse(&format!(" {number} ")), expected);
    let date = httpdate::fmt_http_date(after(now + wait));
    assert_eq!(parse(&date), Some(Duration::from_secs(wait)), "{date}");
    let text = String::from_utf8_lossy(u.bytes(u.len())?);
    if !text.trim().bytes().all(|b| b.is_ascii_digit()) {
        let after_the_year_9999 = Duration::from_secs(10_000 * 366 * 24 * 3600);
        assert!(parse(&text).is_none_or(|wait| wait < after_the_year_9999));
    }
    Ok(())
}

/// A compressed body is read up to the limit, and no body is made longer than that.
pub fn decoding(u: &mut Unstructured<'_>) -> Result<()> {
    let (limit, zeros) = (u.int_in_range(0..=4096)?, u.int_in_range(0..=8192)?);
    let text = [&vec![0; zeros], u.bytes(u.len() / 2)?].concat();
    let mut gzip = GzEncoder::new(&*text, Compression::fast());
    let mut deflate = DeflateEncoder::new(&*text, Compression::fast());
    let encoders: [(_, &mut dyn Read); 2] = [("gzip", &mut gzip), ("deflate", &mut deflate)];
    for (encoding, encoder) in encoders {
        let mut body = Vec::new();
        encoder.read_to_end(&mut body).expect("it is in memory");
        let decoded = decoding::decode(body, Some(encoding), limit);
        assert_eq!(decoded, text[..text.len().min(limit)], "{encoding}");
    }
    let body = u.bytes(u.len())?;
    let decoded = decoding::decode(body.to_vec(), Some("gzip"), limit);
    assert!(decoded == body || decoded.len() <= limit);
    Ok(())
}

/// An id is 32 hexadecimal digits with four hyphens, not all of them 0.
pub fn request_id(u: &mut Unstructured<'_>) -> Result<()> {
    let id = Uuid::from_u128(u.arbitrary()?).to_string();
    let mut text = u.choose(&CASES)?(&id).into_bytes();
    if u.arbitrary()? {
        text[u.choose_index(id.len())?] = u.int_in_range(0..=127)?;
    }
    if u.ratio(1, 8)? {
        text.truncate(u.choose_index(id.len())?);
    }
    let text = String::from_utf8_lossy(&text);
    let digits = text.replace('-', "");
    let is_id = text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        && digits.bytes().any(|digit| digit != b'0');
    assert_eq!(request_ids::parse(&text).is_some(), is_id, "{text}");
    Ok(())
}

/// The status fits into a client's header limit and has all details.
fn assert_complete(status: &Status) {
    let headers = status.clone().into_http::<()>().headers().clone();
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 32;
    let size: usize = headers.iter().map(size).sum();
    assert!(size < MAX_STATUS, "{size} bytes: {status:?}");
    assert_ne!(status.code(), Code::Ok);
    assert!(status.message().is_ascii());

    let details = status.check_error_details().expect("standard details");
    let info = details.error_info().expect("there is an ErrorInfo");
    let metadata = |key| info.metadata.get(key).map_or("", String::as_str);
    assert_eq!(info.domain, DOMAIN);
    assert!(ErrorReason::from_str_name(&info.reason).is_some_and(|reason| reason as i32 > 0));
    assert!(["caller", "gateway", "upstream"].contains(&metadata("fault")));
    let is_safe_to_repeat = ["not_sent", "refused"].contains(&metadata("outcome"));
    assert!(is_safe_to_repeat || metadata("outcome") == "unknown");
    assert!(is_safe_to_repeat || status.code() != Code::Unavailable);
    assert!(metadata("httpStatus").parse::<u16>().is_ok());
    let known = ["fault", "outcome", "httpStatus", "upstreamCodes"];
    assert!(info.metadata.keys().all(|key| known.contains(&&**key)));
    if let Some(info) = details.retry_info() {
        let limit = Duration::from_secs(300);
        assert!(info.retry_delay.is_some_and(|delay| delay <= limit));
    }
}

/// The texts of a status that come from the API.
fn texts_of_the_api(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let info = details.error_info().expect("there is an ErrorInfo");
    let codes = info.metadata.get("upstreamCodes").into_iter();
    let message = details.localized_message().map(|text| &text.message);
    let violations = details.bad_request().map(|detail| &detail.field_violations);
    let fields = violations.into_iter().flatten();
    let fields = fields.flat_map(|violation| [&violation.field, &violation.description]);
    let mut texts: Vec<_> = codes.chain(message).chain(fields).cloned().collect();
    texts.retain(|text| text != RULE && !REQUEST_FIELDS.contains(&&**text));
    texts
}

/// The text contains none of the values, in no encoding or case, and its letters do not spell any.
fn assert_contains_none(text: &str, values: &[String]) {
    let is_visible = |c: char| !c.is_whitespace() && !is_invisible(c);
    for value in values.iter().map(|value| value.trim()) {
        if value.chars().count() < SHORTEST || !value.contains(is_visible) {
            continue;
        }
        let encodings = encoding::twice(value);
        for case in CASES {
            let text = case(text);
            let is_in_text = |encoded: &&String| text.contains(&case(encoded));
            let found = encodings.iter().find(is_in_text);
            assert_eq!(found, None, "{text:?} repeats {value:?}");
        }
        let letters = spelled(value);
        if value.is_ascii() && letters.len() >= SHORTEST {
            assert!(
                !spelled(text).contains(&letters),
                "{text:?} spells {value:?}"
            );
        }
    }
}

/// Of an ASCII text, the letters and digits.
fn spelled(text: &str) -> String {
    let mut text = text.to_ascii_lowercase();
    text.retain(|c| !c.is_ascii() || c.is_ascii_alphanumeric());
    text
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Few cases, and always the same ones, so that a failure points at the change at hand. The fuzzer tries more.
    fn check(property: fn(&mut Unstructured<'_>) -> Result<()>, length: usize) {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..512 {
            let mut bytes = vec![0; length];
            random.fill(&mut *bytes);
            property(&mut Unstructured::new(&bytes)).expect("there are enough bytes");
        }
    }

    #[test]
    fn the_status_of_a_response_is_small_complete_and_repeats_no_value() {
        check(response, 1000);
    }

    #[test]
    fn sanitized_text_is_plain_and_contains_no_value() {
        check(text, 400);
    }

    #[test]
    fn a_call_never_gets_more_time_than_it_asks_for() {
        check(grpc_timeout, 40);
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_a_date() {
        check(retry_after, 60);
    }

    #[test]
    fn a_compressed_body_is_read_up_to_the_limit() {
        check(decoding, 400);
    }

    #[test]
    fn an_id_is_a_uuid_in_its_usual_form() {
        check(request_id, 40);
    }

    #[test]
    fn only_the_authority_of_a_call_is_rewritten() {
        check(authority, 400);
    }
}
