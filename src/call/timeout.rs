//! How long a call may take: the caller's `grpc-timeout` and the gateway's own limit.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// How long the caller waits. A name that is made once need not be parsed for each call.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// How long a call may take: the caller's timeout or `max`, whichever is shorter.
///
/// A little of the caller's time is kept back, so that the status arrives before the caller's own timer ends the call.
pub(crate) fn time_budget(callers_timeout: Option<Duration>, max: Duration) -> Duration {
    const MIN_MARGIN: Duration = Duration::from_micros(1500);
    const MAX_MARGIN: Duration = Duration::from_millis(10);
    let Some(timeout) = callers_timeout else {
        return max;
    };
    let margin = (timeout / 20).clamp(MIN_MARGIN, MAX_MARGIN);
    max.min(timeout.saturating_sub(margin))
}

/// How long the caller waits; `None` if it sets no deadline.
pub(crate) fn callers_timeout(headers: &HeaderMap) -> Option<Duration> {
    grpc_timeout(headers.get(GRPC_TIMEOUT)?.to_str().ok()?)
}

/// `grpc-timeout`: one to eight digits and a unit, by the gRPC-over-HTTP/2 specification. Anything else counts as no
/// timeout, as in tonic.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeout_is_read_as_specified() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("100m", Some(Duration::from_millis(100))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("0n", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("100000000m", None),
            ("m", None),
            ("", None),
            ("+1S", None),
            ("1s", None),
            ("1é", None),
        ] {
            assert_eq!(grpc_timeout(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_shorter_timeout_wins() {
        let most = Duration::from_secs(10);
        let budget_of = |timeout: &str| {
            let headers = HeaderMap::from_iter([(GRPC_TIMEOUT, timeout.parse().unwrap())]);
            time_budget(callers_timeout(&headers), most)
        };
        assert_eq!(time_budget(callers_timeout(&HeaderMap::new()), most), most);
        assert_eq!(budget_of("1H"), most);
        assert_eq!(budget_of("1S"), Duration::from_millis(990));
        assert_eq!(budget_of("100m"), Duration::from_millis(95));
        assert_eq!(budget_of("1m"), Duration::ZERO);
        assert_eq!(budget_of("soon"), most);
    }
}
