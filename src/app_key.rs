//! The application key: the gateway's own or each caller's. Keys are marked sensitive, so `Debug` does
//! not show them.

use std::path::Path;

use http::HeaderValue;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;

use crate::followed_files::FollowedFiles;

/// The metadata in which a caller sends its key.
const METADATA: &str = "et-app-key";
/// The longest key, in bytes.
const MAX_LEN: usize = 1024;
/// What is expected of a key, for error messages.
pub(crate) const EXPECTED: &str =
    "takes an application key: 1 to 1024 printable ASCII characters, no spaces";

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
            Self::Callers => parse(metadata.get(METADATA)?.to_str().ok()?),
        }
    }
}

/// The key as a sensitive header value; `None` if the text is no key.
pub(crate) fn parse(text: &str) -> Option<HeaderValue> {
    let has_length = (1..=MAX_LEN).contains(&text.len());
    let is_key = has_length && text.bytes().all(|b| b.is_ascii_graphic());
    let mut key = HeaderValue::from_str(text).ok().filter(|_| is_key)?;
    key.set_sensitive(true);
    Some(key)
}

/// Reads a key from a file, and follows it. Line breaks at its end are not part of the key.
///
/// # Errors
///
/// Why the file cannot be read, or that it holds no key.
pub(crate) fn open(path: &Path) -> Result<FollowedFiles<HeaderValue>, String> {
    let paths = vec![path.to_owned()];
    FollowedFiles::open("the application key", paths, |files| {
        let text = str::from_utf8(&files[0]).unwrap_or_default();
        let key = parse(text.trim_end_matches(['\r', '\n']));
        key.ok_or_else(|| "no key in it".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_a_key() {
        let key = parse("the-key").unwrap();
        assert!(key.is_sensitive());
        assert!(!format!("{key:?}").contains("the-key"));
        assert!(
            parse("").is_none()
                && parse("a key").is_none()
                && parse("k\n").is_none()
                && parse("ключ").is_none()
        );
    }
}
