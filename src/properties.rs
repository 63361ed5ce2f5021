//! Properties that hold for all input from the API and callers. The tests below check them with random bytes, and the
//! targets in `fuzz/` with bytes that a fuzzer finds.
//!
//! Those of the small parsers are here. Each parser's own tests have examples of what it reads.

mod authority;
mod encoding;
mod generate;
mod redaction;

use std::time::{Duration, SystemTime};

use arbitrary::{Result, Unstructured};
use http::{HeaderMap, HeaderValue};
use uuid::Uuid;

pub use self::authority::authority;
pub use self::redaction::{response, text};
use crate::{call, steps::validate::parse_request_id, upstream};

/// A call gets the time that its caller asks for, or all that the gateway allows if that is shorter, and at most 10 ms less.
///
/// # Errors
///
/// If there are not enough bytes. That goes for all of the properties.
pub fn grpc_timeout(u: &mut Unstructured<'_>) -> Result<()> {
    let max = Duration::from_millis(u.arbitrary::<u16>()?.into());
    let text: String = generate::list(u, 0..=9, |u| generate::choose(u, "0|1|9|H|M|S|m|u|n|-|é"))?;
    let value = HeaderValue::try_from(text).expect("it has no control character");
    let headers = HeaderMap::from_iter([(call::GRPC_TIMEOUT, value)]);
    let asked = call::callers_timeout(&headers);
    let given = call::time_budget(asked, max);
    let most = asked.unwrap_or(max).min(max);
    let least = most.saturating_sub(Duration::from_millis(10));
    assert!((least..=most).contains(&given), "{headers:?}: {given:?}");
    Ok(())
}

/// A `Retry-After` with a date is the time until then. Any text is read or ignored.
pub fn retry_after(u: &mut Unstructured<'_>) -> Result<()> {
    let mut time =
        || Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(u.int_in_range(0..=1 << 36)?));
    let (now, then) = (time()?, time()?);
    let wait = upstream::retry_after::parse(&httpdate::fmt_http_date(then), now);
    assert_eq!(wait, Some(then.duration_since(now).unwrap_or_default()));
    upstream::retry_after::parse(&String::from_utf8_lossy(u.bytes(u.len())?), now);
    Ok(())
}

/// No body is made longer than the limit.
pub fn decoding(u: &mut Unstructured<'_>) -> Result<()> {
    let (encoding, limit) = (*u.choose(&["gzip", "deflate"])?, u.int_in_range(0..=64)?);
    let body = u.bytes(u.len())?;
    let decoded = upstream::decoding::decode(body.to_vec(), Some(encoding), limit);
    assert!(decoded == body || decoded.len() <= limit);
    Ok(())
}

/// Every UUID except the nil one is accepted. An accepted text is the UUID's own text, in upper or lower case.
pub fn request_id(u: &mut Unstructured<'_>) -> Result<()> {
    let id = Uuid::from_u128(u.arbitrary()?);
    let read = parse_request_id(&id.to_string());
    assert_eq!(read, Some(id).filter(|id| !id.is_nil()));
    let text = String::from_utf8_lossy(u.bytes(u.len())?);
    let read = parse_request_id(&text);
    assert!(read.is_none_or(|id| id.to_string() == text.to_lowercase()));
    Ok(())
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
    fn retry_after_is_the_time_until_a_date() {
        check(retry_after, 60);
    }

    #[test]
    fn no_body_is_made_longer_than_the_limit() {
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
