//! The manifest: which places of `/etc` are ours, from one run to the next.
//!
//! A link below `/etc/static` says so by itself; the manifest says where to look for it when it is not wanted any more.
//! Of a copy only the manifest says that it is ours, and what it held. It is written before the first change, with what
//! is there and what is to be, and after the last one. Whoever finds it lost or damaged looks at the tree where
//! `/etc/static` leads instead.
//!
//! Lines of ASCII: a heading with the version, whether the run ended, and where `/etc/static` leads; a line for each
//! place; a checksum of all before it.

use std::path::PathBuf;

use boot_entries::durable::owned::Owner;
use boot_entries::durable::{self, Access};
use boot_entries::payload::{Content, Digest};
use boot_entries::{Root, bounded};

use super::checked::{self, pulled, push};
use super::plan::{Copied, Known, Ours};
use crate::host::ETC_MANIFEST;

const NAME: &str = "lastgood-etc";
const VERSION: &str = "1";
/// The longest one that is read, in bytes: some hundred thousand places.
const LIMIT: u64 = 64 * 1024 * 1024;
/// It tells what secrets held, if only by digest.
const FOR_ROOT: Access = Access {
    mode: 0o600,
    group: None,
};

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Where `/etc/static` leads when the run is at its end.
    pub farm: PathBuf,
    /// Whether it came there. If not, half-made files may lie about.
    pub is_done: bool,
    /// What is ours.
    pub known: Known,
}

/// Why there is no manifest.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    /// No run has written one.
    Never,
    /// It cannot be read, or makes no sense.
    Damaged(String),
}

/// Reads the manifest.
///
/// # Errors
/// Why there is none.
pub fn read(root: &Root) -> Result<Manifest, Missing> {
    let path = root.join(ETC_MANIFEST);
    let text = match bounded::read(&path, LIMIT) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Missing::Never),
        text => text.map_err(|error| Missing::Damaged(error.to_string()))?,
    };
    parse(&text).ok_or_else(|| Missing::Damaged("its text makes no sense".to_owned()))
}

/// Writes the manifest. It is on the disk before anything that relies on it, if there is anything of the kind.
///
/// # Errors
/// When it cannot be written. It is then as it was.
pub fn write(root: &Root, manifest: &Manifest) -> Result<(), durable::Error> {
    let (text, path) = (text(manifest), root.join(ETC_MANIFEST));
    if manifest.known.others.is_empty() {
        // Nothing but links, which say by themselves that they are ours.
        return durable::put_unflushed(&text, &path);
    }
    durable::put_text_for(FOR_ROOT, &text, &path)
}

/// A manifest as it is on the disk.
fn text(manifest: &Manifest) -> String {
    let Manifest {
        farm,
        is_done,
        known,
    } = manifest;
    let end = if *is_done { "done" } else { "begun" };
    let mut text = format!("{NAME} {VERSION} {end} ");
    push(&mut text, farm);
    for path in &known.links {
        text.push_str("\nlink ");
        push(&mut text, path);
    }
    for (path, all) in &known.others {
        for ours in all {
            let line = match ours {
                Ours::Static => continue,
                Ours::Link(_) => "\ndirect ".to_owned(),
                Ours::Copy(copy) => {
                    let Owner { uid, gid, mode } = copy.owner;
                    let Content { size, digest } = copy.content;
                    format!("\ncopy {mode:o} {uid} {gid} {size} {digest} ")
                }
            };
            text.push_str(&line);
            push(&mut text, path);
            text.push(' ');
            match ours {
                Ours::Static => {}
                Ours::Link(to) => push(&mut text, to),
                Ours::Copy(copy) => push(&mut text, &copy.from),
            }
        }
    }
    checked::close(text)
}

fn parse(text: &str) -> Option<Manifest> {
    let mut lines = checked::open(text)?;
    let heading: Vec<&str> = lines.next()?.split(' ').collect();
    let (is_done, farm) = match heading[..] {
        [NAME, VERSION, "done", farm] => (true, farm),
        [NAME, VERSION, "begun", farm] => (false, farm),
        _ => return None,
    };
    let mut places = Vec::new();
    let mut known = Known::default();
    for line in lines {
        if let Some(path) = line.strip_prefix("link ") {
            places.push(relative(path)?);
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let (path, ours) = match words[..] {
            ["direct", path, to] => (path, Ours::Link(pulled(to)?)),
            ["copy", mode, uid, gid, size, digest, path, from] => {
                let owner = Owner {
                    mode: u32::from_str_radix(mode, 8).ok()?,
                    uid: uid.parse().ok()?,
                    gid: gid.parse().ok()?,
                };
                let content = Content {
                    size: size.parse().ok()?,
                    digest: Digest::of_digits(digest)?,
                };
                let copied = Copied {
                    from: pulled(from)?,
                    content,
                    owner,
                };
                (path, Ours::Copy(Box::new(copied)))
            }
            _ => return None,
        };
        known.insert(&relative(path)?, &ours);
    }
    known.links = places.into_iter().collect();
    Some(Manifest {
        farm: pulled(farm)?,
        is_done,
        known,
    })
}

/// Reads a path that stays below `/etc`.
fn relative(text: &str) -> Option<PathBuf> {
    use std::path::Component;
    let path = pulled(text)?;
    let is_inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    (is_inside && !path.as_os_str().is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;
    use std::path::Path;

    fn manifest() -> Manifest {
        let mut known = Known::default();
        let odd = std::ffi::OsString::from_vec(b"a b%\n\xff".to_vec());
        for path in [Path::new("nginx/nginx.conf"), Path::new(&odd)] {
            known.insert(path, &Ours::Static);
        }
        known.insert(Path::new("direct"), &Ours::Link("/run/di rect".into()));
        for text in ["one", "two"] {
            let copied = Copied {
                from: "/nix/store/key".into(),
                content: Content::of_text(text),
                owner: Owner {
                    uid: 7,
                    gid: 8,
                    mode: 0o4640,
                },
            };
            known.insert(Path::new(&odd), &Ours::Copy(Box::new(copied)));
        }
        Manifest {
            farm: "/nix/store/one/etc".into(),
            is_done: true,
            known,
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_only_root_reads_what_secrets_held() {
        use std::os::unix::fs::MetadataExt as _;
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        assert_eq!(read(&root), Err(Missing::Never));
        let manifest = manifest();
        write(&root, &manifest).unwrap();
        assert_eq!(read(&root).as_ref(), Ok(&manifest));
        let found = root.join(ETC_MANIFEST).metadata().unwrap();
        assert_eq!(found.mode() & 0o7777, 0o600);
        assert!(text(&manifest).is_ascii());
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_damage() {
        let text = text(&manifest());
        for cut in 0..text.len() {
            assert_eq!(parse(&text[..cut]), None, "{cut}");
            let mut flipped = text.clone().into_bytes();
            flipped[cut] ^= 1;
            let flipped = String::from_utf8(flipped).unwrap();
            assert_eq!(parse(&flipped), None, "{cut}");
        }
    }

    #[test]
    fn a_path_out_of_etc_is_no_place() {
        for path in [
            "/passwd",
            "../passwd",
            "a/../../x",
            "",
            "%2fpasswd",
            "%2",
            "%zz",
        ] {
            assert_eq!(relative(path), None, "{path}");
        }
        assert_eq!(relative("a/b"), Some("a/b".into()));
    }
}
