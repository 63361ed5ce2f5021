//! OpenTelemetry's `OTEL_*` variables. The values are handed to the SDK's builders, so that its own reading of a value that
//! is wrong never matters. The variables that only the SDK reads are checked here, because it ignores such values silently.

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
    /// How spans wait to be sent (`OTEL_BSP_*`).
    pub span_queue: SpanQueue,
    /// The values that were not understood.
    pub ignored: Vec<Ignored>,
}

/// How many spans may wait to be sent, and how long.
#[derive(Clone, Copy, Debug)]
pub struct SpanQueue {
    /// The most that may wait.
    pub size: usize,
    /// The most in one request.
    pub batch: usize,
    /// How long a batch that is not full waits.
    pub delay: Duration,
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

const BOOLEAN: &str = "takes true or false";
const NUMBER: &str = "takes a whole number from 1 to 2147483647";
const QUEUE_SIZE: &str = "takes a whole number from 1 to 100000";
const PAIRS: &str = "takes key=value pairs, separated by commas";

impl OpenTelemetry {
    pub(super) fn from_environment() -> Self {
        let mut variables = Variables::default();
        check_what_the_sdk_reads(&mut variables);
        let variables = &mut variables;
        let is_disabled = variables.get("OTEL_SDK_DISABLED", BOOLEAN, boolean) == Some(true);
        let (traces, metrics) = (
            exporter(variables, "TRACES"),
            exporter(variables, "METRICS"),
        );
        let mut resource = variables.list("OTEL_RESOURCE_ATTRIBUTES", PAIRS, pair);
        let name = variables.get("OTEL_SERVICE_NAME", "takes text", |name| {
            Some(("service.name".to_owned(), name.to_owned()))
        });
        resource.extend(name);
        let size = |text: &str| number(text).filter(|number| *number <= 100_000);
        Self {
            traces: if is_disabled { Exporter::None } else { traces },
            metrics: if is_disabled { Exporter::None } else { metrics },
            metric_interval: variables
                .get("OTEL_METRIC_EXPORT_INTERVAL", NUMBER, milliseconds)
                .unwrap_or(Duration::from_secs(60)),
            is_disabled,
            propagates_trace_context: propagates_trace_context(variables),
            resource,
            sampler: sampler(variables),
            span_queue: SpanQueue {
                size: variables
                    .get("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SIZE, size)
                    .unwrap_or(2048),
                batch: variables
                    .get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", QUEUE_SIZE, size)
                    .unwrap_or(512),
                delay: variables
                    .get("OTEL_BSP_SCHEDULE_DELAY", NUMBER, milliseconds)
                    .unwrap_or(Duration::from_secs(5)),
            },
            ignored: std::mem::take(&mut variables.ignored),
        }
    }
}

/// The exporter that `OTEL_{signal}_EXPORTER` names. Without a name, a collector if there is an endpoint.
fn exporter(variables: &mut Variables, signal: &str) -> Exporter {
    let (otlp, has_endpoint) = Otlp::read(variables, signal);
    let (known, expected): (&[_], _) = match signal {
        "METRICS" => (
            &["otlp", "console", "none", "prometheus"],
            "takes otlp, console, prometheus or none",
        ),
        _ => (&["otlp", "console", "none"], "takes otlp, console or none"),
    };
    let name = variables.get(&format!("OTEL_{signal}_EXPORTER"), expected, one_of(known));
    match name.unwrap_or(if has_endpoint { "otlp" } else { "none" }) {
        "otlp" => Exporter::Otlp(otlp),
        "console" => Exporter::Console,
        _ => Exporter::None,
    }
}

/// Only `tracecontext` has an effect: baggage never goes to the API.
fn propagates_trace_context(variables: &mut Variables) -> bool {
    let expected = "takes a list of tracecontext and baggage, or none";
    let known = ["tracecontext", "baggage", "none"];
    let names = variables.list("OTEL_PROPAGATORS", expected, |name| {
        one_of(&known)(name.trim())
    });
    names.is_empty() || (names.contains(&"tracecontext") && !names.contains(&"none"))
}

fn sampler(variables: &mut Variables) -> Sampler {
    let expected = "takes a number from 0 to 1";
    let ratio = variables.get("OTEL_TRACES_SAMPLER_ARG", expected, |text| {
        let ratio = text.parse().ok();
        ratio.filter(|ratio| (0.0..=1.0).contains(ratio))
    });
    let expected = "takes one of always_on, always_off, traceidratio, parentbased_always_on, \
                    parentbased_always_off, parentbased_traceidratio";
    let sampler = variables.get("OTEL_TRACES_SAMPLER", expected, |name| {
        let name = name.to_ascii_lowercase();
        let root = match name.trim_start_matches("parentbased_") {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(ratio.unwrap_or(1.0)),
            _ => return None,
        };
        let is_root = !name.starts_with("parentbased_");
        Some(if is_root { root } else { parent_based(root) })
    });
    sampler.unwrap_or_else(|| parent_based(Sampler::AlwaysOn))
}

fn parent_based(root: Sampler) -> Sampler {
    Sampler::ParentBased(Box::new(root))
}

fn check_what_the_sdk_reads(variables: &mut Variables) {
    for limit in ["ATTRIBUTE", "EVENT", "LINK"] {
        variables.get(&format!("OTEL_SPAN_{limit}_COUNT_LIMIT"), NUMBER, number);
    }
    for signal in ["TRACES", "METRICS"] {
        let compressions = one_of(&["gzip", "none"]);
        variables.otlp(signal, "COMPRESSION", "takes gzip or none", compressions);
        variables.otlp(signal, "INSECURE", BOOLEAN, boolean);
    }
    let temporalities = one_of(&["cumulative", "delta", "lowmemory"]);
    variables.get(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "takes cumulative, delta or lowmemory",
        temporalities,
    );
}

fn boolean(text: &str) -> Option<bool> {
    one_of(&["true", "false"])(text).map(|text| text == "true")
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
