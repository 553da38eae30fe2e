//! The Debian package, without a machine.

use anyhow::Result;
use lastgood_tests::{command, package};

/// What it says all the same has a reason beside it, in `packaging/debian/lintian-overrides`.
#[test]
fn lintian_finds_no_error_and_has_no_warning() -> Result<()> {
    let deb = package::deb()?;
    // What it has found it prints, and an error shows what a program complained of.
    let lintian = "lintian --allow-root --fail-on error,warning \"$1\" >&2";
    let words = ["-c", lintian, "lintian"].map(AsRef::as_ref);
    command::run("sh", words.into_iter().chain([deb.as_os_str()]))?;
    Ok(())
}
