//! Names and texts as the builders write them, and as nobody does.

use super::*;
use proptest::prelude::*;

const TEXT: &str =
    "title NixOS\nlinux /EFI/nixos/k.efi\noptions init=/nix/store/a-nixos/init quiet\n";

fn file(name: &str, text: &str) -> EntryFile {
    EntryFile {
        on: Partition::Boot,
        has_program: true,
        name: EntryName::parse(name).unwrap(),
        entry: Entry::parse(text),
        text: text.to_owned(),
    }
}

fn is_theirs(name: &str) -> bool {
    closure_of(&file(name, TEXT)).is_some()
}

#[test]
fn the_numbered_scheme() {
    for name in [
        "nixos-generation-3.conf",
        "nixos-generation-1+3.conf",
        "nixos-generation-12+0-3.conf",
        "nixos-my-web-generation-3.conf",
        "nixos-generation-3-specialisation-x.conf",
        "nixos-generation-3-specialisation-+something+-+that+-+breaks-parsing+-+.conf",
        "nixos-generation-3-specialisation-a+3.conf",
        "nixos-my-web-generation-3-specialisation-y-generation-x.conf",
        "nixos-x-generation-2-generation-3.conf",
    ] {
        assert!(is_theirs(name), "{name}");
    }
    for name in [
        "nixos-generation-+3.conf",
        "nixos-generation-007.conf",
        "nixos-generation-.conf",
        "nixos-generation--3.conf",
        "nixos-generation-3-specialisation-.conf",
        "nixos-generation-3x.conf",
        "nixos--generation-3.conf",
        "nixosx-generation-3.conf",
        "nixos.conf",
        "nixos-generation-99999999999999999999.conf",
        "lastgood-3-0123abcd.conf",
        "debian.conf",
    ] {
        assert!(!is_theirs(name), "{name}");
    }
}

#[test]
fn the_hashed_scheme_holds_the_hash_of_the_very_bytes() {
    let hash = hashed_name(TEXT).replace(".conf", "");
    // FIPS 180-2, appendix B.1
    assert!(hashed_name("abc").starts_with("nixos-ba7816bf8f01cfea"));
    for counter in ["", "+3", "+2-1", "+0-3"] {
        let name = format!("{hash}{counter}.conf");
        assert!(is_theirs(&name), "{name}");
        let closure = closure_of(&file(&name, &format!("{TEXT}\n")));
        assert_eq!(closure, None, "other bytes");
    }
    assert!(!is_theirs(&format!("{}.conf", hash.to_uppercase())));
    assert!(!is_theirs(&format!("{hash}0.conf")));
}

#[test]
fn a_file_of_theirs_that_says_nothing_is_a_husk() {
    let hashed = hashed_name(TEXT);
    for name in [
        "nixos-generation-3.conf",
        "nixos-generation-3+2-1.conf",
        &hashed,
    ] {
        assert!(is_husk(&file(name, "")) && is_husk(&file(name, "anything\n")));
        for text in [TEXT, "title x\n", "efi /x.efi\n", "uki /x.efi\n"] {
            assert!(!is_husk(&file(name, text)), "{name} {text}");
        }
    }
    for name in ["debian.conf", "nixos-notes.conf", "nixos-0123.conf"] {
        assert!(!is_husk(&file(name, "")), "{name}");
    }
}

#[test]
fn the_closure_is_what_the_one_init_says() {
    let closure = |options: &str| {
        let text = format!("linux /k\noptions {options}\n");
        let path = closure_of(&file("nixos-generation-3.conf", &text));
        path.map(|path| path.display().to_string())
    };
    assert_eq!(
        closure("quiet init=/nix/store/a-nixos/init x").as_deref(),
        Some("/nix/store/a-nixos")
    );
    for none in [
        "quiet",
        "init=/nix/store/a-nixos/init init=/bin/sh",
        "init=/nix/store/a-nixos",
        "init=a/init",
        "init=/nix/store/../a/init",
        "xinit=/nix/store/a/init",
    ] {
        assert_eq!(closure(none), None, "{none}");
    }
}

#[test]
fn payload_is_what_lies_in_their_directory_itself() {
    assert_eq!(payload_of("/EFI/nixos/k.efi"), Some("k.efi"));
    for elsewhere in [
        "/EFI/nixos/../BOOT/BOOTX64.efi",
        "/EFI/nixos/.extra-files/k.efi",
        "/EFI/nixos/..\\BOOT\\k.efi",
        "/EFI/nixos/.efi",
        "/EFI/nixos/k",
        "/EFI/nixosk.efi",
        "/vmlinuz.efi",
    ] {
        assert_eq!(payload_of(elsewhere), None, "{elsewhere}");
    }
    let entry = Entry::parse("linux /EFI/nixos/k.efi\ninitrd /EFI/nixos/i.efi\ninitrd /other\n");
    assert_eq!(payload_of_entry(&entry), None);
}

#[test]
fn payload_is_named_after_its_store_path() {
    let name = |path: &str| payload_name(Path::new(path));
    assert_eq!(
        name("/nix/store/abc-linux-6.6.84/bzImage").as_deref(),
        Some("abc-linux-6.6.84-bzImage.efi")
    );
    assert_eq!(
        name("/t/nix/store/x/nix/store/abc-initrd").as_deref(),
        Some("abc-initrd.efi")
    );
    assert_eq!(
        name("/nix/store/abc-dtbs/a/b.dtb").as_deref(),
        Some("abc-dtbs-b.dtb.efi")
    );
    assert_eq!(name("/nix/store/abc-what?/bzImage"), None);
    assert_eq!(name("/nix/store"), None);
    assert_eq!(name("/var/lib/lastgood/initrds/abc"), None);
}

#[test]
fn what_is_written_is_recognised() {
    let subject = |id: &str| Subject {
        generation: id.parse().unwrap(),
        toplevel: "/nix/store/a-nixos".into(),
    };
    let name = |id: &str| numbered_name(&subject(id).generation);
    assert_eq!(name("3").as_deref(), Some("nixos-generation-3.conf"));
    assert_eq!(
        name("my-web:3/x").as_deref(),
        Some("nixos-my-web-generation-3-specialisation-x.conf")
    );
    for hostile in ["3/a+3", "3/a+0-1", "3/a:b", "3/ä", "3/a/b"] {
        assert_eq!(name(hostile), None, "{hostile}");
    }
    assert_eq!(name(&format!("3/{}", "x".repeat(240))), None);
    for id in ["3", "my-web:3/x", "3/a+3"] {
        let subject = subject(id);
        let text = entry(&subject, "26.05", &Entry::parse(TEXT)).to_string();
        let name = numbered_name(&subject.generation).unwrap_or_else(|| hashed_name(&text));
        assert_eq!(
            closure_of(&file(&name, &text)),
            Some(subject.toplevel),
            "{name}"
        );
    }
}

proptest! {
    /// Names and texts that are theirs, nearly so, or anything.
    #[test]
    fn any_name_and_text_can_be_looked_at(
        name in "(generation-|specialisation-|[0-9+-]|\\PC{0,9}){1,6}",
        text in "(?s)(options |init=|/|\\.\\.|nix|/init\n| |.){0,9}",
    ) {
        let started = ["/nix/", ""].map(|above| format!("options init={above}{text}/init\n"));
        for text in started.iter().chain([&text]) {
            for file_name in [format!("nixos-{name}.conf"), hashed_name(text)] {
                let Some(name) = EntryName::parse(&file_name) else {
                    continue;
                };
                let file = EntryFile { name, ..file("x.conf", text) };
                let Some(closure) = closure_of(&file) else {
                    continue;
                };
                let closure = closure.to_str().unwrap();
                let mut parts = closure.split('/');
                prop_assert!(parts.next() == Some("") && parts.all(|part| part != ".."), "{}", closure);
                let option = format!("init={closure}/init");
                let mut words = file.entry.options.split_whitespace();
                prop_assert!(words.any(|word| word == option), "{}", closure);
                let mut numbers = file_name.split("generation-").skip(1);
                let is_numbered = numbers.any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
                prop_assert!(is_numbered || file_name == hashed_name(text), "{}", file_name);
            }
        }
    }
}
