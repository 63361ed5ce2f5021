//! `Retry-After`: seconds or an HTTP date (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, header};

/// How long the response asks to wait. A date is measured against the response's own `Date`, since the API's clock may
/// differ from ours; without a readable one, against `now`.
pub(super) fn read(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let retry_after = text(header::RETRY_AFTER)?;
    let date = text(header::DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    parse(retry_after, date.unwrap_or(now))
}

/// How long to wait from `now` on; `None` if the header is neither.
pub(crate) fn parse(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // A number that does not fit is as good as forever.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let then = httpdate::parse_http_date(text).ok()?;
    Some(then.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 12:00:00 GMT").unwrap();
        for (text, expected) in [
            ("7", Some(Duration::from_secs(7))),
            (" 0 ", Some(Duration::ZERO)),
            ("4294967296", Some(Duration::from_secs(1 << 32))),
            ("99999999999999999999", Some(Duration::from_secs(u64::MAX))),
            (
                "Sat, 21 Nov 2026 12:00:30 GMT",
                Some(Duration::from_secs(30)),
            ),
            ("Sat, 21 Nov 2026 11:00:00 GMT", Some(Duration::ZERO)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse(text, now), expected, "{text:?}");
        }
    }

    #[test]
    fn a_date_is_measured_against_the_responses_own_clock() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 12:00:00 GMT").unwrap();
        for (date, retry_after, expected) in [
            (
                Some("Sat, 21 Nov 2015 11:59:50 GMT"),
                "Sat, 21 Nov 2015 12:00:00 GMT",
                10,
            ),
            (Some("Sat, 21 Nov 2015 11:59:50 GMT"), "7", 7),
            (Some("now"), "Sat, 21 Nov 2026 12:00:20 GMT", 20),
            (None, "Sat, 21 Nov 2026 12:00:20 GMT", 20),
        ] {
            let mut headers =
                HeaderMap::from_iter([(header::RETRY_AFTER, retry_after.parse().unwrap())]);
            headers.extend(date.map(|date| (header::DATE, date.parse().unwrap())));
            let expected = Some(Duration::from_secs(expected));
            assert_eq!(read(&headers, now), expected, "{date:?} {retry_after}");
        }
        assert_eq!(read(&HeaderMap::new(), now), None);
    }
}
