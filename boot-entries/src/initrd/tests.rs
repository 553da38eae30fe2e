use super::*;
use std::io::Write as _;

/// One member of a cpio archive: a name and what is in it.
fn member(name: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"070701".to_vec();
    for field in 0..13 {
        let number = match field {
            6 => data.len(),
            11 => name.len() + 1,
            _ => 0,
        };
        bytes.extend(format!("{number:08x}").bytes());
    }
    bytes.extend(name.bytes().chain([0]));
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn cpio() -> Vec<u8> {
    let members = [
        ("init", &b"#!/bin/sh\n"[..]),
        ("a", b""),
        ("TRAILER!!!", b""),
    ];
    members.map(|(name, data)| member(name, data)).concat()
}

/// A frame of three blocks: two that are as they are, and a run.
fn zstd(descriptor: u8) -> Vec<u8> {
    let mut bytes = b"\x28\xb5\x2f\xfd".to_vec();
    bytes.push(descriptor);
    let window = u8::from(descriptor & 0x20 == 0);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let length = [u8::from(descriptor & 0x20 != 0), 2, 4, 8][usize::from(descriptor >> 6)];
    bytes.extend(vec![1; usize::from(window + dictionary + length)]);
    for (kind, size, last) in [(0_u32, 5_u32, 0_u32), (1, 300, 0), (0, 7, 1)] {
        let head = (size << 3 | kind << 1 | last).to_le_bytes();
        bytes.extend(&head[..3]);
        bytes.extend(vec![b'z'; if kind == 1 { 1 } else { size as usize }]);
    }
    bytes.extend(vec![9; usize::from(descriptor & 4)]);
    bytes
}

fn lz4() -> Vec<u8> {
    let mut bytes = b"\x02\x21\x4c\x18".to_vec();
    for size in [9_u32, 4] {
        bytes.extend(size.to_le_bytes());
        bytes.extend(vec![b'l'; size as usize]);
    }
    bytes
}

fn told_by(bytes: &[u8], check: impl Fn(&Path) -> Result<(), NotUnpacked>) -> String {
    let tree = tempfile::tempdir().unwrap();
    let path = tree.path().join("initrd");
    File::create(&path).unwrap().write_all(bytes).unwrap();
    check(&path).map_or_else(|no| no.to_string(), |()| "fine".to_owned())
}

fn told(bytes: &[u8]) -> String {
    told_by(bytes, check)
}

#[test]
fn whole_archives_are_fine_alone_and_in_a_row() {
    let mut all = vec![cpio(), lz4()];
    all.extend((0..=u8::MAX).filter(|byte| byte & 0x18 == 0).map(zstd));
    // What does not say how long it is.
    all.push(b"\x1f\x8b\x08\0 and more".to_vec());
    all.push(b"\xfd7zXZ\0 and more".to_vec());
    all.push(b"hsqs, a file system".to_vec());
    for one in &all {
        assert_eq!(told(one), "fine", "{one:?}");
        // Microcode comes first, and zeroes stand between.
        let row = [cpio(), vec![0; 600], one.clone(), vec![0; 5000]].concat();
        assert_eq!(told(&row), "fine", "{one:?}");
    }
    let row = [zstd(4), zstd(0x20), cpio(), lz4()].concat();
    assert_eq!(told(&row), "fine");
}

#[test]
fn every_cut_is_found_where_the_format_tells() {
    let all = [cpio(), zstd(0), zstd(4), zstd(0xa5), lz4()];
    for (before, one) in all
        .iter()
        .flat_map(|one| [(Vec::new(), one), (cpio(), one)])
    {
        // Where the magic number itself is cut, nobody knows what it was; and a cut between two pieces is one that lz4 and cpio
        // have no word for.
        let between: Vec<usize> = if one == &lz4() {
            vec![4, 17]
        } else if one == &cpio() {
            let members = [("init", &b"#!/bin/sh\n"[..]), ("a", b"")];
            let mut ends = Vec::new();
            for (name, data) in members {
                ends.push(ends.last().unwrap_or(&0) + member(name, data).len());
            }
            // What fills up the last four bytes is none of the data.
            let fill = (ends[0] - 2..=ends[0]).chain([ends[1]]);
            fill.chain(one.len() - 3..one.len()).collect()
        } else {
            Vec::new()
        };
        for length in 6..one.len() {
            let told = told(&[before.as_slice(), one.get(..length).unwrap()].concat());
            if between.contains(&length) {
                assert_eq!(told, "fine", "{length} of {}", one.len());
            } else {
                assert!(
                    told.starts_with("is cut short"),
                    "{length} of {}: {told}",
                    one.len()
                );
            }
        }
    }
}

#[test]
fn what_is_no_initrd_is_called_what_it_is() {
    let tar = [vec![b'x'; 257], b"ustar\0".to_vec()].concat();
    for (bytes, says) in [
        (&b"MZ and more"[..], "an EFI image"),
        (b"\x7fELF", "a program"),
        (b"\x04\x22\x4d\x18", "`lz4 -l`"),
        (b"070707000000", "`cpio -H newc`"),
        (b"\xc7\x71\0", "`cpio -H newc`"),
        (b"LZIP\x01", "lzip"),
        (b"PK\x03\x04", "a zip archive"),
        (&tar, "a tar archive"),
    ] {
        for check in [check, check_head] {
            let told = told_by(bytes, check);
            assert!(
                told.starts_with("is no initrd: ") && told.contains(says),
                "{told}"
            );
        }
    }
    assert!(told(&[0; 9000]).contains("all of it is zeroes"));
    assert_eq!(told_by(&[0; 9000], check_head), "fine");
    assert!(check(Path::new("/nowhere")).is_err());
}

#[test]
fn nonsense_is_damaged_and_ends() {
    let mut odd = cpio();
    odd[54] = b'x';
    assert!(
        told(&odd).contains("makes no sense at byte 0"),
        "{}",
        told(&odd)
    );
    let mut far = cpio();
    far[54..62].copy_from_slice(b"ffffffff");
    assert!(told(&far).starts_with("is cut short"), "{}", told(&far));
    let mut reserved = zstd(0);
    reserved[6] |= 6;
    assert!(
        told(&reserved).contains("zstd archive makes no sense"),
        "{}",
        told(&reserved)
    );
    // Linux says what is wrong with it, if anything is.
    assert_eq!(
        told(&[lz4(), b"\xff\xff\xff\xff...".to_vec()].concat()),
        "fine"
    );
}
