//! The ids of a span as W3C's Trace Context writes them: `00-<trace id>-<span id>-<flags>`, in lower-case hexadecimal. Every
//! call has them written twice, in its log line and in the request to the API, and the SDK's formatting takes ten times
//! as long.

use opentelemetry::trace::SpanContext;

/// The header's value.
#[derive(Debug)]
pub(super) struct Traceparent(String);

impl Traceparent {
    /// Of that span, if it has ids.
    pub(super) fn of(span: &SpanContext) -> Option<Self> {
        if !span.is_valid() {
            return None;
        }
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        push_hex(&mut text, &span.trace_id().to_bytes());
        text.push('-');
        push_hex(&mut text, &span.span_id().to_bytes());
        text.push_str(if span.is_sampled() { "-01" } else { "-00" });
        Some(Self(text))
    }

    pub(super) fn trace_id(&self) -> &str {
        &self.0[3..35]
    }

    pub(super) fn span_id(&self) -> &str {
        &self.0[36..52]
    }

    pub(super) fn into_value(self) -> String {
        self.0
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    text.extend(
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| DIGITS[usize::from(digit)]),
    );
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    use super::*;

    #[test]
    fn it_is_as_the_sdk_writes_it() {
        let (trace, span) = (
            TraceId::from(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
            SpanId::from(0x00b7_ad6b),
        );
        for flags in [TraceFlags::NOT_SAMPLED, TraceFlags::SAMPLED] {
            let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
            let parent = Traceparent::of(&context).unwrap();
            assert_eq!(
                (parent.trace_id(), parent.span_id()),
                (&*trace.to_string(), &*span.to_string())
            );
            assert_eq!(
                parent.into_value(),
                format!("00-{trace}-{span}-{flags:02x}")
            );
        }
        assert!(Traceparent::of(&SpanContext::NONE).is_none());
    }
}
