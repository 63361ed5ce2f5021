//! The process's limit of open files, of which every connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files that are open beside connections: listeners, the key file, the collector.
const OTHERS: u64 = 64;

/// Raises the limit as far as the system allows, and gives the number of connections that there is room for, at most
/// `wanted`, when `upstream` connections to the API are open.
pub(super) fn room_for(wanted: u32, upstream: u32) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // What cannot be raised stays as it is.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = files
        .saturating_sub(OTHERS + u64::from(upstream))
        .clamp(1, u64::from(wanted));
    if room < u64::from(wanted) {
        warn!(
            files,
            room,
            "the limit of open files leaves room for fewer connections than --max-connections"
        );
    }
    room as usize
}
