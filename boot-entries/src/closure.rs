//! What it takes to boot a closure, or why it cannot be booted.

mod listed;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use crate::bootspec::{self, Document};
use crate::digests::Digests;
use crate::payload::{self, Content, Kind};
use crate::{Root, bounded, entry, kernel, synthesis};

pub use listed::{Documents, Listed, with_specialisations};

/// A file an entry points at, in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Where it is, as a path of this process.
    pub source: PathBuf,
    /// Its bytes.
    pub content: Content,
    /// What for.
    pub kind: Kind,
}

impl Payload {
    /// Where it goes, on `$BOOT`.
    #[must_use]
    pub fn path(&self) -> String {
        self.path_after("")
    }

    /// [`Self::path`] with `before` before it.
    pub(crate) fn path_after(&self, before: &str) -> String {
        let longest = before.len() + payload::DIRECTORY.len() + 1 + payload::LONGEST_NAME;
        let mut path = String::with_capacity(longest);
        for piece in [before, payload::DIRECTORY, "/"] {
            path.push_str(piece);
        }
        payload::write_name(&self.content, self.kind, &mut path);
        path
    }
}

/// What it takes to boot a closure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootable {
    /// bootspec's label.
    pub label: String,
    /// The kernel's command line.
    pub options: String,
    /// The kernel.
    pub kernel: Payload,
    /// The initrd, with its secrets.
    pub initrd: Option<Payload>,
    /// The devicetree.
    pub devicetree: Option<Payload>,
    /// Further initrds, by their paths on `$BOOT`. Somebody else's files.
    pub extra_initrds: Vec<String>,
}

impl Bootable {
    /// The files that `$BOOT` must hold for it.
    pub fn payload(&self) -> impl Iterator<Item = &Payload> {
        std::iter::once(&self.kernel)
            .chain(&self.initrd)
            .chain(&self.devicetree)
    }
}

/// A closure that has everything a boot needs, its files not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined<'a> {
    /// What it says about itself. Whether its extra initrds are there, [`on_boot`] says.
    pub document: Cow<'a, Document>,
    /// As paths of this process.
    kernel: PathBuf,
    initrd: Option<PathBuf>,
    devicetree: Option<PathBuf>,
}

/// The initrds with secrets, finished, by closure: each as a path of this process, or why there is none. Finishing one
/// means running a program of the closure, which is not for this crate.
pub type Finished = BTreeMap<PathBuf, Result<PathBuf, String>>;

/// A `boot.json` with a hundred specialisations has a few hundred kilobytes.
const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;
/// Larger files do not fit into FAT.
const PAYLOAD_LIMIT: u64 = u32::MAX as u64;
/// More text from a closure than this is in no entry, in bytes: with what comes with each word, all of it would still
/// be read back.
const LONGEST: usize = 32 * 1024;
const _: () = assert!(8 * LONGEST as u64 <= entry::LONGEST);
/// How long a reason may get, in characters: it may repeat what the closure says.
const REASON: usize = 500;

/// What the closure `toplevel` says about booting itself: its `boot.json`, or what its files say if it has none.
///
/// # Errors
/// What, where, why, in one line.
pub fn document(root: &Root, toplevel: &Path) -> Result<Document, String> {
    read(root, toplevel).map(|(document, _)| document)
}

/// [`document`], and what the file system said of `boot.json` before it was read. None: there is no such file.
fn read(root: &Root, toplevel: &Path) -> Result<(Document, Option<Metadata>), String> {
    let path = toplevel.join(bootspec::FILE);
    let said = |error: &dyn Display| short(&format!("{}: {error}", path.display()));
    let text = root.open(&path);
    match text.and_then(|file| bounded::read_known(file, DOCUMENT_LIMIT)) {
        Ok((text, found)) => {
            let document = Document::parse(&text).map_err(|mistake| said(&mistake))?;
            Ok((document, Some(found)))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(said(&error)),
        Err(_) if is_gone(root, toplevel) => {
            Err(short(&format!("{} is not there", toplevel.display())))
        }
        Err(_) if is_gone(root, &path) => {
            let document = synthesis::document(root, toplevel);
            Ok((document.map_err(|why| short(&why))?, None))
        }
        // A link that leads nowhere.
        Err(error) => Err(said(&error)),
    }
}

fn is_gone(root: &Root, path: &Path) -> bool {
    match root.join(path).symlink_metadata() {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        Ok(_) => false,
    }
}

/// Looks at the closure `toplevel` without reading its kernel and initrd whole.
///
/// # Errors
/// Why it cannot be booted: what, where, why, in one line.
pub fn examine(root: &Root, toplevel: &Path) -> Result<Examined<'static>, String> {
    let file = |path: &Path| file(root, path);
    let examined = look(toplevel, Cow::Owned(document(root, toplevel)?), file)?;
    kernel::check(&examined.kernel).map_err(|no| examined.no_kernel(&no))?;
    Ok(examined)
}

impl Examined<'_> {
    fn no_kernel(&self, why: &kernel::NotBootable) -> String {
        short(&format!(
            "{} {why}",
            self.document.bootspec.kernel.display()
        ))
    }
}

/// [`examine`], but for what is in the kernel. `file` says where payload is, as a path of this process, or why it
/// cannot be had.
fn look<'a>(
    toplevel: &Path,
    document: Cow<'a, Document>,
    file: impl FnMut(&Path) -> Result<PathBuf, String>,
) -> Result<Examined<'a>, String> {
    check(toplevel, document, file).map_err(|why| short(&why))
}

fn check<'a>(
    toplevel: &Path,
    document: Cow<'a, Document>,
    mut file: impl FnMut(&Path) -> Result<PathBuf, String>,
) -> Result<Examined<'a>, String> {
    let said = |error: &dyn Display| {
        let path = toplevel.join(bootspec::FILE);
        format!("{}: {error}", path.display())
    };
    document.check().map_err(|mistake| said(&mistake))?;
    let spec = &document.bootspec;
    // The running closure is known by its `init=`: an entry for another one would be taken for it.
    if spec.init.parent() != Some(toplevel) {
        let init = spec.init.display();
        return Err(said(&format!("init is {init}, outside this closure")));
    }
    let texts = spec.kernel_params.iter().chain(&document.extra_initrds);
    let length: usize = texts.map(|text| text.len() + 1).sum();
    if length > LONGEST {
        return Err(said(&format!(
            "kernelParams and extra initrds are {length} bytes long, and an entry takes {LONGEST}"
        )));
    }
    let kernel = file(&spec.kernel)?;
    let initrd = spec.initrd.as_deref().map(&mut file).transpose()?;
    let devicetree = document.devicetree.as_deref().map(file).transpose()?;
    Ok(Examined {
        document,
        kernel,
        initrd,
        devicetree,
    })
}

/// The payload that is `path` on the machine, as a path of this process.
fn file(root: &Root, path: &Path) -> Result<PathBuf, String> {
    let here = root.resolve(path);
    let here = here.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    is_payload(&here).map_err(|why| format!("{} {why}", path.display()))?;
    Ok(here)
}

/// Whether the file at `here` (a path of this process) can be copied to `$BOOT`.
///
/// # Errors
/// What it is instead.
pub fn is_payload(here: &Path) -> Result<(), String> {
    match std::fs::metadata(here) {
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(found) if !found.is_file() => Err("is no file".to_owned()),
        Ok(found) if found.len() == 0 => Err("is empty".to_owned()),
        Ok(found) if found.len() > PAYLOAD_LIMIT => Err("is too large for FAT".to_owned()),
        Ok(_) => Ok(()),
    }
}

/// Whether all of `extra_initrds` lie on the `$BOOT` at `directory` (a path of this process).
///
/// # Errors
/// The first that does not.
pub fn on_boot(directory: &Path, extra_initrds: &[String]) -> Result<(), String> {
    for path in extra_initrds {
        let here = Root::new(directory).resolve(path);
        let found = here.map_err(|error| error.to_string());
        let found = found.and_then(|here| is_payload(&here));
        found.map_err(|why| short(&format!("extra initrd {path} on $BOOT {why}")))?;
    }
    Ok(())
}

fn short(why: &str) -> String {
    bounded::one_line(why, REASON)
}

/// Added to a command line that says nothing of panics: ten seconds to read it, then the next try. It comes first,
/// because the kernel cuts a long line at its end.
pub(crate) const PANIC: &str = " panic=10";

/// Whether a kernel with the command line `options` stands still for ever when it panics.
#[must_use]
pub fn stands_still(options: &str) -> bool {
    panic_timeout(options) == Some(0)
}

/// After how many seconds a kernel with these `options` reboots when it panics: at once if that is negative, never if
/// it is 0. None: they do not say. Of several values the last one counts that is a number, as Linux takes it; what
/// follows `--` is for init.
fn panic_timeout(options: &str) -> Option<i32> {
    let words = options.split_whitespace().take_while(|word| *word != "--");
    let values = words.filter_map(|word| {
        let word = word.trim_matches('"');
        word.strip_prefix("panic=")
            .map(|value| value.trim_matches('"'))
    });
    values.filter_map(number).last()
}

/// A number as Linux reads one: `0x` before hexadecimal digits, `0` before octal ones.
fn number(text: &str) -> Option<i32> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        (None, _) => (digits, 10),
    };
    let is_number = digits.starts_with(|first: char| first.is_digit(radix));
    let value = i32::from_str_radix(&format!("{sign}{digits}"), radix).ok();
    value.filter(|_| is_number)
}

/// Reads closures. What `digests` knows is not read again: neither what several of them share, nor what an earlier run
/// has read.
pub(crate) struct Closures<'a> {
    root: &'a Root,
    finished: &'a Finished,
    documents: &'a Documents,
    digests: &'a mut Digests,
    /// Files that have to be read, as paths of this process.
    unknown: Vec<PathBuf>,
}

impl<'a> Closures<'a> {
    pub(crate) fn new(
        root: &'a Root,
        finished: &'a Finished,
        documents: &'a Documents,
        digests: &'a mut Digests,
    ) -> Self {
        Self {
            root,
            finished,
            documents,
            digests,
            unknown: Vec::new(),
        }
    }

    /// [`examine`], but for what is in the kernel. The initrd is the one with secrets.
    pub(crate) fn look(&mut self, toplevel: &Path) -> Result<Examined<'a>, String> {
        let document = self.documents.of(self.root, toplevel)?;
        let mut unknown = Vec::new();
        let mut examined = look(toplevel, document, |path| {
            let here = self.root.join(path);
            if self.digests.knows_in_store(&here) {
                return Ok(here);
            }
            let here = file(self.root, path)?;
            unknown.push(here.clone());
            Ok(here)
        })?;
        self.unknown.extend(unknown);
        if examined.document.bootspec.initrd_secrets.is_some() {
            let finished = self.finished.get(toplevel).cloned();
            let nobody = || Err("nobody has added its initrd secrets".to_owned());
            let finished = finished.unwrap_or_else(nobody)?;
            self.unknown.push(finished.clone());
            examined.initrd = Some(finished);
        }
        Ok(examined)
    }

    /// Reads what is not known of the files of all that were looked at, several at once.
    pub(crate) fn read(&mut self) {
        let unknown = std::mem::take(&mut self.unknown);
        self.digests.read_in_store(&unknown);
    }

    /// What it takes to boot a closure that was looked at.
    pub(crate) fn bootable(&mut self, examined: Examined<'a>) -> Result<Bootable, String> {
        let checked = self.digests.check_kernel(&examined.kernel);
        let checked = checked.map_err(|no| examined.no_kernel(&no))?;
        let initrd = examined.initrd;
        let Document {
            bootspec,
            extra_initrds,
            ..
        } = examined.document.as_ref();
        if let Some(initrd) = initrd
            .as_ref()
            .filter(|_| bootspec.initrd_secrets.is_some())
        {
            is_payload(initrd).map_err(|why| format!("{} {why}", initrd.display()))?;
        }
        let initrd = initrd.map(|source| self.initrd(source)).transpose()?;
        let mut payload = |source: Option<PathBuf>, kind| {
            let payload = source.map(|source| self.payload(source, kind));
            payload.transpose()
        };
        let devicetree = payload(examined.devicetree, Kind::Devicetree)?;
        let kernel = Payload {
            source: examined.kernel,
            content: checked,
            kind: Kind::Kernel,
        };
        let parameters = bootspec.kernel_params.join(" ");
        // A kernel that panics must reboot, or the counter never falls (invariant A7). What the closure says wins: that
        // it is `panic=0` is told with the plan.
        let panic = match panic_timeout(&parameters) {
            None => PANIC,
            Some(_) => "",
        };
        let init = bootspec::shown(&bootspec.init);
        let blank = if bootspec.kernel_params.is_empty() {
            ""
        } else {
            " "
        };
        let options = ["init=", &init, panic, blank, &parameters].concat();
        Ok(Bootable {
            label: bootspec.label.clone(),
            options,
            kernel,
            initrd,
            devicetree,
            extra_initrds: extra_initrds.clone(),
        })
    }

    fn initrd(&mut self, source: PathBuf) -> Result<Payload, String> {
        let checked = self.digests.check_initrd(&source);
        let content = checked.map_err(|why| short(&format!("{} {why}", source.display())))?;
        Ok(Payload {
            source,
            content,
            kind: Kind::Initrd,
        })
    }

    fn payload(&mut self, source: PathBuf, kind: Kind) -> Result<Payload, String> {
        let content = self.digests.in_store(&source);
        let content =
            content.map_err(|error| format!("cannot read {}: {error}", source.display()))?;
        Ok(Payload {
            source,
            content,
            kind,
        })
    }
}

#[cfg(test)]
mod tests;
