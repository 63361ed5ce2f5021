//! OpenTelemetry's `OTEL_*` variables. The values are handed to the SDK's builders, so that its own reading of a wrong value
//! never matters.

pub(crate) mod collector;

use std::time::Duration;

use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;

use self::collector::Otlp;
use super::environment::{Ignored, Variables};

/// What is exported, and how.
#[derive(Debug)]
pub struct OpenTelemetry {
    /// Where spans go.
    pub traces: Exporter,
    /// Where metrics are pushed to, beside `/metrics`.
    pub metrics: Exporter,
    /// How often metrics are pushed (`OTEL_METRIC_EXPORT_INTERVAL`).
    pub metric_interval: Duration,
    /// Whether nothing is measured at all (`OTEL_SDK_DISABLED`).
    pub is_disabled: bool,
    /// Whether a caller's trace is continued (`OTEL_PROPAGATORS`).
    pub propagates_trace_context: bool,
    /// Attributes of this service (`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`); of equal keys the last counts.
    pub resource: Vec<(String, String)>,
    /// Which calls have spans (`OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`).
    pub sampler: Sampler,
    /// The most spans that may wait to be sent (`OTEL_BSP_MAX_QUEUE_SIZE`).
    pub span_queue_size: usize,
    /// The most spans in one request (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`).
    pub span_batch_size: usize,
    /// How long a batch that is not full waits (`OTEL_BSP_SCHEDULE_DELAY`).
    pub span_delay: Duration,
    /// The values that were not understood.
    pub ignored: Vec<Ignored>,
}

/// Where a signal goes.
#[derive(Debug)]
pub enum Exporter {
    /// Nowhere.
    None,
    /// To standard output, for people.
    Console,
    /// To a collector.
    Otlp(Otlp),
}

const NUMBER: &str = "takes a whole number from 1 to 2147483647";
const PAIRS: &str = "takes key=value pairs, separated by commas";

impl OpenTelemetry {
    pub(super) fn from_environment() -> Self {
        let mut variables = Variables::default();
        let from = &mut variables;
        let booleans = one_of(&["true", "false"]);
        let disabled = from.get("OTEL_SDK_DISABLED", "takes true or false", booleans);
        let mut resource = from.list("OTEL_RESOURCE_ATTRIBUTES", PAIRS, pair);
        resource.extend(from.get("OTEL_SERVICE_NAME", "takes text", |name| {
            Some(("service.name".to_owned(), name.to_owned()))
        }));
        Self {
            is_disabled: disabled == Some("true"),
            traces: exporter(from, "TRACES", &["otlp", "console", "none"]),
            metrics: exporter(from, "METRICS", &["otlp", "console", "none", "prometheus"]),
            metric_interval: duration(from, "OTEL_METRIC_EXPORT_INTERVAL", 60),
            propagates_trace_context: propagates_trace_context(from),
            resource,
            sampler: sampler(from),
            span_queue_size: size(from, "OTEL_BSP_MAX_QUEUE_SIZE", 2048),
            span_batch_size: size(from, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
            span_delay: duration(from, "OTEL_BSP_SCHEDULE_DELAY", 5),
            ignored: variables.ignored,
        }
    }
}

/// The exporter that `OTEL_{signal}_EXPORTER` names. Without a name, a collector if there is an endpoint.
fn exporter(from: &mut Variables, signal: &str, known: &[&'static str]) -> Exporter {
    let otlp = Otlp::read(from, signal);
    let expected = match signal {
        "METRICS" => "takes otlp, console, prometheus or none",
        _ => "takes otlp, console or none",
    };
    let variable = format!("OTEL_{signal}_EXPORTER");
    match from.get(&variable, expected, one_of(known)) {
        None if !otlp.has_endpoint => Exporter::None,
        None | Some("otlp") => Exporter::Otlp(otlp),
        Some("console") => Exporter::Console,
        Some(_) => Exporter::None,
    }
}

fn size(from: &mut Variables, variable: &str, default: usize) -> usize {
    let expected = "takes a whole number from 1 to 100000";
    let parse = |text: &str| number(text).filter(|number| *number <= 100_000);
    from.get(variable, expected, parse).unwrap_or(default)
}

fn duration(from: &mut Variables, variable: &str, default: u64) -> Duration {
    let duration = from.get(variable, NUMBER, milliseconds);
    duration.unwrap_or(Duration::from_secs(default))
}

/// Only `tracecontext` has an effect: baggage never goes to the API.
fn propagates_trace_context(from: &mut Variables) -> bool {
    let expected = "takes a list of tracecontext and baggage, or none";
    let known = one_of(&["tracecontext", "baggage", "none"]);
    let names = from.list("OTEL_PROPAGATORS", expected, |name| known(name.trim()));
    names.is_empty() || (names.contains(&"tracecontext") && !names.contains(&"none"))
}

fn sampler(from: &mut Variables) -> Sampler {
    let expected = "takes a number from 0 to 1";
    let ratio = from.get("OTEL_TRACES_SAMPLER_ARG", expected, |text| {
        let ratio = text.parse().ok();
        ratio.filter(|ratio| (0.0..=1.0).contains(ratio))
    });
    let parent_based = |root| Sampler::ParentBased(Box::new(root));
    let expected = "takes one of always_on, always_off, traceidratio, parentbased_always_on, \
                    parentbased_always_off, parentbased_traceidratio";
    let sampler = from.get("OTEL_TRACES_SAMPLER", expected, |name| {
        let name = name.to_ascii_lowercase();
        let below_parent = name.strip_prefix("parentbased_");
        let root = match below_parent.unwrap_or(&name) {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(ratio.unwrap_or(1.0)),
            _ => return None,
        };
        Some(match below_parent {
            Some(_) => parent_based(root),
            None => root,
        })
    });
    sampler.unwrap_or_else(|| parent_based(Sampler::AlwaysOn))
}

fn number(text: &str) -> Option<usize> {
    let number = text.parse().ok();
    number.filter(|number| (1..=2_147_483_647).contains(number))
}

fn milliseconds(text: &str) -> Option<Duration> {
    number(text).map(|number| Duration::from_millis(number as u64))
}

/// The known word that the text is, whatever its case.
fn one_of<'a>(known: &'a [&'static str]) -> impl Fn(&str) -> Option<&'static str> + use<'a> {
    |text| {
        let mut known = known.iter().copied();
        known.find(|known| text.eq_ignore_ascii_case(known))
    }
}

/// `key=value`, percent-encoded.
fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let key = key.trim();
    (!key.is_empty()).then(|| (key.to_owned(), value.into_owned()))
}
