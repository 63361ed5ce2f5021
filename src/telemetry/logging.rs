//! The log: lines on standard error, as text or JSON, with a level that can change while the program runs.

use std::{
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
};

use tracing::{Metadata, error, info, subscriber::set_global_default, warn};
use tracing_subscriber::{
    Layer, Registry,
    filter::{FilterExt, Targets, filter_fn},
    layer::SubscriberExt,
    reload,
};

use super::{log_format::Json, log_writer::LogWriter};
use crate::config::{LogFormat, Telemetry, telemetry::log_directives};

/// The directives that say which lines are written; they can change while the program runs.
#[derive(Clone, Debug)]
pub(crate) struct LogLevel(reload::Handle<Targets, Registry>);

/// Starts logging, once for the process, and warns of settings that were ignored.
pub(crate) fn start(config: &Telemetry) -> LogLevel {
    let (filter, handle) = reload::Layer::new(config.log_filter.clone());
    // Libraries show headers and URLs in their debug output, and bytes that a peer chose even in warnings.
    let is_ours = |event: &Metadata<'_>| event.target().starts_with(env!("CARGO_CRATE_NAME"));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(|| LogWriter)
        .with_ansi(io::stderr().is_terminal());
    let lines = match config.log_format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.event_format(Json).boxed(),
    };
    let lines = lines.with_filter(filter.and(filter_fn(is_ours)));
    set_global_default(tracing_subscriber::registry().with(lines))
        .expect("logging is started once");
    panic::set_hook(Box::new(log_panic));
    for (variable, expected) in &config.otel.ignored {
        warn!(variable, expected, "a value is not understood and ignored");
    }
    LogLevel(handle)
}

/// Leaves out the message: it may hold a value.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    error!(place, "panicked");
}

impl LogLevel {
    /// The directives in force.
    pub(crate) fn directives(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Puts other directives in force.
    ///
    /// # Errors
    ///
    /// The expected form, if the directives are not valid.
    pub(crate) fn set(&self, directives: &str) -> Result<(), &'static str> {
        let filter = log_directives(directives)?;
        self.0.reload(filter).map_err(|_| "logging has ended")?;
        info!("the log level has changed");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// Keeps what is written.
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
    fn a_panic_is_logged_without_its_message() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let before = panic::take_hook();
        panic::set_hook(Box::new(log_panic));
        let secret = "the-answer";
        let panicked = tracing::subscriber::with_default(subscriber, || {
            panic::catch_unwind(|| panic!("{secret}"))
        });
        panic::set_hook(before);
        assert!(panicked.is_err());
        let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(
            log.contains("panicked") && log.contains("logging.rs") && !log.contains(secret),
            "{log}"
        );
    }
}
