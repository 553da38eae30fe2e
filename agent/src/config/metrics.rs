//! `[metrics]`: where the machine is told in numbers.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// `[metrics]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Metrics {
    textfile_directory: Option<Directory>,
}

impl Metrics {
    /// The directory that `node_exporter`'s textfile collector reads. None: no file is written.
    #[must_use]
    pub fn textfile_directory(&self) -> Option<&Path> {
        let directory = self.textfile_directory.as_ref();
        directory.map(|directory| directory.0.as_path())
    }
}

/// A directory of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PathBuf")]
struct Directory(PathBuf);

impl TryFrom<PathBuf> for Directory {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        let in_store = path.starts_with(crate::host::NIX_STORE);
        if path.is_absolute() && !in_store {
            Ok(Self(path))
        } else {
            Err("must be an absolute path outside the store, such as \"/var/lib/prometheus/node-exporter\"".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn no_file_is_written_unless_somebody_asks() {
        assert_eq!(Metrics::default().textfile_directory(), None);
        let config = Config::parse("[metrics]\ntextfile-directory = \"/var/x\"\n").unwrap();
        assert_eq!(
            config.metrics.textfile_directory(),
            Some(Path::new("/var/x"))
        );
    }

    #[test]
    fn a_directory_that_cannot_be_one_is_refused_with_its_place() {
        for bad in ["\"x\"", "\"\"", "\"/nix/store/x\"", "true"] {
            let text = format!("[metrics]\ntextfile-directory = {bad}\n");
            let mistake = Config::parse(&text).unwrap_err();
            assert_eq!((mistake.line, mistake.column), (2, 22), "{bad}: {mistake}");
        }
    }
}
