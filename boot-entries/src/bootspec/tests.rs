use super::*;
use proptest::prelude::*;

fn document(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut value = serde_json::json!({
        "org.nixos.bootspec.v1": {
            "label": "NixOS", "system": "x86_64-linux", "init": "/nix/store/t/init",
            "kernel": "/nix/store/k/bzImage", "initrd": "/nix/store/i/initrd",
            "kernelParams": ["quiet"], "toplevel": "/nix/store/t",
        },
        "org.nixos.systemd-boot": { "sortKey": "nixos" },
        "com.example.anything": [1, 2],
    });
    change(&mut value);
    value.to_string()
}

#[test]
fn extensions_and_missing_specialisations_are_fine() {
    let read = Document::parse(&document(|_| ())).unwrap();
    read.check().unwrap();
    assert_eq!(read.bootspec.kernel_params, ["quiet"]);
    assert_eq!(read.specialisations, Specialisations::default());
}

#[test]
fn what_cannot_be_an_entry_is_refused() {
    let spec = "org.nixos.bootspec.v1";
    let cases: [(&str, &str, serde_json::Value); 10] = [
        ("system", "x86_64-linux", "aarch64-linux".into()),
        ("init", "absolute", "init".into()),
        ("init", "command line", "/nix/store/a b/init".into()),
        ("label", "control", "a\nlinux /evil".into()),
        ("kernelParams", "init=", vec!["init=/bin/sh"].into()),
        ("kernelParams", "init=", vec!["\"init=/bin/sh\""].into()),
        ("kernelParams", "init=", vec!["quiet init=/bin/sh"].into()),
        ("kernelParams", "control", vec!["a\nb"].into()),
        ("initrdSecrets", "absolute", "append".into()),
        ("initrd", "without an initrd", Value::Null),
    ];
    for (key, word, bad) in cases {
        let text = document(|value| {
            value[spec]["initrdSecrets"] = "/nix/store/s/append".into();
            value[spec][key] = bad.clone();
        });
        let mistake = Document::parse(&text).unwrap().check().unwrap_err();
        let mistake = mistake.to_string();
        assert!(mistake.contains(word), "{key}: {mistake}");
    }
}

#[test]
fn extensions_of_systemd_boot() {
    let text = document(|value| {
        value["org.nixos.systemd-boot"]["devicetree"] = "/nix/store/d/board.dtb".into();
        value["org.nixos.extra-initrd.v1"] = serde_json::json!({ "paths": ["/a b.img"] });
    });
    let read = Document::parse(&text).unwrap();
    read.check().unwrap();
    assert_eq!(
        read.devicetree.unwrap(),
        Path::new("/nix/store/d/board.dtb")
    );
    assert_eq!(read.extra_initrds, ["/a b.img"]);
    for bad in [
        "",
        "/",
        ".",
        "../a",
        "/../a",
        "/a/../b",
        "/a\nlinux /b",
        "/a ",
        "a\t",
    ] {
        let text = document(|value| {
            value["org.nixos.extra-initrd.v1"] = serde_json::json!({ "paths": [bad] });
        });
        let mistake = Document::parse(&text).unwrap().check().unwrap_err();
        assert!(mistake.to_string().contains("extra initrd"), "{mistake}");
    }
}

/// NixOS's `system.boot.extraInitrd.paths` are relative to the ESP, and its builder writes `initrd /` and then the
/// path.
#[test]
fn extra_initrds_are_relative_to_boot_or_from_its_top() {
    let paths = ["custom.cpio", "./a/b.img", "/c", "//d//e/", "a b.img"];
    let text = document(|value| {
        value["org.nixos.extra-initrd.v1"] = serde_json::json!({ "paths": paths });
    });
    let read = Document::parse(&text).unwrap();
    read.check().unwrap();
    let whole = ["/custom.cpio", "/a/b.img", "/c", "/d/e", "/a b.img"];
    assert_eq!(read.extra_initrds, whole);
}

#[test]
fn an_extension_that_is_null_is_none() {
    let nothing = Document::parse(&document(|_| ())).unwrap();
    let null = |extension: &str, key: &str| {
        let text = document(|value| match key {
            "" => value[extension] = Value::Null,
            key => value[extension] = serde_json::json!({ key: null }),
        });
        Document::parse(&text).unwrap()
    };
    for (extension, key) in [
        ("org.nixos.systemd-boot", ""),
        ("org.nixos.systemd-boot", "devicetree"),
        ("org.nixos.extra-initrd.v1", ""),
        ("org.nixos.extra-initrd.v1", "paths"),
        ("org.nixos.specialisation.v1", ""),
    ] {
        assert_eq!(null(extension, key), nothing, "{extension} {key}");
    }
}

#[test]
fn one_specialisations_trouble_is_no_others() {
    let good = serde_json::json!({ "org.nixos.bootspec.v1": { "toplevel": "/nix/store/c" } });
    let text = document(|value| {
        value["org.nixos.specialisation.v1"] = serde_json::json!({
            "good": good, "null": null, "number": 3, "bare": {}, "": good, "a\nb": good,
        });
    });
    let read = Document::parse(&text).unwrap();
    read.check().unwrap();
    let all = read.specialisations;
    assert_eq!(all.closures.keys().collect::<Vec<_>>(), ["good"]);
    assert_eq!(all.troubles.len(), 5, "{all:?}");
    for odd in [serde_json::json!([]), serde_json::json!("x")] {
        let text = document(|value| value["org.nixos.specialisation.v1"] = odd.clone());
        let all = Document::parse(&text).unwrap().specialisations;
        assert_eq!((all.closures.len(), all.troubles.len()), (0, 1), "{odd}");
    }
    let text = document(|value| {
        for number in 0..=MOST_SPECIALISATIONS {
            value["org.nixos.specialisation.v1"][number.to_string()] = good.clone();
        }
    });
    let all = Document::parse(&text).unwrap().specialisations;
    let counts = (all.closures.len(), all.troubles.len());
    assert_eq!(counts, (MOST_SPECIALISATIONS, 1));
}

/// `"\nix/store"` is a line break in JSON, and a mistake is told in one line.
#[test]
fn a_line_break_is_told_in_one_line() {
    for key in ["init", "system", "kernel", "toplevel"] {
        let text = document(|value| value["org.nixos.bootspec.v1"][key] = "\nix/store".into());
        let mistake = Document::parse(&text)
            .and_then(|read| read.check())
            .unwrap_err();
        assert!(!mistake.to_string().contains('\n'), "{key}: {mistake}");
    }
}

proptest! {
    /// Any text at all, and any small damage to a good one.
    #[test]
    fn no_text_panics(text in "(?s).{0,300}", at: prop::sample::Index, with in r"(?s)(.|\\n|\\u0000){0,3}") {
        let mut damaged = document(|_| ());
        let at = at.index(damaged.len());
        damaged.replace_range(at..=at, &with);
        for text in [text, damaged] {
            if let Err(mistake) = Document::parse(&text).and_then(|read| read.check()) {
                prop_assert!(!mistake.to_string().contains(char::is_control), "{}", mistake);
            }
        }
    }

    /// Any JSON where a string, a path or an object belongs.
    #[test]
    fn no_value_panics(
        key in prop::sample::select(vec![
            "org.nixos.bootspec.v1", "org.nixos.specialisation.v1",
            "org.nixos.systemd-boot", "org.nixos.extra-initrd.v1",
        ]),
        inner in prop::sample::select(vec![
            "", "init", "kernel", "initrd", "initrdSecrets", "kernelParams", "label", "system", "toplevel", "paths",
            "devicetree", "x",
        ]),
        odd in prop::sample::select(vec![
            "null", "3", "-1e400", "[]", "{}", "[[[[[]]]]]", "\"\"", "\"\\u0000\"", "\"/..\"", "[\"/../x\"]", "[null]",
            "\"a\\nb\"", "\"/a\\nb\"", "[\"/a\\nb\"]",
        ]),
    ) {
        let Ok(odd) = serde_json::from_str::<Value>(odd) else { return Ok(()) };
        let text = document(|value| {
            if inner.is_empty() || !value[key].is_object() && !value[key].is_null() {
                value[key] = odd;
            } else {
                value[key][inner] = odd;
            }
        });
        if let Err(mistake) = Document::parse(&text).and_then(|read| read.check()) {
            prop_assert!(!mistake.to_string().contains(char::is_control), "{}", mistake);
        }
    }
}

#[test]
fn json_errors_have_a_place() {
    let mistake = Document::parse("{\n  \"org.nixos.bootspec.v1\": 3\n}").unwrap_err();
    assert!(mistake.to_string().contains("line 2"), "{mistake}");
}
