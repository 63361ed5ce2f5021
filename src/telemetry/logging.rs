//! Log lines, on standard error.

use std::{
    io::{self, IsTerminal, Write},
    panic::{self, PanicHookInfo},
};

use tracing::{Metadata, Subscriber, error, info, subscriber::set_global_default};
use tracing_subscriber::{
    Layer, Registry,
    filter::{FilterExt, Targets, filter_fn},
    layer::{Layered, SubscriberExt},
    registry::LookupSpan,
    reload,
};

use super::{log_format::Json, log_writer::Lines, rejected::RejectedLayer};
use crate::config::{
    LogFormat, Telemetry,
    telemetry::{LOG_DIRECTIVES, log_directives},
};

/// Which log lines are written; can be changed while the program runs.
#[derive(Clone, Debug)]
pub(crate) struct LogLevel(reload::Handle<Targets, Layered<Option<RejectedLayer>, Registry>>);

/// Starts logging, once for the process, each line to what `to` gives. Beside the log, `rejected` hears the exporters'
/// events.
pub(crate) fn start<W: Write + 'static>(
    config: &Telemetry,
    to: fn() -> W,
    rejected: Option<RejectedLayer>,
) -> LogLevel {
    let (filter, handle) = reload::Layer::new(config.log_filter.clone());
    let filter = filter.and(filter_fn(is_fit_to_be_logged));
    let subscriber = tracing_subscriber::registry()
        .with(rejected)
        .with(lines(config.log_format, to).with_filter(filter));
    set_global_default(subscriber).expect("logging is started once");
    panic::set_hook(Box::new(tell_of_panic));
    LogLevel(handle)
}

/// Never the message: it may hold a value.
fn tell_of_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    error!(place, "panicked");
    flush();
}

/// Writes the lines that wait.
pub(crate) fn flush() {
    // Where nobody can read them, they are lost.
    let _ = Lines.flush();
}

impl LogLevel {
    /// The directives that are in force.
    pub(crate) fn directives(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Puts other directives in force.
    ///
    /// # Errors
    ///
    /// What directives take, if these are none.
    pub(crate) fn set(&self, directives: &str) -> Result<(), &'static str> {
        let filter = log_directives(directives).ok_or(LOG_DIRECTIVES)?;
        self.0.reload(filter).map_err(|_| "logging has ended")?;
        info!("the log level has changed");
        Ok(())
    }
}

fn lines<S, W>(format: LogFormat, to: fn() -> W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Write + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(to)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.event_format(Json).boxed(),
    }
}

/// Only what is written here. Libraries show headers and URLs in their debug output, and bytes of a peer's choice even in
/// their warnings.
fn is_fit_to_be_logged(event: &Metadata<'_>) -> bool {
    event.target().starts_with(env!("CARGO_CRATE_NAME"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is written to it.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_told_without_its_message() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let before = panic::take_hook();
        panic::set_hook(Box::new(tell_of_panic));
        let secret = "the-answer";
        let panicked = tracing::subscriber::with_default(subscriber, || {
            panic::catch_unwind(|| panic!("{secret}"))
        });
        panic::set_hook(before);
        assert!(panicked.is_err());
        let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(
            log.contains("panicked") && log.contains("logs.rs") && !log.contains(secret),
            "{log}"
        );
    }
}
