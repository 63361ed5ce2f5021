//! The application key: the gateway's own or each caller's. Keys are marked sensitive, so `Debug` does
//! not show them.

use std::{
    fs::{self, File},
    io::{self, Read},
    mem,
    path::{Path, PathBuf},
    time::Duration,
};

use http::HeaderValue;
use tokio::{sync::watch, task::spawn_blocking};
use tonic::metadata::MetadataMap;
use tracing::{info, warn};

/// The metadata in which a caller sends its key.
const METADATA: &str = "et-app-key";
/// How often a key file is read. Kubernetes replaces a mounted secret by swapping a symbolic link,
/// which a watch on the file itself would not see.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// The longest key, in bytes.
const MAX_LEN: u64 = 1024;
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
    let has_length = (1..=MAX_LEN).contains(&(text.len() as u64));
    let is_key = has_length && text.bytes().all(|b| b.is_ascii_graphic());
    let mut key = HeaderValue::from_str(text).ok().filter(|_| is_key)?;
    key.set_sensitive(true);
    Some(key)
}

/// Reads a key from a file. Line breaks at its end are not part of the key.
///
/// # Errors
///
/// Why the file cannot be read, or that it holds no key.
pub(crate) fn read(path: &Path) -> io::Result<HeaderValue> {
    // A pipe or a device may never end, or never begin.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?
        .take(MAX_LEN + 3)
        .read_to_string(&mut text)?;
    let key = parse(text.trim_end_matches(['\r', '\n']));
    key.ok_or_else(|| io::Error::other("no key in it"))
}

/// Reads the file every second and at each `reload`, as long as the key is in use. Calls
/// `on_change` when the key has changed. While the file is unusable, the last key stays.
pub(crate) async fn watch_file(
    path: PathBuf,
    key: watch::Sender<HeaderValue>,
    mut reload: watch::Receiver<()>,
    on_change: impl Fn() + Send + 'static,
) {
    let mut last_error = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(READ_INTERVAL) => {}
            Ok(()) = reload.changed() => {}
            () = key.closed() => return,
        }
        let path = path.clone();
        let new = spawn_blocking(move || read(&path)).await;
        let error = match new.map_err(io::Error::from).flatten() {
            Ok(new) => {
                if key.send_if_modified(|key| mem::replace(key, new.clone()) != new) {
                    info!("the application key has changed");
                    on_change();
                }
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if error.is_some() && error != last_error {
            warn!(
                error,
                "the application key file cannot be used; the last key stays"
            );
        }
        last_error = error;
    }
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

    #[tokio::test(start_paused = true)]
    async fn a_reload_reads_the_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let (key, mut keys) = watch::channel(parse("first").unwrap());
        let (reload, reloads) = watch::channel(());
        let (changed, mut changes) = watch::channel(());
        let on_change = move || changed.send_modify(|()| ());
        tokio::spawn(watch_file(path.clone(), key, reloads, on_change));
        let start = tokio::time::Instant::now();
        fs::write(&path, "second\n").unwrap();
        reload.send(()).unwrap();
        keys.changed().await.unwrap();
        assert_eq!(*keys.borrow_and_update(), "second");
        assert!(start.elapsed() < READ_INTERVAL);

        changes.changed().await.unwrap();
        drop(reload);
        fs::write(&path, "third").unwrap();
        keys.changed().await.unwrap();
        assert_eq!(*keys.borrow(), "third");
        changes.changed().await.unwrap();
    }
}
