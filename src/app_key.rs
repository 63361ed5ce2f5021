//! The application key: the gateway's own or each caller's. Keys are marked sensitive, so `Debug` does
//! not show them.

use std::path::Path;

use http::HeaderValue;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;

use crate::{
    config::{ConfigError, parse_app_key},
    followed_files::{FollowedFiles, SettingFile},
};

/// The metadata in which a caller sends its key.
const METADATA: &str = "et-app-key";

/// Where the keys come from.
#[derive(Clone, Debug)]
pub(crate) enum AppKeys {
    /// One key for all calls. Keys that callers send are ignored.
    Gateway(watch::Receiver<HeaderValue>),
    /// Each caller sends its own.
    Callers,
}

impl AppKeys {
    /// The key of one call; `None` if the caller has to send a key and sends none, or no valid one.
    pub(crate) fn of_call(&self, metadata: &MetadataMap) -> Option<HeaderValue> {
        match self {
            Self::Gateway(key) => Some(key.borrow().clone()),
            Self::Callers => parse_app_key(metadata.get(METADATA)?.to_str().ok()?),
        }
    }
}

/// Reads a key from the file of `--app-key-file`. Line breaks at its end are not part of the key.
///
/// # Errors
///
/// Why the file cannot be read, or that it holds no key.
pub(crate) fn load(path: &Path) -> Result<FollowedFiles<HeaderValue>, ConfigError> {
    let file = SettingFile::new("--app-key-file", "a file with an application key", path);
    FollowedFiles::load("the application key", vec![file], |files| {
        let text = str::from_utf8(&files[0].bytes).unwrap_or_default();
        let key = parse_app_key(text.trim_end_matches(['\r', '\n']));
        key.ok_or_else(|| files[0].error("no key in it"))
    })
}
