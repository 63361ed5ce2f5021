//! What the values of the settings can be. An error says what would be right and does not repeat the value.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderName, HeaderValue};
use reqwest::Url;

use crate::{app_key, attempt_limiter::Rate};

/// An address, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdminListen(pub(super) Option<SocketAddr>);

/// A rate, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateOrOff(pub(super) Option<Rate>);

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "takes IP:port, such as 127.0.0.1:9464")
}

pub(super) fn address_or_off(text: &str) -> Result<AdminListen, &'static str> {
    if text == "off" {
        return Ok(AdminListen(None));
    }
    text.parse()
        .map(|address| AdminListen(Some(address)))
        .map_err(|_| "takes IP:port, such as 127.0.0.1:9464, or off")
}

pub(super) fn upstream_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    url.ok_or("takes an http or https URL without user, query and fragment, such as https://api.example.com")
}

pub(super) fn api_version(text: &str) -> Result<String, &'static str> {
    let is_version = text
        .split('.')
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    if is_version {
        Ok(text.to_owned())
    } else {
        Err("takes numbers and dots, such as 1.0")
    }
}

pub(super) fn key(text: &str) -> Result<HeaderValue, &'static str> {
    app_key::parse(text).ok_or(app_key::EXPECTED)
}

/// A day: more is a mistake, and far from what a timer can hold.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let found = humantime::parse_duration(text).ok();
    found
        .filter(|found| (Duration::from_millis(1)..=MAX_DURATION).contains(found))
        .ok_or("takes a duration from 1ms to 24h, such as 500ms or 10s")
}

pub(super) fn duration_or_zero(text: &str) -> Result<Duration, &'static str> {
    let found = humantime::parse_duration(text).ok();
    found
        .filter(|found| *found <= MAX_DURATION)
        .ok_or("takes a duration up to 24h, such as 25s")
}

/// A duration, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age(pub(super) Option<Duration>);

pub(super) fn duration_or_off(text: &str) -> Result<Age, &'static str> {
    if text == "off" {
        return Ok(Age(None));
    }
    let found = duration(text).map(|age| Age(Some(age)));
    found.map_err(|_| "takes a duration from 1ms to 24h, such as 30m, or off")
}

pub(super) fn positive(text: &str) -> Result<u32, &'static str> {
    let found = text
        .parse()
        .ok()
        .filter(|number| (1..=1_000_000).contains(number));
    found.ok_or("takes a whole number from 1 to 1000000")
}

/// More than any machine has use for is a mistake.
pub(super) fn worker_threads(text: &str) -> Result<u16, &'static str> {
    text.parse()
        .ok()
        .filter(|threads| (1..=1024).contains(threads))
        .ok_or("takes a whole number from 1 to 1024")
}

pub(super) fn rate_or_off(text: &str) -> Result<RateOrOff, &'static str> {
    if text == "off" {
        return Ok(RateOrOff(None));
    }
    let parts = text.split_once('/');
    let rate =
        parts.and_then(|(most, per)| Some(Rate::new(positive(most).ok()?, duration(per).ok()?)));
    rate.map(|rate| RateOrOff(Some(rate)))
        .ok_or("takes NUMBER/DURATION from 1/24h to 1000000/1ms, such as 20/10m, or off")
}

pub(super) fn metadata_name(text: &str) -> Result<HeaderName, &'static str> {
    let is_name = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
    let name = text.parse().ok().filter(|_| is_name);
    name.ok_or(
        "takes the name of metadata: small letters, digits, hyphens, dots and underscores, such as x-application",
    )
}

pub(super) fn http_status(text: &str) -> Result<u16, &'static str> {
    text.parse()
        .ok()
        .filter(|status| (100..=999).contains(status))
        .ok_or("takes a number from 100 to 999")
}

pub(super) fn seconds(text: &str) -> Result<Duration, &'static str> {
    text.parse()
        .map(Duration::from_secs)
        .map_err(|_| "takes a whole number of seconds")
}

pub(super) fn parse_bool(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("takes true or false"),
    }
}
