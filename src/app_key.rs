//! The application key: the gateway's own or each caller's. No key is ever shown: the values are marked sensitive, which
//! silences their `Debug`.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use http::HeaderValue;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use tracing::{info, warn};

use crate::{error::Error, readiness::Readiness};

/// The metadata in which a caller sends its key.
const METADATA: &str = "et-app-key";
/// How often a key file is looked at. Kubernetes replaces a mounted secret by swapping a link, which no watch on the file
/// itself would see.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest key, in bytes.
const MAX_LEN: u64 = 1024;
/// What a key takes, for error messages.
pub(crate) const TAKES: &str =
    "takes an application key: 1 to 1024 printable ASCII characters, no spaces";

/// Whose key a call goes out with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOwner {
    /// The gateway's, so a rejection is the operator's to mend.
    Gateway,
    /// The caller's.
    Caller,
}

impl KeyOwner {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Caller => "caller",
        }
    }
}

/// Where the keys come from.
#[derive(Clone, Debug)]
pub(crate) enum AppKeys {
    /// One key for all calls; what callers send is ignored.
    Gateway(watch::Receiver<HeaderValue>),
    /// Each call brings its own.
    Callers,
}

impl AppKeys {
    /// Whose keys these are.
    pub(crate) fn owner(&self) -> KeyOwner {
        match self {
            Self::Gateway(_) => KeyOwner::Gateway,
            Self::Callers => KeyOwner::Caller,
        }
    }

    /// The key of one call.
    ///
    /// # Errors
    ///
    /// [`Error::KeyMissing`] if the caller had to send one and did not, or sent none that could be one.
    pub(crate) fn of_call(&self, metadata: &MetadataMap) -> Result<HeaderValue, Error> {
        match self {
            Self::Gateway(key) => Ok(key.borrow().clone()),
            Self::Callers => {
                let sent = metadata.get(METADATA).and_then(|value| value.to_str().ok());
                sent.and_then(parse).ok_or(Error::KeyMissing)
            }
        }
    }
}

/// A key as a header value that is marked sensitive; `None` if the text cannot be one.
pub(crate) fn parse(text: &str) -> Option<HeaderValue> {
    let is_key =
        (1..=MAX_LEN).contains(&(text.len() as u64)) && text.bytes().all(|b| b.is_ascii_graphic());
    let mut key = HeaderValue::from_str(text).ok().filter(|_| is_key)?;
    key.set_sensitive(true);
    Some(key)
}

/// Reads a key from a file, line breaks at its end left out.
///
/// # Errors
///
/// Why the file cannot be read, or that it holds no key.
pub(crate) fn read(path: &Path) -> io::Result<HeaderValue> {
    let no_key = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    // Others may never end, or never begin.
    if !fs::metadata(path)?.is_file() {
        return Err(no_key("not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?
        .take(MAX_LEN + 3)
        .read_to_string(&mut text)?;
    parse(text.trim_end_matches(['\r', '\n'])).ok_or_else(|| no_key("no key in it"))
}

/// Reads the file again whenever it changes, for as long as anybody uses the key. While the file is unusable, the key
/// stays the one that was last read.
pub(crate) async fn follow(path: PathBuf, key: watch::Sender<HeaderValue>, readiness: Readiness) {
    let mut trouble = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = key.closed() => return,
        }
        let file = path.clone();
        let found = tokio::task::spawn_blocking(move || read(&file))
            .await
            .unwrap_or_else(|panic| Err(panic.into()));
        match found {
            Ok(found) => {
                trouble = None;
                let changed =
                    key.send_if_modified(|key| std::mem::replace(key, found.clone()) != found);
                if changed {
                    info!("the application key has changed");
                    readiness.key_works();
                }
            }
            Err(error) => {
                let error = error.to_string();
                if trouble.as_ref() != Some(&error) {
                    warn!(
                        error,
                        "the application key file cannot be used; the last key stays"
                    );
                    trouble = Some(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_marked_sensitive_and_does_not_show() {
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
