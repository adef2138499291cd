use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use tempfile::TempDir;

use crate::failure::{Exit, Failure};

/// Where the data is, held by one process at a time: two logs for one database would each know half of the changes.
#[derive(Debug)]
pub(super) struct DataFolder {
    path: PathBuf,
    /// Released by the operating system when this process ends, however it ends.
    _lock: File,
    /// Deletes the folder at the end.
    temporary: Option<TempDir>,
}

impl DataFolder {
    /// The folder that was named, or `stockalert` in the user's data folder; created where missing.
    pub(super) fn open(named: Option<PathBuf>) -> Result<Self, Failure> {
        let path = match named {
            Some(path) => path,
            None => {
                let base = etcetera::choose_base_strategy().map_err(|error| {
                    Failure::new(Exit::Io, format!("this account has no data folder: {error}"))
                        .remedy("name a folder with --data-dir or STOCKALERT_DATA_DIR")
                })?;
                base.data_dir().join("stockalert")
            }
        };
        Self::lock(path, None)
    }

    /// A new, empty one that is deleted at the end.
    pub(super) fn temporary() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("stockalert-demo-").tempdir();
        let folder = folder.map_err(|error| unusable(&std::env::temp_dir(), &error))?;
        Self::lock(folder.path().to_owned(), Some(folder))
    }

    fn lock(path: PathBuf, temporary: Option<TempDir>) -> Result<Self, Failure> {
        create_private(&path).map_err(|error| unusable(&path, &error))?;
        // A relative path would change its meaning inside a URL.
        let path = path.canonicalize().map_err(|error| unusable(&path, &error))?;
        let lock = File::create(path.join("up.lock")).map_err(|error| unusable(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path,
                _lock: lock,
                temporary,
            }),
            Err(TryLockError::WouldBlock) => Err(Failure::new(
                Exit::Unavailable,
                format!("another `stockalert up` uses {}", path.display()),
            )
            .remedy("stop it, or name another folder with --data-dir")),
            Err(TryLockError::Error(error)) => Err(unusable(&path, &error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// Of the SQLite file in it.
    pub(super) fn database_url(&self) -> Result<String, Failure> {
        let path = self.path.join("stockalert.db");
        let text = path.to_str().ok_or_else(|| {
            Failure::new(Exit::Misuse, format!("{} is not UTF-8", path.display()))
                .remedy("name another folder with --data-dir")
        })?;
        // The characters that would end the path inside a URL, or be decoded.
        let escaped = text.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
        Ok(format!("sqlite://{escaped}"))
    }
}

/// E-mail addresses and chats are in there: for its owner alone.
fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Io,
        format!("the folder {} can't be used: {error}", path.display()),
    )
    .remedy("name another with --data-dir or STOCKALERT_DATA_DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_by_one_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/data");
        let first = DataFolder::open(Some(path.clone())).unwrap();
        let refused = DataFolder::open(Some(path.clone())).unwrap_err();
        assert!(
            refused.message.starts_with("another `stockalert up` uses "),
            "{}",
            refused.message
        );
        drop(first);
        DataFolder::open(Some(path)).unwrap();
    }

    #[test]
    fn a_temporary_folder_is_gone_at_the_end() {
        let folder = DataFolder::temporary().unwrap();
        let path = folder.path().to_owned();
        assert!(path.exists() && folder.is_temporary());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn any_folder_makes_a_url() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(Some(parent.path().join("100%? #1"))).unwrap();
        assert!(
            folder
                .database_url()
                .unwrap()
                .ends_with("/100%25%3F %231/stockalert.db")
        );
    }
}
