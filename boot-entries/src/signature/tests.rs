//! Lists and signatures as Debian's own tools write them, and what damage makes of them.

use super::*;
use crate::kernel::tests::{image, signed};
use algorithm::Hash;
use std::path::PathBuf;
use std::process::Command;

/// A throwaway certificate authority, a signer with a certificate of it, a stranger, and images that each has signed.
struct Signed {
    tree: tempfile::TempDir,
}

/// In this shell `own NAME SUBJECT` makes a key and a certificate of its own, `issue NAME SUBJECT BY` one that BY issued,
/// and `sign NAME` signs the image `plain`, and makes a list of the certificate.
const SHELL: &str = r"
    own() { openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=$2 -keyout $1.key -out $1.pem; }
    request() { openssl req -newkey ${KEY:-rsa:2048} ${MORE:-} -nodes -subj /CN=$1 -keyout $2.key -out $2.csr; }
    issue() {
        request $2 $1
        printf 'basicConstraints=CA:%s\n' ${CA:-TRUE} > $1.ext
        openssl x509 -req -in $1.csr -CA $3.pem -CAkey $3.key -set_serial 7 ${DAYS:--days 9} ${SUM:-} \
            -extfile $1.ext -out $1.pem
    }
    list() { cert-to-efi-sig-list -g 11111111-2222-3333-4444-123456789abc $1.pem $1.esl; }
    sign() { list $1; sbsign --key $1.key --cert $1.pem ${WITH:-} --output by-$1 plain; }
";

impl Signed {
    fn new() -> Self {
        let this = Self {
            tree: tempfile::tempdir().unwrap(),
        };
        this.file("plain", &image(0x8664, 10, 4096));
        this.sh("own ca ca; own other other; issue leaf leaf ca; for it in ca other leaf; do sign $it; done");
        this.sh("hash-to-efi-sig-list plain hash.esl; : > none.esl");
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.tree.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        std::io::Write::write_all(&mut File::create(self.path(name)).unwrap(), bytes).unwrap();
    }

    fn sh(&self, script: &str) {
        let script = format!("{SHELL}\n{script}");
        let ended = Command::new("sh")
            .args(["-euc", &script])
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
    signed.sh("openssl x509 -in ca.pem -outform DER -out ca.der");
    let der = std::fs::read(signed.path("ca.der")).unwrap();
    assert_eq!(signed.list(&["ca.esl"]).certificates, [der]);

    // No cut and no changed byte panics, and none makes a stranger's image a known one.
    let keys = Keys {
        accepted: Some(signed.list(&["ca.esl"])),
        refused: Signatures::default(),
    };
    let whole = std::fs::read(signed.path("by-other")).unwrap();
    let list = std::fs::read(signed.path("ca.esl")).unwrap();
    let judged = |bytes: &[u8]| verdict_on(bytes, &keys);
    for at in 0..whole.len() {
        assert_ne!(judged(&whole[..at]), Verdict::Accepted, "{at}");
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        assert_ne!(judged(&changed), Verdict::Accepted, "{at}");
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
    let judged = |bytes: &[u8]| verdict_on(bytes, &keys);
    assert_eq!(judged(&nonsense), Verdict::Unsigned);
    assert_eq!(judged(b"\x1f\x8b"), Verdict::Unsigned);
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
    let judged = |signatures: Vec<&'static [u8]>| {
        let image = Image {
            is_signed: true,
            signatures,
            ..Image::default()
        };
        of(&image, &keys)
    };
    assert_eq!(judged(vec![&[0x30, 0]]), Verdict::Accepted);
    assert_eq!(judged(Vec::new()), Verdict::Unsigned);
}

/// What was changed since it was signed, and what has the signature of another image.
#[test]
fn a_signature_is_of_one_image_only() {
    let signed = Signed::new();
    let mut other = image(0x8664, 10, 4096);
    other[0x200 + 77] ^= 1;
    signed.file("another", &other);
    signed.sh(
        "sbattach --detach of-plain by-leaf; cp another swapped; sbattach --attach of-plain swapped; \
         hash-to-efi-sig-list swapped swapped.esl",
    );
    let judged = |file: &str, db: &[&str]| signed.judged(file, db, &[]);
    assert_eq!(judged("swapped", &["ca.esl"]), Verdict::Invalid);
    assert_eq!(judged("swapped", &["leaf.esl"]), Verdict::Invalid);
    // Unless its hash is known.
    assert_eq!(judged("swapped", &["swapped.esl"]), Verdict::Accepted);

    // Every byte counts: of the image, and of the signature all that is signed.
    let whole = std::fs::read(signed.path("by-leaf")).unwrap();
    let keys = Keys {
        accepted: Some(signed.list(&["ca.esl"])),
        refused: Signatures::default(),
    };
    assert_eq!(verdict_on(&whole, &keys), Verdict::Accepted);
    let end = signed.path("plain").metadata().unwrap().len();
    let end = usize::try_from(end).unwrap();
    for at in (0x200..end).step_by(97).chain([end - 1]) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        assert_eq!(verdict_on(&changed, &keys), Verdict::Invalid, "{at}");
    }
    // The last that is in it is the signer's signature.
    for from_end in [20, 100, 200, 255] {
        let mut changed = whole.clone();
        let at = changed.len() - from_end;
        changed[at] ^= 0x10;
        assert_eq!(verdict_on(&changed, &keys), Verdict::Invalid, "{from_end}");
    }
    // The digest that it says is put right for the other image; then that of the content as well, which is signed.
    let plain = std::fs::read(signed.path("plain")).unwrap();
    let sum = |bytes: &[u8]| Image::parse(bytes).unwrap().hash;
    let forged = replaced(&whole[end..], &sum(&plain), &sum(&other));
    let judged = |signature: &[u8]| {
        let mut forged = [&whole[..0x200], &other[0x200..], signature].concat();
        forged[0x200 + 77] = other[0x200 + 77];
        verdict_on(&forged, &keys)
    };
    assert_eq!(judged(&forged), Verdict::Invalid);
    // The content begins before `SPC_PE_IMAGE_DATAOBJ`, and ends with the digest.
    let data = [0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 15];
    let start = place(&whole, &data) - 4;
    let content = |sum_of: &[u8]| {
        let before = &whole[start..place(&whole, &sum(&plain))];
        Hash::Sha256.sum(&[before, &sum(sum_of)])
    };
    let again = replaced(&forged, &content(&plain), &content(&other));
    assert_eq!(judged(&again), Verdict::Invalid);
}

fn place(bytes: &[u8], what: &[u8]) -> usize {
    let mut windows = bytes.windows(what.len());
    windows.position(|window| window == what).unwrap()
}

fn replaced(bytes: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let at = place(bytes, what);
    [&bytes[..at], by, &bytes[at + what.len()..]].concat()
}

/// `WIN_CERTIFICATE_UEFI_GUID`, which EDK2 reads as well.
#[test]
fn a_signature_may_be_wrapped_in_another_way() {
    let signed = Signed::new();
    signed.sh("sbattach --detach body by-leaf");
    let body = std::fs::read(signed.path("body")).unwrap();
    let wrapped = |guid: &[u8]| {
        let length = u32::try_from(8 + guid.len() + body.len()).unwrap();
        let head = [0, 2, 0xf1, 0x0e];
        let mut entry = [&length.to_le_bytes(), &head[..], guid, &body].concat();
        entry.resize(entry.len().next_multiple_of(8), 0);
        let mut image = std::fs::read(signed.path("plain")).unwrap();
        let place = [image.len(), entry.len()].map(|it| u32::try_from(it).unwrap().to_le_bytes());
        let directory = 0x58 + 112 + 4 * 8;
        image[directory..directory + 8].copy_from_slice(&place.concat());
        signed.file("wrapped", &[image, entry].concat());
        signed.judged("wrapped", &["ca.esl"], &[])
    };
    assert_eq!(wrapped(&image::PKCS_GUID), Verdict::Accepted);
    assert_eq!(wrapped(&[7; 16]), Verdict::Unsigned);
}

/// Keys that were made anew under the old names, as by a tool that calls all its certificates alike.
#[test]
fn a_certificate_of_the_same_name_is_another_with_another_key() {
    let signed = Signed::new();
    signed.sh(
        "own again ca; issue forged leaf again; issue twin leaf ca; SUM=-sha384 issue sha384 leaf again; \
         SUM=-sha512 issue sha512 leaf again; for it in again forged twin sha384 sha512; do sign $it; done",
    );
    for (file, db, verdict) in [
        // The same name, with keys and certificates of their own.
        ("by-again", "ca.esl", Verdict::Namesake),
        ("by-ca", "again.esl", Verdict::Namesake),
        ("by-again", "again.esl", Verdict::Accepted),
        // The same name, issuer and serial number, issued by the one and the other.
        ("by-forged", "ca.esl", Verdict::Namesake),
        ("by-forged", "leaf.esl", Verdict::Stranger),
        ("by-forged", "again.esl", Verdict::Accepted),
        ("by-sha384", "ca.esl", Verdict::Namesake),
        ("by-sha384", "again.esl", Verdict::Accepted),
        ("by-sha512", "ca.esl", Verdict::Namesake),
        ("by-sha512", "again.esl", Verdict::Accepted),
        ("by-twin", "leaf.esl", Verdict::Stranger),
        ("by-twin", "ca.esl", Verdict::Accepted),
    ] {
        assert_eq!(signed.judged(file, &[db], &[]), verdict, "{file} {db}");
    }
    // A namesake in dbx refuses nobody.
    let judged = |file: &str, dbx: &str| signed.judged(file, &["ca.esl"], &[dbx]);
    assert_eq!(judged("by-leaf", "again.esl"), Verdict::Accepted);
    assert_eq!(judged("by-leaf", "forged.esl"), Verdict::Accepted);
    assert_eq!(judged("by-leaf", "twin.esl"), Verdict::Accepted);
}

#[test]
fn a_chain_leads_through_what_the_signature_brings() {
    let signed = Signed::new();
    signed.sh(
        "issue middle middle ca; issue end end middle; WITH='--addcert middle.pem' sign end; list middle; cp by-end chained; \
         sign end; CA=FALSE issue meek meek ca; issue below below meek; WITH='--addcert meek.pem' sign below; list meek",
    );
    for (file, db, verdict) in [
        ("chained", "ca.esl", Verdict::Accepted),
        ("chained", "middle.esl", Verdict::Accepted),
        ("chained", "end.esl", Verdict::Accepted),
        ("chained", "leaf.esl", Verdict::Stranger),
        // What was not brought is not there.
        ("by-end", "ca.esl", Verdict::Stranger),
        ("by-end", "middle.esl", Verdict::Accepted),
        // Nobody may issue without being an authority.
        ("by-below", "ca.esl", Verdict::Stranger),
        ("by-below", "meek.esl", Verdict::Stranger),
        ("by-below", "below.esl", Verdict::Accepted),
    ] {
        assert_eq!(signed.judged(file, &[db], &[]), verdict, "{file} {db}");
    }
    // A certificate that is brought and has nothing to do with the signer neither helps nor harms.
    signed.sh("WITH='--addcert other.pem' sign leaf");
    let judged = |db: &str, dbx: &str| signed.judged("by-leaf", &[db], &[dbx]);
    assert_eq!(judged("other.esl", "none.esl"), Verdict::Stranger);
    assert_eq!(judged("ca.esl", "other.esl"), Verdict::Accepted);
}

/// `X509_V_FLAG_NO_CHECK_TIME`.
#[test]
fn a_certificate_that_has_expired_is_as_good_as_ever() {
    let signed = Signed::new();
    signed.sh(
        "DAYS='-days 0' issue old old ca; sign old; sleep 1; ! openssl x509 -in old.pem -noout -checkend 0",
    );
    for db in ["old.esl", "ca.esl"] {
        assert_eq!(
            signed.judged("by-old", &[db], &[]),
            Verdict::Accepted,
            "{db}"
        );
    }
}

#[test]
fn who_is_revoked_is_refused_with_all_that_he_signed() {
    let signed = Signed::new();
    // A list of sums of certificates: type, sizes, owner, sum and time.
    let sums = |name: &str, time: u8| {
        let pem = std::fs::read(signed.path(&format!("{name}.esl"))).unwrap();
        let list = Signatures::parse(&pem).unwrap();
        let sum = list.read().pop().unwrap().sum(Hash::Sha256);
        let sizes = [28 + 64_u32, 0, 64].map(u32::to_le_bytes).concat();
        let bytes = [&X509_SUMS[0].0[..], &sizes, &[1; 16], &sum, &[time; 16]].concat();
        signed.file(&format!("{name}-{time}.esl"), &bytes);
    };
    for name in ["ca", "leaf", "other"] {
        sums(name, 0);
    }
    sums("leaf", 1);
    for (file, dbx, verdict) in [
        ("by-leaf", "none.esl", Verdict::Accepted),
        ("by-leaf", "leaf.esl", Verdict::Revoked),
        // Who issued the signer's certificate, though nobody brings that.
        ("by-leaf", "ca.esl", Verdict::Revoked),
        ("by-leaf", "hash.esl", Verdict::Revoked),
        ("by-leaf", "other.esl", Verdict::Accepted),
        ("by-leaf", "leaf-0.esl", Verdict::Revoked),
        ("by-leaf", "ca-0.esl", Verdict::Revoked),
        ("by-leaf", "other-0.esl", Verdict::Accepted),
        // From some time on, and nobody here knows when it was signed.
        ("by-leaf", "leaf-1.esl", Verdict::Accepted),
    ] {
        let judged = signed.judged(file, &["ca.esl"], &[dbx]);
        assert_eq!(judged, verdict, "{file} {dbx}");
    }
    // Another way to db is left.
    let judged = signed.judged("by-leaf", &["ca.esl", "leaf.esl"], &["ca-0.esl"]);
    assert_eq!(judged, Verdict::Accepted);
}

/// One that verifies is enough; one that is revoked spoils all.
#[test]
fn of_several_signatures_one_decides() {
    let signed = Signed::new();
    signed.sh("sbsign --key other.key --cert other.pem --output by-both by-leaf");
    for (db, dbx, verdict) in [
        ("ca.esl", "none.esl", Verdict::Accepted),
        ("other.esl", "none.esl", Verdict::Accepted),
        ("ca.esl", "other.esl", Verdict::Revoked),
        ("none.esl", "none.esl", Verdict::Stranger),
    ] {
        assert_eq!(
            signed.judged("by-both", &[db], &[dbx]),
            verdict,
            "{db} {dbx}"
        );
    }
}

/// ECDSA and SHA-1: the names have to fit, and nothing else is held against it.
#[test]
fn what_is_not_computed_is_not_held_against_anybody() {
    let signed = Signed::new();
    signed.sh(
        "KEY=ec MORE='-pkeyopt ec_paramgen_curve:P-256' issue curve curve ca; SUM=-sha1 issue weak weak ca; \
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=root -keyout root.key -out \
         root.pem; issue under under root; for it in weak under curve; do sign $it; done; list root",
    );
    for (file, db, verdict) in [
        // An authority of elliptic curves, and a signature with SHA-1.
        ("by-under", "root.esl", Verdict::Accepted),
        ("by-under", "ca.esl", Verdict::Stranger),
        ("by-curve", "ca.esl", Verdict::Accepted),
        ("by-curve", "other.esl", Verdict::Stranger),
        ("by-weak", "ca.esl", Verdict::Accepted),
        ("by-weak", "other.esl", Verdict::Stranger),
    ] {
        assert_eq!(signed.judged(file, &[db], &[]), verdict, "{file} {db}");
    }
}
