//! Parsers of the options' values. An error says what the option takes and never repeats the value,
//! which may be a secret in the wrong place.

use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, str::FromStr, time::Duration};

use http::{HeaderName, HeaderValue, uri::PathAndQuery};
use reqwest::Url;

/// The longest duration. A longer one is likely a mistake; a timer can hold far more.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// The range of a number of calls, connections or attempts.
pub(super) const COUNT: RangeInclusive<u32> = 1..=1_000_000;

/// Accepts `off`, and what `parse` accepts.
pub(super) fn or_off<T>(
    parse: fn(&str) -> Result<T, &'static str>,
) -> impl Fn(&str) -> Result<Option<T>, String> + Clone {
    move |text| match text {
        "off" => Ok(None),
        _ => parse(text)
            .map(Some)
            .map_err(|expected| format!("{expected}, or off")),
    }
}

/// A whole number in the range.
pub(super) fn number<T: FromStr + PartialOrd + Display + Clone>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let (least, most) = (range.start(), range.end());
        number.ok_or_else(|| format!("takes a whole number from {least} to {most}"))
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let duration = duration_or_zero(text).ok();
    duration
        .filter(|duration| *duration >= Duration::from_millis(1))
        .ok_or("takes a duration from 1ms to 24h, such as 500ms or 10s")
}

pub(super) fn duration_or_zero(text: &str) -> Result<Duration, &'static str> {
    let duration = humantime::parse_duration(text).ok();
    duration
        .filter(|duration| *duration <= MAX_DURATION)
        .ok_or("takes a duration up to 24h, such as 25s")
}

pub(super) fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().map(Duration::from_secs);
    seconds.map_err(|_| "takes a whole number of seconds")
}

/// A number of attempts, and the time in which that many become available again: `20/10m`.
pub type AttemptRate = (u32, Duration);

/// A number and a duration, neither of them zero.
pub(super) fn rate(text: &str) -> Result<AttemptRate, &'static str> {
    let parse = |(count, period)| Some((number(COUNT)(count).ok()?, duration(period).ok()?));
    text.split_once('/')
        .and_then(parse)
        .ok_or("takes NUMBER/DURATION from 1/24h to 1000000/1ms, such as 20/10m")
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "takes IP:port, such as 127.0.0.1:9464")
}

pub(super) fn upstream_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    url.ok_or("takes an http or https URL without user, query and fragment, such as https://api.example.com")
}

pub(super) fn api_version(text: &str) -> Result<String, &'static str> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let version = text.split('.').all(is_number).then(|| text.to_owned());
    version.ok_or("takes numbers and dots, such as 1.0")
}

pub(super) fn key(text: &str) -> Result<HeaderValue, &'static str> {
    parse_app_key(text)
        .ok_or("takes an application key: 1 to 1024 printable ASCII characters, no spaces")
}

/// The key as a sensitive header value; `None` if the text is no key.
pub(crate) fn parse_app_key(text: &str) -> Option<HeaderValue> {
    let has_length = (1..=1024).contains(&text.len());
    let is_key = has_length && text.bytes().all(|b| b.is_ascii_graphic());
    let mut key = HeaderValue::from_str(text).ok().filter(|_| is_key)?;
    key.set_sensitive(true);
    Some(key)
}

pub(super) fn metadata_name(text: &str) -> Result<HeaderName, &'static str> {
    let is_allowed =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    let name = text.parse().ok().filter(|_| text.bytes().all(is_allowed));
    name.ok_or(
        "takes the name of metadata: small letters, digits, hyphens, dots and underscores, such as x-application",
    )
}

/// The path of a call without its query, as the server sees it.
pub(super) fn rpc_path(text: &str) -> Result<String, &'static str> {
    let parsed = text.parse::<PathAndQuery>().ok();
    let path = parsed.filter(|_| text.starts_with('/'));
    path.map(|it| it.path().to_owned())
        .ok_or("takes the path of a call, such as /grpc.health.v1.Health/Check")
}

pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let header = text.split_once('=').and_then(|(name, value)| {
        let mut value: HeaderValue = value.parse().ok()?;
        // Debug does not show it: it may be a key.
        value.set_sensitive(true);
        Some((name.parse().ok()?, value))
    });
    header.ok_or("takes NAME=VALUE, such as x-team=web")
}

pub(super) fn parse_bool(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("takes true or false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_a_key() {
        let key = parse_app_key("the-key").unwrap();
        assert!(key.is_sensitive());
        assert!(!format!("{key:?}").contains("the-key"));
        assert!(
            parse_app_key("").is_none()
                && parse_app_key("a key").is_none()
                && parse_app_key("k\n").is_none()
                && parse_app_key("ключ").is_none()
        );
    }
}
