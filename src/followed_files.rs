//! A value that is made from files, and made again when they change.

use std::{
    fmt::Display,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{sync::watch, task::spawn_blocking};
use tracing::{info, warn};

use crate::config::ConfigError;

/// How often the files are read. Kubernetes replaces a mounted secret by swapping a symbolic link, which a watch on the
/// file itself would not see.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// How many times in a row several files are unusable before that is logged: whoever writes them may be between two.
const TOLERATED_FAILURES: u32 = 2;

/// The longest that a file may be, in bytes.
const MAX_LEN: u64 = 1024 * 1024;

/// A file and the setting that names it.
#[derive(Debug)]
pub(crate) struct SettingFile {
    flag: &'static str,
    /// The kind of file that the setting expects, for error messages.
    takes: &'static str,
    path: PathBuf,
}

/// The contents of a file.
pub(crate) struct Contents<'a> {
    pub(crate) bytes: Vec<u8>,
    file: &'a SettingFile,
}

/// Makes the value from the contents of the files, in their order.
type Parse<T> = Box<dyn Fn(&[Contents<'_>]) -> Result<T, ConfigError> + Send + Sync>;

/// The files, and the value that was made from them last.
pub(crate) struct FollowedFiles<T> {
    /// What the files hold, for the log: `the application key`.
    name: &'static str,
    files: Vec<SettingFile>,
    parse: Parse<T>,
    /// Contents are compared by their hashes with this key, so that no secret is kept for that alone.
    hasher: RandomState,
    hash: u64,
    value: watch::Sender<T>,
}

impl<T: Send + Sync + 'static> FollowedFiles<T> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    ///
    /// Why a file cannot be read, or what is wrong with its contents.
    pub(crate) fn load(
        name: &'static str,
        files: Vec<SettingFile>,
        parse: impl Fn(&[Contents<'_>]) -> Result<T, ConfigError> + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let hasher = RandomState::new();
        let contents = read_all(&files)?;
        let hash = hash(&hasher, &contents);
        let value = watch::channel(parse(&contents)?).0;
        Ok(Self {
            name,
            files,
            hash,
            value,
            parse: Box::new(parse),
            hasher,
        })
    }

    /// The value, now and in the future.
    pub(crate) fn subscribe(&self) -> watch::Receiver<T> {
        self.value.subscribe()
    }

    /// Follows the files, if there are any, as long as the value is in use: reads them every second and at each `reload`.
    /// While they are unusable, the last value stays. `on_reload` is called with `true` for each new value, and with `false` for
    /// each failure that is logged.
    pub(crate) fn follow(
        mut self,
        mut reload: watch::Receiver<()>,
        on_reload: impl Fn(bool) + Send + 'static,
    ) -> watch::Receiver<T> {
        let receiver = self.value.subscribe();
        if self.files.is_empty() {
            return receiver;
        }
        tokio::spawn(async move {
            let mut failures = Failures::default();
            loop {
                tokio::select! {
                    () = tokio::time::sleep(READ_INTERVAL) => {}
                    Ok(()) = reload.changed() => {}
                    () = self.value.closed() => return,
                }
                let read = spawn_blocking(move || {
                    let changed = self.read_again();
                    (self, changed)
                });
                // The parsers do not panic, and the runtime ends with the process.
                let Ok((this, changed)) = read.await else {
                    return;
                };
                self = this;
                match changed {
                    Ok(true) => {
                        info!("{} has changed", self.name);
                        on_reload(true);
                        failures = Failures::default();
                    }
                    Ok(false) => failures = Failures::default(),
                    Err(error) if failures.is_news(&error.to_string(), self.files.len()) => {
                        warn!(
                            %error,
                            "{} cannot be read again; the last one stays", self.name
                        );
                        on_reload(false);
                    }
                    Err(_) => {}
                }
            }
        });
        receiver
    }

    /// Whether the files have changed, and with them the value.
    fn read_again(&mut self) -> Result<bool, ConfigError> {
        let contents = read_all(&self.files)?;
        let hash = hash(&self.hasher, &contents);
        if hash == self.hash {
            return Ok(false);
        }
        self.value.send_replace((self.parse)(&contents)?);
        self.hash = hash;
        Ok(true)
    }
}

/// The failures since the files were last usable.
#[derive(Default)]
struct Failures {
    count: u32,
    reported: Option<String>,
}

impl Failures {
    /// Whether to report this one: it lasts, and is not the one that was reported last.
    fn is_news(&mut self, error: &str, files: usize) -> bool {
        self.count = self.count.saturating_add(1);
        let lasts = files == 1 || self.count > TOLERATED_FAILURES;
        let is_news = lasts && self.reported.as_deref() != Some(error);
        if is_news {
            self.reported = Some(error.to_owned());
        }
        is_news
    }
}

impl SettingFile {
    /// The file at `path`, which `flag` names; `takes` is the kind of file, such as `a file with an application key`.
    pub(crate) fn new(flag: &'static str, takes: &'static str, path: &Path) -> Self {
        Self {
            flag,
            takes,
            path: path.to_owned(),
        }
    }

    fn error(&self, why: impl Display) -> ConfigError {
        ConfigError::new(self.flag, format!("takes {} ({why})", self.takes))
    }
}

impl Contents<'_> {
    /// Says what is wrong with the file, and what its setting takes.
    pub(crate) fn error(&self, why: impl Display) -> ConfigError {
        self.file.error(why)
    }
}

fn read_all(files: &[SettingFile]) -> Result<Vec<Contents<'_>>, ConfigError> {
    files.iter().map(read_file).collect()
}

fn read_file(file: &SettingFile) -> Result<Contents<'_>, ConfigError> {
    let bytes = read(&file.path).map_err(|error| file.error(error))?;
    Ok(Contents { bytes, file })
}

fn hash(hasher: &RandomState, contents: &[Contents<'_>]) -> u64 {
    let bytes: Vec<_> = contents.iter().map(|it| &it.bytes).collect();
    hasher.hash_one(bytes)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Reading a pipe or a device may block, or never end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut contents = Vec::new();
    File::open(path)?
        .take(MAX_LEN + 1)
        .read_to_end(&mut contents)?;
    if contents.len() as u64 > MAX_LEN {
        return Err(io::Error::other(format!("longer than {MAX_LEN} bytes")));
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(files: &[Contents<'_>]) -> Result<String, ConfigError> {
        match str::from_utf8(&files[0].bytes).unwrap() {
            "bad" => Err(files[0].error("it is bad")),
            text => Ok(text.to_owned()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_reads_the_files_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "first").unwrap();
        let file = SettingFile::new("--text", "a text", &path);
        let files = FollowedFiles::load("the text", vec![file], text).unwrap();
        let (reload, reloads) = watch::channel(());
        let (changed, mut changes) = watch::channel(true);
        let mut values = files.follow(reloads, move |result| {
            changed.send_replace(result);
        });
        let start = tokio::time::Instant::now();
        fs::write(&path, "second").unwrap();
        reload.send(()).unwrap();
        values.changed().await.unwrap();
        assert_eq!(*values.borrow_and_update(), "second");
        assert!(start.elapsed() < READ_INTERVAL);

        drop(reload);
        changes.changed().await.unwrap();
        for unusable in ["bad".to_owned(), " ".repeat(MAX_LEN as usize + 1)] {
            fs::write(&path, &unusable).unwrap();
            changes.changed().await.unwrap();
            assert!(!*changes.borrow_and_update());
        }
        assert_eq!(*values.borrow(), "second", "the last one stays");
    }

    #[test]
    fn several_files_may_be_unusable_for_a_moment() {
        let mut failures = Failures::default();
        let news = [(); 5].map(|()| failures.is_news("why", 2));
        assert_eq!(news, [false, false, true, false, false]);
        assert!(failures.is_news("another reason", 2));
        assert!(Failures::default().is_news("why", 1));
    }
}
