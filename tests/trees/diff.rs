//! What is different between two closures.

use std::collections::BTreeMap;

use anyhow::Result;
use lastgood_tests::command;
use lastgood_tests::mounts::Mounts;
use lastgood_tests::schema::Schema;
use lastgood_tests::tree::Tree;
use serde_json::Value;

use super::{ok, refused};

pub(super) const BEFORE: &str = r#"
    cd $out/etc
    /bin/busybox mkdir -p systemd/system/multi-user.target.wants nginx same
    echo "ExecStart=/nix/store/00000000000000000000000000000000-nginx/bin/nginx" > systemd/system/nginx.service
    /bin/busybox ln -s ../nginx.service systemd/system/multi-user.target.wants/nginx.service
    echo old > systemd/system/old.service
    echo "ExecStart=a" > systemd/system/app.service
    echo "listen 80;" > nginx/nginx.conf
    echo secret > key; echo 0600 > key.mode; echo same > same/file
    echo gone > gone.conf
    /bin/busybox mkdir -p lastgood
    printf '[health]\ndeadline-sec = 300\n[firewall]\nruleset = "etc/rules.nft"\n' > lastgood/lastgood.toml
    printf 'table inet a {\n  chain c { tcp dport 22 accept; }\n}\n' > rules.nft
    /bin/busybox mkdir -p $out/kernel-modules/lib/modules/6.1.1
"#;
pub(super) const AFTER: &str = r#"
    cd $out/etc
    /bin/busybox mkdir -p systemd/system/multi-user.target.wants nginx same
    echo "ExecStart=/nix/store/11111111111111111111111111111111-nginx/bin/nginx" > systemd/system/nginx.service
    /bin/busybox ln -s ../nginx.service systemd/system/multi-user.target.wants/nginx.service
    echo new > systemd/system/new.service
    echo "ExecStart=b" > systemd/system/app.service
    echo "listen 8080;" > nginx/nginx.conf
    echo secret > key; echo 0640 > key.mode; echo +100 > key.gid; echo same > same/file
    /bin/busybox mkdir -p lastgood
    printf '[health]\ndeadline-sec = 600\n[firewall]\nruleset = "etc/rules.nft"\n' > lastgood/lastgood.toml
    printf 'table inet a {\n  chain c { tcp dport 443 accept; }\n}\n' > rules.nft
    /bin/busybox mkdir -p $out/kernel-modules/lib/modules/6.1.2
"#;

pub(super) const PACKAGES: [[&str; 8]; 2] = [
    [
        "glibc-2.37",
        "nginx-1.24.0",
        "nginx-1.24.0-doc",
        "gone",
        "two-1",
        "two-2",
        "gcc-13.2.0-lib",
        "a--1",
    ],
    [
        "glibc-2.37",
        "nginx-1.26.1",
        "nginx-1.26.1-doc",
        "new-thing-unstable-2024",
        "two-1",
        "two-3",
        "gcc-13.3.0-lib",
        "h-",
    ],
];

fn two() -> Result<(Tree, [String; 2])> {
    let tree = Tree::new()?;
    let mut toplevels = [String::new(), String::new()];
    for (at, extra) in [BEFORE, AFTER].into_iter().enumerate() {
        let toplevel = tree.build_needing(&(at + 1).to_string(), extra, &PACKAGES[at])?;
        tree.set(&toplevel)?;
        toplevels[at] = toplevel.display().to_string();
    }
    Ok((tree, toplevels))
}

#[test]
fn each_difference_is_a_line() -> Result<()> {
    let (tree, toplevels) = two()?;
    let told = tree.lastgood(&["diff", "1", "2"])?;
    let told = ok(&told);
    let initrd = told
        .lines()
        .find(|line| line.starts_with("  ~ initrd: "))
        .unwrap_or_default();
    let expected = format!(
        "generation 1 ({}) -> generation 2 ({})
packages
  - a: -1
  ~ gcc: 13.2.0 -> 13.3.0
  - gone: no version
  + h-: no version
  + new-thing-unstable: 2024
  ~ nginx: 1.24.0 -> 1.26.1
  ~ nixos-system-tree: 1 -> 2
  ~ two: 2 -> 3
units
  ~ app.service
  + new.service
  ~ nginx.service (only store paths in it)
  - old.service
/etc
  - gone.conf
  ~ key: mode 0600 -> mode 0640, group +100
  ~ nginx/nginx.conf
  ~ rules.nft
firewall
  -   chain c {{ tcp dport 22 accept; }}
  +   chain c {{ tcp dport 443 accept; }}
boot
{initrd}
  ~ kernel: 6.1.1 -> 6.1.2
  ~ system: 26.05.1 -> 26.05.2
kernel parameters
  - number=1
  + number=2
lastgood.toml
  ~ health.deadline-sec: 300 -> 600
",
        toplevels[0], toplevels[1]
    );
    assert_eq!(told, expected);

    // A path means the same as the generation, and so does one in no profile.
    let by_path = tree.lastgood(&["diff", &toplevels[0], &toplevels[1]])?;
    assert_eq!(ok(&by_path), told);
    tree.delete_generation(1)?;
    let by_path = tree.lastgood(&["diff", &toplevels[0], "2", "--json"])?;
    let json: Value = serde_json::from_str(ok(&by_path))?;
    Schema::of("diff")?.check(&json)?;
    assert_eq!(json["from"]["generation"], Value::Null);
    assert_eq!(json["to"]["generation"], "2");
    let count = |section: &str| json[section].as_array().unwrap().len();
    let all = [
        "packages",
        "units",
        "etc",
        "firewall",
        "boot",
        "parameters",
        "config",
        "leftOut",
    ];
    assert_eq!(all.map(count), [8, 4, 4, 2, 3, 2, 1, 0]);

    let same = tree.lastgood(&["diff", "2", "2"])?;
    assert_eq!(ok(&same).lines().nth(1), Some("no difference"));
    refused(
        &tree.lastgood(&["diff", "2", "7"])?,
        &["generation 7 is in no profile"],
    );
    refused(
        &tree.lastgood(&["diff", "2", "/gone"])?,
        &["cannot read the closure /gone: No such file"],
    );
    Ok(())
}

/// Name, what is gone, what is new: of each package, by Nix itself.
fn by_nix(told: &str) -> BTreeMap<String, [Vec<String>; 2]> {
    let versions = |text: &str| -> Vec<String> {
        let all = text.split(", ").filter(|one| *one != "∅");
        all.map(|one| one.replace('ε', "")).collect()
    };
    let packages = told.lines().filter_map(|line| {
        let (name, rest) = line.split_once(": ")?;
        let (from, to) = rest.split_once(" → ")?;
        Some((name.to_owned(), [versions(from), versions(to)]))
    });
    packages.collect()
}

#[test]
fn packages_are_those_of_nix_store_diff_closures() -> Result<()> {
    let (tree, toplevels) = two()?;
    for [from, to] in [[0, 1], [1, 0]] {
        let [from, to] = [&toplevels[from], &toplevels[to]];
        let expected = by_nix(&tree.nix_diff(from.as_ref(), to.as_ref())?);
        assert_eq!(expected.len(), 8, "{expected:?}");
        let told = tree.lastgood(&["diff", from, to, "--json"])?;
        let json: Value = serde_json::from_str(ok(&told))?;
        let strings = |list: &Value| -> Vec<String> {
            let all = list.as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let packages = json["packages"].as_array().unwrap().iter();
        let found: BTreeMap<String, [Vec<String>; 2]> = packages
            .map(|one| {
                let name = one["name"].as_str().unwrap_or_default().to_owned();
                (name, [strings(&one["from"]), strings(&one["to"])])
            })
            .collect();
        assert_eq!(found, expected);
    }
    Ok(())
}

/// A host without Nix compares the rest, and says what it has not compared.
#[test]
fn what_cannot_be_had_is_left_out_and_told() -> Result<()> {
    let _mounts = Mounts::private()?;
    let (tree, _) = two()?;
    let whole = tree.lastgood(&["diff", "1", "2"])?;
    command::run("mount", ["--bind", "/dev/null", "/usr/bin/nix-store"])?;
    let told = tree.lastgood(&["diff", "1", "2"])?;
    let told = ok(&told);
    let left_out = "left out: packages: cannot run nix-store: it is in none of ";
    assert!(told.contains(left_out), "{told}");
    assert!(told.trim_end().ends_with("; install Nix"), "{told}");
    let (_, rest) = ok(&whole).split_once("units\n").unwrap();
    assert!(told.contains(rest), "{told}");
    assert!(!told.contains("packages\n"), "{told}");
    Ok(())
}
