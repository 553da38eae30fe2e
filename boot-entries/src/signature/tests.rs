//! Lists and signatures as Debian's own tools write them, and what damage makes of them.

use super::*;
use crate::kernel::tests::{image, signed};
use std::path::PathBuf;
use std::process::Command;

/// A throwaway certificate authority, a signer with a certificate of it, a stranger, and an image that each has signed.
struct Signed {
    tree: tempfile::TempDir,
}

impl Signed {
    fn new() -> Self {
        let this = Self {
            tree: tempfile::tempdir().unwrap(),
        };
        for (name, more) in [("ca", ""), ("other", "")] {
            this.sh(&format!(
                "openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN={name} -keyout {name}.key -out {name}.pem {more}"
            ));
        }
        this.sh(
            "openssl req -newkey rsa:2048 -nodes -subj /CN=leaf -keyout leaf.key -out leaf.csr; openssl x509 -req -in leaf.csr \
             -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -out leaf.pem",
        );
        std::io::Write::write_all(
            &mut File::create(this.path("plain")).unwrap(),
            &image(0x8664, 10, 4096),
        )
        .unwrap();
        for name in ["ca", "other", "leaf"] {
            this.sh(&format!(
                "sbsign --key {name}.key --cert {name}.pem --output by-{name} plain; cert-to-efi-sig-list -g \
                 11111111-2222-3333-4444-123456789abc {name}.pem {name}.esl; openssl x509 -in {name}.pem -outform DER -out {name}.der"
            ));
        }
        this.sh("hash-to-efi-sig-list plain hash.esl");
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.tree.path().join(name)
    }

    fn sh(&self, script: &str) {
        let ended = Command::new("sh")
            .args(["-euc", script])
            .current_dir(self.tree.path())
            .output()
            .unwrap();
        assert!(ended.status.success(), "{script}: {ended:?}");
    }

    fn list(&self, names: &[&str]) -> Signatures {
        let all = names
            .iter()
            .map(|name| std::fs::read(self.path(name)).unwrap());
        Signatures::parse(&all.collect::<Vec<_>>().concat()).unwrap()
    }

    fn judged(&self, file: &str, db: &[&str], dbx: &[&str]) -> Verdict {
        let keys = Keys {
            accepted: Some(self.list(db)),
            refused: self.list(dbx),
        };
        judge(&self.path(file), &keys).unwrap()
    }
}

#[test]
fn who_signed_decides_as_the_lists_of_the_firmware_say() {
    let signed = Signed::new();
    for (file, db, dbx, verdict) in [
        ("by-ca", &["ca.esl"][..], &[][..], Verdict::Accepted),
        ("by-leaf", &["leaf.esl"], &[], Verdict::Accepted),
        ("by-leaf", &["ca.esl"], &[], Verdict::Accepted),
        ("by-leaf", &["other.esl"], &[], Verdict::Stranger),
        ("by-ca", &["leaf.esl"], &[], Verdict::Stranger),
        ("by-other", &["ca.esl", "leaf.esl"], &[], Verdict::Stranger),
        ("by-other", &["ca.esl", "other.esl"], &[], Verdict::Accepted),
        ("by-other", &["other.esl"], &["other.esl"], Verdict::Revoked),
        ("plain", &["ca.esl"], &[], Verdict::Unsigned),
        ("plain", &["hash.esl"], &[], Verdict::Accepted),
        ("plain", &["ca.esl", "hash.esl"], &[], Verdict::Accepted),
        ("plain", &["hash.esl"], &["hash.esl"], Verdict::Revoked),
        // Signing changes nothing that is hashed.
        ("by-other", &["hash.esl"], &[], Verdict::Accepted),
        ("by-other", &["other.esl"], &["hash.esl"], Verdict::Revoked),
    ] {
        assert_eq!(
            signed.judged(file, db, dbx),
            verdict,
            "{file} {db:?} {dbx:?}"
        );
    }
    // Nobody knows what is accepted.
    let keys = Keys::default();
    assert_eq!(
        judge(&signed.path("by-ca"), &keys).unwrap(),
        Verdict::Accepted
    );
    assert_eq!(
        judge(&signed.path("plain"), &keys).unwrap(),
        Verdict::Unsigned
    );
    assert!(judge(&signed.path("gone"), &keys).is_err());
    // The list holds the certificate as it is.
    let der = std::fs::read(signed.path("ca.der")).unwrap();
    assert_eq!(signed.list(&["ca.esl"]).certificates, [der]);

    // No cut and no changed byte panics, and none makes a stranger's image a known one.
    let keys = Keys {
        accepted: Some(signed.list(&["ca.esl"])),
        refused: Signatures::default(),
    };
    let whole = std::fs::read(signed.path("by-other")).unwrap();
    let list = std::fs::read(signed.path("ca.esl")).unwrap();
    let judged = |bytes: &[u8]| shown(bytes).map(|shown| of(&shown, &keys));
    for at in 0..whole.len() {
        assert_ne!(judged(&whole[..at]), Some(Verdict::Accepted), "{at}");
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        assert_ne!(judged(&changed), Some(Verdict::Accepted), "{at}");
    }
    for at in 0..list.len() {
        assert_eq!(Signatures::parse(&list[..at]).is_some(), at == 0, "{at}");
        let mut changed = list.clone();
        changed[at] ^= 0x55;
        drop(Signatures::parse(&changed));
    }
}

#[test]
fn what_is_no_signature_shows_none() {
    let nonsense = signed(image(0x8664, 10, 64));
    let keys = Keys {
        accepted: Some(Signatures::default()),
        refused: Signatures::default(),
    };
    let judged = |bytes: &[u8]| shown(bytes).map(|shown| of(&shown, &keys));
    assert_eq!(judged(&nonsense), Some(Verdict::Unsigned));
    assert_eq!(judged(b"\x1f\x8b"), None);
    // No room for an owner and a signature.
    let sizes = [44_u32, 0, 16].map(u32::to_le_bytes).concat();
    let odd = [&[0; 16][..], &sizes, &[0; 16]].concat();
    assert_eq!(Signatures::parse(&odd), None);
}

/// Something in the list that is not looked at may accept what is signed, and nothing else.
#[test]
fn a_list_with_more_than_is_understood_makes_nobody_a_stranger() {
    let sizes = [48_u32, 0, 20].map(u32::to_le_bytes).concat();
    let other = [&[7; 16][..], &sizes, &[0; 20]].concat();
    let accepted = Signatures::parse(&other);
    assert!(accepted.as_ref().unwrap().has_more);
    let keys = Keys {
        accepted,
        refused: Signatures::default(),
    };
    let judged = |signatures: Vec<Vec<u8>>| {
        let shown = Shown {
            is_signed: true,
            signatures,
            hash: [1; 32],
        };
        of(&shown, &keys)
    };
    assert_eq!(judged(vec![vec![0x30, 0]]), Verdict::Accepted);
    assert_eq!(judged(Vec::new()), Verdict::Unsigned);
}
