//! The standard `OTEL_*` variables. Those that the Rust SDK does not read are read here and acted on; those that it does
//! read are checked here, since it would fall back to a default without a word that anybody sees.

pub(crate) mod collector;

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use opentelemetry_sdk::trace::Sampler;

use self::collector::{Otlp, of_signal};
use super::{
    ConfigError,
    environment::{MAX_NUMBER, milliseconds, number, one_of, pairs, variable},
};

/// What is exported, and how.
#[derive(Debug)]
pub struct OpenTelemetry {
    /// Where spans go.
    pub traces: Exporter,
    /// Where metrics are pushed to; `/metrics` is there beside that.
    pub metrics: Exporter,
    /// Whether anything is measured at all (`OTEL_SDK_DISABLED`).
    pub is_disabled: bool,
    /// Whether the caller's trace is taken up and handed on (`OTEL_PROPAGATORS`).
    pub propagates_trace_context: bool,
    /// What this service is called (`OTEL_SERVICE_NAME`); comes before the name in `OTEL_RESOURCE_ATTRIBUTES`.
    pub service_name: Option<String>,
    /// Further attributes of this service (`OTEL_RESOURCE_ATTRIBUTES`), which the SDK does not decode.
    pub resource: Vec<(String, String)>,
    /// Which calls get spans (`OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`).
    pub sampler: Sampler,
    /// How spans wait to be sent (`OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, `OTEL_BSP_SCHEDULE_DELAY`).
    pub spans: SpanBounds,
}

/// How many spans may wait to be sent, and how long.
#[derive(Clone, Copy, Debug)]
pub struct SpanBounds {
    /// The most that may wait, those that are being sent among them.
    pub waiting: usize,
    /// The most in a request.
    pub batch: usize,
    /// How long after the last request one leaves that is not full.
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

/// The standard's bounds for spans that wait.
const MAX_WAITING: usize = 2048;
const MAX_BATCH: usize = 512;
const DELAY: Duration = Duration::from_secs(5);
/// A span takes a kilobyte: a hundred megabytes.
const MAX_QUEUE: usize = 100_000;
impl OpenTelemetry {
    pub(super) fn from_environment() -> Result<Self, ConfigError> {
        check_what_the_sdk_reads()?;
        let is_disabled =
            variable("OTEL_SDK_DISABLED")?.is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let (traces, metrics) = (
            exporter("TRACES", &[])?,
            exporter("METRICS", &["prometheus"])?,
        );
        Ok(Self {
            traces: if is_disabled { Exporter::None } else { traces },
            metrics: if is_disabled { Exporter::None } else { metrics },
            is_disabled,
            propagates_trace_context: propagates_trace_context()?,
            service_name: variable("OTEL_SERVICE_NAME")?,
            resource: pairs(
                "OTEL_RESOURCE_ATTRIBUTES",
                |_, _| true,
                "takes key=value pairs, separated by commas",
            )?,
            sampler: sampler()?,
            spans: SpanBounds {
                waiting: number("OTEL_BSP_MAX_QUEUE_SIZE", MAX_QUEUE)?.unwrap_or(MAX_WAITING),
                batch: number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", MAX_QUEUE)?.unwrap_or(MAX_BATCH),
                delay: milliseconds("OTEL_BSP_SCHEDULE_DELAY")?.unwrap_or(DELAY),
            },
        })
    }
}

/// The exporter of a signal: what `OTEL_{signal}_EXPORTER` names; without it a collector, if there is an endpoint. The
/// names in `pulled` push nothing anywhere.
fn exporter(signal: &str, pulled: &[&str]) -> Result<Exporter, ConfigError> {
    let name = format!("OTEL_{signal}_EXPORTER");
    let otlp = Otlp::of(signal)?;
    match variable(&name)?
        .map(|value| value.to_ascii_lowercase())
        .as_deref()
    {
        None if of_signal(signal, "ENDPOINT")?.is_none() => Ok(Exporter::None),
        None | Some("otlp") => Ok(Exporter::Otlp(otlp)),
        Some("console") => Ok(Exporter::Console),
        Some("none") => Ok(Exporter::None),
        Some(value) if pulled.contains(&value) => Ok(Exporter::None),
        Some(_) => {
            let known = [&["otlp", "console"], pulled].concat().join(", ");
            Err(ConfigError::variable(
                &name,
                format!("takes {known} or none"),
            ))
        }
    }
}

/// `tracecontext` is the one propagator that does anything: baggage is known, but never sent to the API.
fn propagates_trace_context() -> Result<bool, ConfigError> {
    const NAME: &str = "OTEL_PROPAGATORS";
    let Some(list) = variable(NAME)? else {
        return Ok(true);
    };
    let list = list.to_ascii_lowercase();
    let names: Vec<_> = list.split(',').map(str::trim).collect();
    if names
        .iter()
        .any(|name| !matches!(*name, "tracecontext" | "baggage" | "none"))
    {
        return Err(ConfigError::variable(
            NAME,
            "takes a list of tracecontext and baggage, or none",
        ));
    }
    Ok(names.contains(&"tracecontext") && !names.contains(&"none"))
}

fn check_what_the_sdk_reads() -> Result<(), ConfigError> {
    for name in [
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "OTEL_SPAN_LINK_COUNT_LIMIT",
    ] {
        number(name, MAX_NUMBER)?;
    }
    for signal in ["", "TRACES_", "METRICS_"] {
        number(&format!("OTEL_EXPORTER_OTLP_{signal}TIMEOUT"), MAX_NUMBER)?;
        one_of(
            &format!("OTEL_EXPORTER_OTLP_{signal}COMPRESSION"),
            &["gzip", "none"],
        )?;
        one_of(
            &format!("OTEL_EXPORTER_OTLP_{signal}INSECURE"),
            &["true", "false"],
        )?;
        check_headers(&format!("OTEL_EXPORTER_OTLP_{signal}HEADERS"))?;
    }
    one_of(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        &["cumulative", "delta", "lowmemory"],
    )?;
    one_of("OTEL_SDK_DISABLED", &["true", "false"])
}

/// The headers that go to a collector, which the SDK would leave out without a word if they are none.
fn check_headers(name: &str) -> Result<(), ConfigError> {
    let is_header = |key: &str, value: &str| {
        key.parse::<HeaderName>().is_ok() && HeaderValue::from_str(value).is_ok()
    };
    pairs(
        name,
        is_header,
        "takes headers as key=value pairs, separated by commas",
    )
    .map(drop)
}

fn sampler() -> Result<Sampler, ConfigError> {
    let (name, argument) = ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG");
    let parse = |text: String| {
        text.parse()
            .ok()
            .filter(|ratio| (0.0..=1.0).contains(ratio))
    };
    let ratio = match variable(argument)?.map(parse) {
        None => 1.0,
        Some(Some(ratio)) => ratio,
        Some(None) => {
            return Err(ConfigError::variable(
                argument,
                "takes a number from 0 to 1",
            ));
        }
    };
    let below_a_parent = |root| Sampler::ParentBased(Box::new(root));
    Ok(
        match variable(name)?
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_str()
        {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(ratio),
            "" | "parentbased_always_on" => below_a_parent(Sampler::AlwaysOn),
            "parentbased_always_off" => below_a_parent(Sampler::AlwaysOff),
            "parentbased_traceidratio" => below_a_parent(Sampler::TraceIdRatioBased(ratio)),
            _ => {
                let known = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, \
                         parentbased_traceidratio";
                return Err(ConfigError::variable(name, format!("takes one of {known}")));
            }
        },
    )
}
