//! Where the program of an `exec` check is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use boot_entries::Root;

use crate::config::Checks;
use crate::config::checks::Kind;

/// Where a closure has its programs, as NixOS and others do.
const OF_CLOSURE: [&str; 2] = ["sw/bin", "bin"];
/// Where a host has them.
const OF_HOST: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `PATH` of a program that `closure` has run: its own programs come first.
pub(super) fn path(closure: &Path) -> String {
    let own = OF_CLOSURE.map(|directory| closure.join(directory).display().to_string());
    format!("{}:{OF_HOST}", own.join(":"))
}

/// The words of a command, with its program by an absolute path.
///
/// # Errors
/// When there is no such program.
pub(super) fn words(root: &Root, closure: &Path, words: &[String]) -> Result<Vec<String>, String> {
    let (program, arguments) = words.split_first().ok_or("it names no program")?;
    let mut found = vec![find(root, closure, program)?.display().to_string()];
    found.extend(arguments.iter().cloned());
    Ok(found)
}

/// A name alone is looked for in the closure and on the host, a path is one inside the closure, and an absolute one the
/// host's.
fn find(root: &Root, closure: &Path, program: &str) -> Result<PathBuf, String> {
    let places = if program.contains('/') {
        // An absolute path replaces what it is joined to.
        vec![closure.join(program)]
    } else {
        let directories = path(closure);
        directories
            .split(':')
            .map(|directory| Path::new(directory).join(program))
            .collect()
    };
    let is_program = |place: &PathBuf| {
        let found = root.resolve(place).and_then(fs::metadata);
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if let Some(place) = places.iter().find(|place| is_program(place)) {
        return Ok(place.clone());
    }
    Err(if program.contains('/') {
        let place = closure.join(program);
        format!("{} is no executable file", place.display())
    } else {
        format!(
            "{program} is in none of {}",
            path(closure).replace(':', ", ")
        )
    })
}

/// Whether the programs of all checks are there.
///
/// # Errors
/// The first that is not, with its check.
pub fn check(root: &Root, closure: &Path, checks: &Checks) -> Result<(), String> {
    for (name, check) in checks {
        if let Kind::Exec { words: asked, .. } = &check.get_ref().kind {
            words(root, closure, asked)
                .map_err(|why| format!("[health.checks.{}] exec: {why}", name.as_str()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::fs::Permissions;

    fn put(root: &Root, path: &str, mode: u32) {
        let place = root.join(path);
        boot_entries::durable::put_text("#!/bin/sh\n", &place).unwrap();
        fs::set_permissions(place, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_program_is_the_closure_s_or_the_host_s() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let closure = Path::new("/nix/store/c");
        let found = |program: &str| {
            let words = [program.to_owned(), "-x".to_owned()];
            super::words(&root, closure, &words)
        };
        put(&root, "/nix/store/c/checks/db", 0o755);
        put(&root, "/nix/store/c/checks/text", 0o644);
        put(&root, "/usr/bin/curl", 0o755);
        for (program, place) in [
            ("checks/db", "/nix/store/c/checks/db"),
            ("/usr/bin/curl", "/usr/bin/curl"),
            ("curl", "/usr/bin/curl"),
        ] {
            assert_eq!(found(program).unwrap(), [place, "-x"], "{program}");
        }
        put(&root, "/nix/store/c/sw/bin/curl", 0o755);
        assert_eq!(found("curl").unwrap()[0], "/nix/store/c/sw/bin/curl");
        for (program, why) in [
            (
                "checks/text",
                "/nix/store/c/checks/text is no executable file",
            ),
            (
                "checks",
                "checks is in none of /nix/store/c/sw/bin, /nix/store/c/bin, /usr/local/sbin",
            ),
            ("/usr/bin/nc", "/usr/bin/nc is no executable file"),
        ] {
            let told = found(program).unwrap_err();
            assert!(told.starts_with(why), "{told}");
        }
        let text = "[health.checks.a]\nunit = \"a\"\n[health.checks.db]\nexec = [\"gone\"]\n";
        let config = Config::parse(text).unwrap();
        let told = check(&root, closure, &config.health.checks).unwrap_err();
        assert!(
            told.starts_with("[health.checks.db] exec: gone is in none of "),
            "{told}"
        );
    }
}
