//! `cargo xtask dist`: what a person installs. A Debian package and a tarball, each from the same table of files.
//!
//! The same sources come to the same bytes: times are the changelog's, owners are root, and names are sorted.

mod layout;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use lastgood_tests::{command, files, paths, program};

use self::layout::{CLOSURES, COMMON, CONTROL, From, Item, OF_DEBIAN};
use crate::manuals;

/// What was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// The Debian package.
    pub(crate) deb: PathBuf,
    /// The same for every other system.
    pub(crate) tarball: PathBuf,
}

/// The version of the package, as its changelog has it, and when that was written.
#[derive(Debug)]
struct Release {
    /// `0.1.0-1`.
    debian: String,
    /// `0.1.0`.
    upstream: String,
    /// In seconds since 1970, for what is to be the same each time.
    epoch: String,
}

/// What is built before anything is packed.
struct Sources {
    /// The program.
    program: PathBuf,
    /// The directory with manual pages and completions.
    manuals: PathBuf,
}

/// Builds the program and packs it into `out`.
pub(crate) fn run(out: &Path) -> Result<Made> {
    let release = release()?;
    let work = tempfile::tempdir()?;
    let sources = Sources {
        program: program::build()?,
        manuals: work.path().join("manuals"),
    };
    manuals::write(&sources.manuals)?;
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let out = fs::canonicalize(out)?;
    Ok(Made {
        deb: deb(&work.path().join("deb"), &sources, &release, &out)?,
        tarball: tarball(&work.path().join("tar"), &sources, &release, &out)?,
    })
}

fn release() -> Result<Release> {
    let changelog = packaging("debian/changelog");
    let field = |name: &str| {
        let arguments = ["-l".as_ref(), changelog.as_os_str(), "-S".as_ref()];
        let arguments = arguments.into_iter().chain([name.as_ref()]);
        command::run("dpkg-parsechangelog", arguments).map(|field| field.trim().to_owned())
    };
    let debian = field("Version")?;
    let upstream = debian.rsplit_once('-').map(|(upstream, _)| upstream);
    let upstream = upstream.context("packaging/debian/changelog: no version with a revision")?;
    ensure!(
        upstream == env!("CARGO_PKG_VERSION"),
        "packaging/debian/changelog is about {upstream}, and Cargo.toml says {}: write what is new",
        env!("CARGO_PKG_VERSION")
    );
    Ok(Release {
        upstream: upstream.to_owned(),
        debian,
        epoch: field("Timestamp")?,
    })
}

fn deb(tree: &Path, sources: &Sources, release: &Release, out: &Path) -> Result<PathBuf> {
    let items = || [COMMON, CLOSURES, OF_DEBIAN].into_iter().flatten();
    let mut blocks = 0;
    for item in items() {
        blocks += put(tree, item, sources)?.div_ceil(1024);
    }
    let control = tree.join("DEBIAN");
    for (name, mode) in CONTROL {
        let text = fs::read_to_string(packaging("debian").join(name))
            .with_context(|| format!("no packaging/debian/{name}"))?;
        let text = text
            .replace("@VERSION@", &release.debian)
            .replace("@INSTALLED_SIZE@", &blocks.to_string());
        write(&control.join(name), text, *mode)?;
    }
    // For `dpkg --verify`: which file is not as it was packed.
    let links = |item: &&Item| matches!(item.from, From::Link(_));
    let files = items().filter(|item| !links(item)).map(|item| item.to);
    let sums = command::output(Command::new("md5sum").args(files).current_dir(tree))?;
    write(&control.join("md5sums"), sums, 0o644)?;
    open_directories(tree)?;
    let name = format!("lastgood_{}_amd64.deb", release.debian);
    let deb = tree.with_file_name(&name);
    let mut build = Command::new("dpkg-deb");
    build
        .args(["--root-owner-group", "-Zxz", "--build"])
        .args([tree, &deb])
        .env("SOURCE_DATE_EPOCH", &release.epoch);
    command::output(&mut build)?;
    hand_over(&deb, out)
}

fn tarball(work: &Path, sources: &Sources, release: &Release, out: &Path) -> Result<PathBuf> {
    let name = format!("lastgood-{}-x86_64-linux", release.upstream);
    let tree = work.join(&name);
    for item in COMMON.iter().chain(CLOSURES) {
        put(&tree, item, sources)?;
    }
    let install = fs::read_to_string(packaging("INSTALL"))?;
    let install = install.replace("@VERSION@", &release.upstream);
    write(&tree.join("INSTALL"), install, 0o644)?;
    open_directories(&tree)?;
    let tarball = work.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .arg(format!("--mtime=@{}", release.epoch))
        .args(["--use-compress-program=gzip -9n", "--create", "--file"])
        .arg(&tarball)
        .arg("--directory")
        .args([work.as_os_str(), name.as_ref()]);
    command::output(&mut tar)?;
    hand_over(&tarball, out)
}

/// Puts a package into its place as a whole: another run may be about to, and somebody may read it meanwhile.
fn hand_over(made: &Path, out: &Path) -> Result<PathBuf> {
    let to = out.join(made.file_name().context("a package has a name")?);
    let on_its_way = tempfile::NamedTempFile::new_in(out)?;
    fs::copy(made, on_its_way.path())?;
    fs::set_permissions(on_its_way.path(), fs::Permissions::from_mode(0o644))?;
    on_its_way.persist(&to)?;
    Ok(to)
}

/// Puts a file into the tree, and says how large it is.
fn put(tree: &Path, item: &Item, sources: &Sources) -> Result<u64> {
    let to = tree.join(item.to);
    let from = match item.from {
        From::Link(leads) => {
            files::link(leads, &to)?;
            return Ok(0);
        }
        From::Program => sources.program.clone(),
        From::Manual(path) => sources.manuals.join(path),
        From::Repository(path) => paths::repository().join(path),
    };
    let content = if item.is_compressed() {
        gzipped(&from)?
    } else {
        fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?
    };
    let size = u64::try_from(content.len())?;
    write(&to, content, item.mode)?;
    Ok(size)
}

fn gzipped(file: &Path) -> Result<Vec<u8>> {
    let mut gzip = Command::new("gzip");
    gzip.args(["-9n", "--stdout"]).arg(file);
    let output = gzip.output().context("cannot run gzip")?;
    ensure!(
        output.status.success(),
        "gzip cannot read {}",
        file.display()
    );
    Ok(output.stdout)
}

fn write(to: &Path, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    files::write(to, content)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Directories get the mode that they have on a machine, whatever the umask is.
fn open_directories(tree: &Path) -> Result<()> {
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755))?;
    for path in files::sorted_entries(tree)? {
        if path.is_dir() && !path.is_symlink() {
            open_directories(&path)?;
        }
    }
    Ok(())
}

fn packaging(path: &str) -> PathBuf {
    paths::repository().join("packaging").join(path)
}
