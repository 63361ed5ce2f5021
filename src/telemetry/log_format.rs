//! Formats a log event as one line of JSON. What it buys: see `log_writer`; `tracing-subscriber`'s own format takes four
//! times as long, and every call has a line.

use std::{
    fmt::{self, Debug},
    time::SystemTime,
};

use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatFields,
        format::{FormatEvent, Writer},
    },
    registry::LookupSpan,
};

/// `{"timestamp":…,"level":…,` the event's fields `,"target":…}`
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str(&line(SystemTime::now(), event))
    }
}

fn line(now: SystemTime, event: &Event<'_>) -> String {
    let mut object = Object(Vec::with_capacity(512));
    let timestamp = humantime::format_rfc3339_micros(now);
    object.member("timestamp", &format_args!("{timestamp}"));
    object.member("level", event.metadata().level().as_str());
    event.record(&mut object);
    object.member("target", event.metadata().target());
    object.0.extend_from_slice(b"}\n");
    String::from_utf8(object.0).expect("JSON is UTF-8")
}

/// A JSON object that is being written, still without its closing brace.
struct Object(Vec<u8>);

impl Object {
    fn member(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        serde_json::to_writer(&mut self.0, name).expect("a string is JSON");
        self.0.push(b':');
        serde_json::to_writer(&mut self.0, value).expect("a plain value is JSON");
    }
}

impl Visit for Object {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field.name(), &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field.name(), &format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

    use super::*;

    /// Keeps the lines of all events.
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001);
            self.0.lock().unwrap().push(line(time, event));
        }
    }

    #[test]
    fn an_event_is_one_line_with_its_fields_as_what_they_are() {
        let lines = Arc::<Mutex<Vec<_>>>::default();
        let subscriber = tracing_subscriber::registry().with(Lines(Arc::clone(&lines)));
        tracing::subscriber::with_default(subscriber, || {
            let (none, error) = (None::<u64>, fmt::Error);
            tracing::warn!(text = "a \"b\"\n\u{1}", n = 3_u64, i = -3, f = 1.5, is = true, none, %error, "what {}", "it is");
        });
        let expected = concat!(
            r#"{"timestamp":"2023-11-14T22:13:20.000001Z","level":"WARN","message":"what it is","text":"a \"b\"\n\u0001","#,
            r#""n":3,"i":-3,"f":1.5,"is":true,"#,
            r#""error":"an error occurred when formatting an argument","target":"reset_gateway::telemetry::log_format::tests"}"#,
            "\n"
        );
        assert_eq!(*lines.lock().unwrap(), [expected]);
    }
}
