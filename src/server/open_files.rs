//! The process's limit of open files, which callers' connections and those to the API share.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::config::Limits;

/// Files beside the connections of calls: listeners, the admin listener's connections, the key file, the collector.
const RESERVED: u64 = 64;

/// Raises the limit as far as the system allows, and lowers the limits to what it leaves room for: half for callers, the
/// rest for the API.
pub(crate) fn fit_to_open_files(limits: Limits) -> Limits {
    let hard = getrlimit(Resource::Nofile).maximum;
    // What cannot be raised stays as it is.
    let (current, maximum) = (hard, hard);
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let fitted = share(files, limits);
    if fitted != limits {
        warn!(
            open_files = files,
            max_connections = fitted.max_connections,
            max_in_flight = fitted.max_in_flight,
            "the limit of open files leaves room for fewer connections than configured"
        );
    }
    fitted
}

fn share(files: u64, limits: Limits) -> Limits {
    let room = u32::try_from(files.saturating_sub(RESERVED)).unwrap_or(u32::MAX);
    let max_connections = limits.max_connections.min((room / 2).max(1));
    let rest = room.saturating_sub(max_connections).max(1);
    let max_in_flight = limits.max_in_flight.min(rest);
    Limits {
        max_connections,
        max_in_flight,
        ..limits
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn callers_get_at_most_half_and_the_api_the_rest() {
        for (files, wanted, expected) in [
            (1024, (1024, 1024), (480, 480)),
            (1024, (100, 1024), (100, 860)),
            (65_536, (1024, 1024), (1024, 1024)),
            (256, (1024, 10), (96, 10)),
            (0, (1024, 1024), (1, 1)),
            (u64::MAX, (1_000_000, 1_000_000), (1_000_000, 1_000_000)),
        ] {
            let limits = Limits {
                timeout: Duration::ZERO,
                max_in_flight: wanted.1,
                max_connections: wanted.0,
                max_connection_age: None,
                drain_delay: Duration::ZERO,
                drain_timeout: Duration::ZERO,
            };
            let fitted = share(files, limits);
            let found = (fitted.max_connections, fitted.max_in_flight);
            assert_eq!(found, expected, "{files} files");
        }
    }
}
