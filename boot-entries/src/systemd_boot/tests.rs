//! Loaders to test with, and the tests that take more than one module.

mod cuts;
mod domain;

use std::fs;
use std::path::Path;

use super::{Action, Decision, FALLBACK, Installed, Policy, SYSTEMD, Source, decide};
use crate::Root;
use crate::apply::apply;
use crate::boot_partition::Place;
use crate::digests::Digests;
use crate::step::Step;

/// Debian's own.
pub(super) const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// An EFI program that is none, but marks itself in the same way.
pub(super) const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const MARK: &[u8] = b"#### LoaderInfo: systemd-boot ";

/// Debian's loader, calling itself `version`.
pub(super) fn patched(version: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(LOADER).unwrap();
    let at = bytes.windows(MARK.len()).position(|w| w == MARK).unwrap();
    let text = [MARK, version.as_bytes(), b" ####"].concat();
    bytes[at..at + 0x34].fill(0);
    bytes[at..at + text.len()].copy_from_slice(&text);
    bytes
}

/// The same with a certificate table: not a valid one, which is for the firmware to say.
pub(super) fn signed(version: &str) -> Vec<u8> {
    let mut bytes = patched(version);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let pe = u32::from_le_bytes(bytes[0x3c..0x40].try_into().unwrap()) as usize;
    // The fifth directory, after 112 bytes of a PE32+ optional header.
    let directory = pe + 24 + 112 + 4 * 8;
    let address = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    bytes[directory..directory + 4].copy_from_slice(&address);
    bytes[directory + 4..directory + 8].copy_from_slice(&64_u32.to_le_bytes());
    bytes.extend([0x42; 64]);
    bytes
}

/// Not by the writer: what it does is noted, and flushing is not what is tested.
fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
}

/// A tree with an ESP at `boot`, a closure at `closure`, and `files` in it.
fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("boot")).unwrap();
    for (path, bytes) in files {
        let path = tree.path().join(path);
        write(&path, bytes);
    }
    tree
}

/// What is there, as somebody sees it who remembers nothing.
fn installed(esp: &Path) -> Installed {
    Installed::read(esp, &mut Digests::default()).unwrap()
}

fn closure_of(tree: &tempfile::TempDir) -> Result<Option<Source>, String> {
    let closure = Path::new("/closure");
    Source::find(
        &Root::new(tree.path()),
        Some(closure),
        Path::new("/usr"),
        &mut Digests::default(),
    )
}

/// Decides and does it; gives the paths that were written, and what was told.
fn keep(tree: &tempfile::TempDir) -> (Vec<String>, Vec<String>) {
    let source = closure_of(tree).unwrap();
    let installed = installed(&tree.path().join("boot"));
    let Decision { action, told, .. } = decide(&installed, source.as_ref(), Policy::Update);
    let steps = match action {
        Action::Nothing => Vec::new(),
        Action::Write(steps) | Action::Install { steps, .. } => steps,
    };
    let place = Place {
        esp: installed.esp.clone(),
        // Nothing here is about $BOOT.
        boot: "/nowhere".into(),
        ..Place::default()
    };
    apply(&place, &steps, &crate::sums::Known::default(), |_| ()).unwrap();
    let paths = steps.iter().map(|step| match step {
        Step::Copy { path, .. } | Step::Text { path, .. } => path.clone(),
        Step::Remove { path, .. } => format!("-{path}"),
    });
    (paths.collect(), told)
}

const CLOSURE: &str = "closure/systemd/lib/systemd/boot/efi/systemd-bootx64.efi";

/// A peer stops half-way at Debian's version of the loader, and others compare versions as texts.
#[test]
fn versions_as_distributions_write_them_are_updated_in_order() {
    let versions = [
        "9",
        "10",
        "252.39-1~deb12u2",
        "252.39-1~deb12u3",
        "253~rc1",
        "253",
        "253.1",
    ];
    let tree = tree(&[]);
    let boot = |path: &str| fs::read(tree.path().join("boot").join(path)).unwrap();
    for version in versions {
        write(&tree.path().join(CLOSURE), &patched(version));
        assert_eq!(keep(&tree).0, [FALLBACK, SYSTEMD], "{version}");
        assert_eq!(
            (boot(SYSTEMD), boot(FALLBACK)),
            (patched(version), patched(version))
        );
        assert_eq!(keep(&tree).0, [""; 0], "{version}");
        let info = Installed::info(&tree.path().join("boot"));
        assert_eq!(info, Some(format!("systemd-boot {version}")));
    }
    // And back: nothing is replaced by anything older.
    for version in &versions[..versions.len() - 1] {
        write(&tree.path().join(CLOSURE), &patched(version));
        let (written, told) = keep(&tree);
        assert_eq!(written, [""; 0], "{version}");
        assert!(
            told[0].starts_with("systemd-boot 253.1 is left alone")
                && told[0].ends_with("is older"),
            "{told:?}"
        );
    }
}

/// FAT finds `bootx64.efi` under `BOOTX64.EFI`; a directory that becomes an ESP does not.
#[test]
fn names_in_lower_case_are_the_same_names() {
    let (old, new) = (patched("250"), patched("257.6"));
    let fallback = "boot/efi/boot/bootx64.efi";
    let tree = tree(&[
        ("boot/efi/systemd/systemd-bootx64.efi", &old),
        (fallback, &old),
        (CLOSURE, &new),
    ]);
    assert_eq!(
        keep(&tree).0,
        ["efi/boot/bootx64.efi", "efi/systemd/systemd-bootx64.efi"]
    );
    assert_eq!(fs::read(tree.path().join(fallback)).unwrap(), new);
    assert_eq!(fs::read_dir(tree.path().join("boot")).unwrap().count(), 1);
}

#[test]
fn somebody_elses_fallback_stays_to_the_byte() {
    let (old, new, stub) = (patched("250"), patched("257.6"), fs::read(STUB).unwrap());
    let fallback = format!("boot/{FALLBACK}");
    let tree = tree(&[
        (&format!("boot/{SYSTEMD}"), &old),
        (&fallback, &stub),
        (CLOSURE, &new),
    ]);
    let (written, told) = keep(&tree);
    assert_eq!(written, [SYSTEMD]);
    assert!(
        told[0].starts_with(FALLBACK) && told[0].ends_with("left alone"),
        "{told:?}"
    );
    assert_eq!(fs::read(tree.path().join(fallback)).unwrap(), stub);
}

#[test]
fn what_an_interrupted_run_left_is_swept() {
    let new = patched("257.6");
    let left = format!(
        "boot/{}",
        SYSTEMD.replace("systemd-boot", ".lastgood-systemd-boot")
    ) + ".part";
    let tree = tree(&[
        (&format!("boot/{SYSTEMD}"), &new),
        (&left, b"half"),
        (CLOSURE, &new),
    ]);
    let swept = "-EFI/systemd/.lastgood-systemd-bootx64.efi.part";
    assert_eq!(keep(&tree).0, [swept, FALLBACK]);
    assert_eq!(keep(&tree).0, [""; 0]);
}

#[test]
fn the_closures_loader_comes_first_and_a_signed_one_before_one_that_is_not() {
    let machine = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
    let (closure, host, signed) = (patched("257.6"), patched("252"), signed("257.6"));
    let tree = tree(&[(machine, &host)]);
    let version = || closure_of(&tree).map(|source| source.map(|source| source.image.info()));
    assert_eq!(version(), Ok(Some("systemd-boot 252".to_owned())));
    let systemd = tree.path().join("store/lib/systemd/boot/efi");
    fs::create_dir_all(&systemd).unwrap();
    fs::create_dir(tree.path().join("closure")).unwrap();
    write(&systemd.join("systemd-bootx64.efi"), &closure);
    // As in a NixOS closure, where the link is absolute.
    std::os::unix::fs::symlink("/store", tree.path().join("closure/systemd")).unwrap();
    assert_eq!(version(), Ok(Some("systemd-boot 257.6".to_owned())));
    write(&systemd.join("systemd-bootx64.efi.signed"), &signed);
    assert!(closure_of(&tree).unwrap().unwrap().image.is_signed);
    write(&systemd.join("systemd-bootx64.efi.signed"), b"half");
    let why = version().unwrap_err();
    assert!(
        why.starts_with("/closure/systemd/") && why.ends_with("is cut short"),
        "{why}"
    );
    fs::remove_dir_all(tree.path().join("usr")).unwrap();
    fs::remove_file(tree.path().join("closure/systemd")).unwrap();
    assert_eq!(version(), Ok(None));
    // NixOS has it elsewhere.
    write(&systemd.join("systemd-bootx64.efi.signed"), &signed);
    let mut digests = Digests::default();
    let root = Root::new(tree.path());
    let nixos = Source::find(&root, None, Path::new("/store"), &mut digests);
    assert!(nixos.unwrap().unwrap().image.is_signed);
}

/// A run with nothing to do hashes neither copy; one that was changed is looked at again, whichever it is.
#[test]
fn copies_that_are_known_are_not_hashed_again() {
    let old = patched("252.1");
    let tree = tree(&[]);
    let (root, boot) = (Root::new(tree.path()), tree.path().join("boot"));
    let record = tree.path().join("digests");
    for path in [SYSTEMD, FALLBACK] {
        write(&boot.join(path), &old);
    }
    let run = || {
        let mut digests = Digests::load(&root, None, &record);
        let installed = Installed::read(&boot, &mut digests).unwrap();
        assert_eq!(installed, super::tests::installed(&boot));
        let news = digests.news();
        if let Some(text) = &news {
            write(&record, text.as_bytes());
        }
        news.is_some()
    };
    assert!(run());
    assert!(!run());
    // Longer, so that the stamp is another one however quick this is.
    let new = [patched("252.2"), vec![0]].concat();
    for path in [SYSTEMD, FALLBACK] {
        write(&boot.join(path), &new);
        assert!(run(), "{path}");
        assert!(!run(), "{path}");
    }
    for damaged in [new[..new.len() / 2].to_vec(), vec![0; new.len()]] {
        write(&boot.join(FALLBACK), &damaged);
        run();
        assert_eq!(installed(&boot).fallback.image(), None);
    }
}
