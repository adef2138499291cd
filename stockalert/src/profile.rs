use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};

use crate::connection::TlsFiles;
use crate::failure::{Exit, Failure};

/// Where a registration is kept, so that further commands need no token: one file, readable by its owner alone.
#[derive(Debug, Clone)]
pub(crate) struct ProfileFile {
    path: PathBuf,
}

/// Who calls which server. Its token is never sent to another server.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// URL.
    pub server: String,
    /// API token.
    pub token: String,
    /// For an `https://` server, where its own were named.
    #[serde(flatten)]
    pub tls: TlsFiles,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl ProfileFile {
    /// The file that was named, or `stockalert/profile.json` in the user's configuration folder.
    pub(crate) fn locate(named: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(path) = named {
            return Ok(Self { path });
        }
        let base = etcetera::choose_base_strategy().map_err(|error| {
            Failure::new(
                Exit::Io,
                format!("this account has no configuration folder: {error}"),
            )
            .remedy("name a file with --profile or STOCKALERT_PROFILE")
        })?;
        Ok(Self {
            path: base.config_dir().join("stockalert").join("profile.json"),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// None where there is no such file.
    pub(crate) fn read(&self) -> Result<Option<Profile>, Failure> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failure("read", &error)),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Failure::new(
                Exit::Io,
                format!("the profile {} is not readable: {error}", self.path.display()),
            )
            .remedy("correct or delete it, or name another with --profile")
        })
    }

    /// Replaces the file as a whole: a crash leaves the old one or the new one, and a token is never lost half-way.
    pub(crate) fn write(&self, profile: &Profile) -> Result<(), Failure> {
        let write = || -> io::Result<()> {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if let Some(folder) = folder {
                fs::create_dir_all(folder)?;
            }
            let new = self.new_file();
            // What a crash left would keep its permissions.
            let _ = fs::remove_file(&new);
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&new)?;
            file.write_all(serde_json::to_string_pretty(profile)?.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        write().map_err(|error| {
            let _ = fs::remove_file(self.new_file());
            self.failure("written", &error)
        })
    }

    /// Beside the file, and this process's own.
    fn new_file(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        self.path.with_file_name(name)
    }

    pub(crate) fn delete(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failure("deleted", &error)),
            _ => Ok(()),
        }
    }

    fn failure(&self, done: &str, error: &io::Error) -> Failure {
        Failure::new(
            Exit::Io,
            format!("the profile {} could not be {done}: {error}", self.path.display()),
        )
        .remedy("name another file with --profile or STOCKALERT_PROFILE")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_as_written_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = ProfileFile::locate(Some(folder.path().join("deep/profile.json"))).unwrap();
        assert!(file.read().unwrap().is_none());
        #[cfg(unix)]
        {
            // Somebody made it themselves, for everybody to read.
            use std::os::unix::fs::PermissionsExt as _;
            fs::create_dir_all(file.path().parent().unwrap()).unwrap();
            for left in [file.path().to_owned(), file.new_file()] {
                fs::write(&left, "{}").unwrap();
                fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).unwrap();
            }
        }
        for token in ["first", "second"] {
            file.write(&Profile {
                server: "http://h:1".into(),
                token: token.into(),
                tls: TlsFiles::default(),
            })
            .unwrap();
            assert_eq!(file.read().unwrap().unwrap().token, token);
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                assert_eq!(
                    fs::metadata(file.path()).unwrap().permissions().mode() & 0o777,
                    0o600
                );
            }
        }
        assert_eq!(
            fs::read_dir(folder.path().join("deep")).unwrap().count(),
            1,
            "no temporary file is left"
        );
        file.delete().unwrap();
        file.delete().unwrap();
        assert!(file.read().unwrap().is_none());
    }
}
