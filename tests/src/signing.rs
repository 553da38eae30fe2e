//! Images that firmware with Secure Boot starts, or does not, signed by Debian's own `sbsign`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{command, files};

/// The key that Debian publishes for tests, with its certificate. The firmware's variables in the same package (`ovmf`)
/// accept it.
const KEY: &str = "/usr/share/ovmf/PkKek-1-snakeoil.key";
const CERTIFICATE: &str = "/usr/share/ovmf/PkKek-1-snakeoil.pem";
const PASSPHRASE: &str = "pass:snakeoil";

/// Who signs.
pub struct Signer {
    dir: TempDir,
}

impl Signer {
    /// The one whom the machine's firmware knows.
    ///
    /// # Errors
    /// When its key cannot be read.
    pub fn known() -> Result<Self> {
        let this = Self {
            dir: tempfile::tempdir()?,
        };
        let key = this.key().display().to_string();
        let arguments = [
            "rsa",
            "-in",
            KEY,
            "-passin",
            PASSPHRASE,
            "-traditional",
            "-out",
            &key,
        ];
        command::run("openssl", arguments)?;
        files::write(&this.certificate(), std::fs::read_to_string(CERTIFICATE)?)?;
        Ok(this)
    }

    /// Another one, whose certificate says the same of whose it is: its owner has made new keys, and the firmware still has the
    /// old ones.
    ///
    /// # Errors
    /// When none can be made.
    pub fn of_the_same_name() -> Result<Self> {
        let this = Self {
            dir: tempfile::tempdir()?,
        };
        let format = [
            "x509",
            "-in",
            CERTIFICATE,
            "-noout",
            "-subject",
            "-nameopt",
            "compat",
        ];
        let subject = command::run("openssl", format)?;
        let subject = subject
            .trim()
            .strip_prefix("subject=")
            .context("no subject")?;
        let (key, certificate) = (this.key(), this.certificate());
        let (key, certificate) = (key.display().to_string(), certificate.display().to_string());
        let made = [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "9",
            "-subj",
            subject.trim(),
            "-keyout",
            &key,
            "-out",
            &certificate,
        ];
        command::run("openssl", made)?;
        Ok(this)
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("certificate.pem")
    }

    /// The image with a signature of this one, beside those that it has.
    ///
    /// # Errors
    /// When it is none.
    pub fn sign(&self, image: &[u8]) -> Result<Vec<u8>> {
        let [from, to] = ["image", "signed"].map(|name| self.dir.path().join(name));
        files::write(&from, image)?;
        let mut sbsign = std::process::Command::new("sbsign");
        sbsign.arg("--key").arg(self.key());
        sbsign.arg("--cert").arg(self.certificate());
        command::output(sbsign.arg("--output").arg(&to).arg(&from))?;
        Ok(std::fs::read(&to)?)
    }
}

/// The image without any signature.
///
/// # Errors
/// When it is none.
pub fn unsigned(image: &[u8]) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new()?;
    files::write(file.path(), image)?;
    let mut sbattach = std::process::Command::new("sbattach");
    command::output(sbattach.arg("--remove").arg(file.path()))?;
    Ok(std::fs::read(file.path())?)
}
