use super::*;

use boot_entries::durable::{put_link, put_text};

const CLOSURE: &str = "/nix/store/a-nixos";

fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    for (path, text) in files {
        put_text(text, &root.join(path)).unwrap();
    }
    (tree, root)
}

fn read_as(root: &Root, path: &str, when: When) -> Result<Ruleset, String> {
    let closure = Path::new(CLOSURE);
    read(root, closure, &closure.join(path), when).map_err(|refusal| refusal.to_string())
}

#[test]
fn includes_are_followed_and_wildcards_refused() {
    let (_tree, root) = tree(&[
        ("/nix/store/r/fine", "table ip a {}\n"),
        ("/nix/store/r/bad", "\nflush ruleset\n"),
        (
            "/nix/store/a-nixos/top-fine",
            "include \"/nix/store/r/fine\"\ntable ip6 b {}\ntable ip a {}\n",
        ),
        (
            "/nix/store/a-nixos/top-bad",
            "include \"/nix/store/r/fine\"\ninclude \"/nix/store/r/bad\"\n",
        ),
        (
            "/nix/store/a-nixos/glob",
            "include \"/nix/store/r/*.nft\"\n",
        ),
        ("/nix/store/a-nixos/relative", "  include \"rules.nft\"\n"),
        (
            "/nix/store/a-nixos/loop",
            "include \"/nix/store/a-nixos/loop\"\n",
        ),
    ]);
    for when in [When::Install, When::Boot] {
        let fine = read_as(&root, "top-fine", when).unwrap();
        let tables: Vec<String> = fine.tables.iter().map(ToString::to_string).collect();
        assert_eq!(tables, ["ip a", "ip6 b"]);
        for (path, words) in [
            (
                "top-bad",
                "ruleset /nix/store/r/bad says `flush ruleset` in line 2, column 1",
            ),
            ("glob", "\"/nix/store/r/*.nft\" in line 1, column 1"),
            ("relative", "\"rules.nft\" in line 1, column 3"),
            ("loop", "includes"),
            ("absent", "cannot read"),
            (".", "cannot read"),
        ] {
            let told = read_as(&root, path, when).unwrap_err();
            assert!(told.contains(words), "{path}: {told}");
        }
    }
}

/// What is outside of the store is another one's by the next boot. A generation that was installed when that was no
/// mistake goes on with it: without its firewall it would be closed.
#[test]
fn what_leaves_the_store_is_met_at_boot_and_not_asked_for() {
    let (_tree, root) = tree(&[
        ("/etc/host.nft", "table ip host {}\n"),
        ("/nix/store/a-nixos/out", "\n include \"/etc/host.nft\"\n"),
        (
            "/nix/store/a-nixos/up",
            "include \"/nix/store/../../etc/host.nft\"\n",
        ),
        (
            "/nix/store/a-nixos/link-out",
            "include \"/nix/store/a-nixos/link\"\n",
        ),
    ]);
    put_link(
        Path::new("/etc/host.nft"),
        &root.join("/nix/store/a-nixos/link"),
    )
    .unwrap();
    for (path, words) in [
        (
            "out",
            "\"/etc/host.nft\" in line 2, column 2, which is not in the store",
        ),
        ("up", "which is not in the store"),
        ("link-out", "which is not in the store"),
        ("link", "/nix/store/a-nixos/link is not in the store"),
        ("/etc/host.nft", "/etc/host.nft is not in the store"),
        ("../../../etc/host.nft", "is not in the store"),
    ] {
        let told = read_as(&root, path, When::Install).unwrap_err();
        assert!(told.contains(words), "{path}: {told}");
        let met = read_as(&root, path, When::Boot).unwrap();
        assert_eq!(met.tables.len(), 1, "{path}");
    }
}

#[test]
fn one_that_lets_everything_pass_is_told() {
    let (_tree, root) = tree(&[
        ("/nix/store/a-nixos/blank", " \n\n"),
        ("/nix/store/a-nixos/words", "# nothing\n"),
        (
            "/nix/store/a-nixos/owner",
            "table ip a {\n flags owner\n}\n",
        ),
    ]);
    let install = |path| read_as(&root, path, When::Install).unwrap_err();
    assert!(install("blank").contains("makes no table"));
    assert!(install("words").contains("makes no table"));
    assert!(install("owner").contains("`owner` in line 2, column 2"));
    let boot = |path| read_as(&root, path, When::Boot);
    assert!(boot("blank").is_err());
    assert!(boot("words").is_ok());
    assert!(boot("owner").is_err());
}

#[test]
fn the_digest_is_that_of_everything_that_is_read() {
    let digest = |one: &str, two: &str| {
        let top = format!("include \"/nix/store/r/two\"\n{one}");
        let (_tree, root) = tree(&[("/nix/store/r/two", two), ("/nix/store/a-nixos/top", &top)]);
        read_as(&root, "top", When::Boot).unwrap().digest
    };
    let one = digest("table ip a {}", "table ip b {}");
    assert_eq!(one, digest("table ip a {}", "table ip b {}"));
    assert_ne!(one, digest("table ip a {} ", "table ip b {}"));
    assert_ne!(one, digest("table ip a {}", "table ip b { }"));
}

#[test]
fn extra_rules_stay_in_their_chain() {
    let (_tree, root) = tree(&[("/nix/store/r/fine", "udp dport 1 accept\n")]);
    let of = |extra: &str| {
        let text = format!("[firewall]\nenable = true\nextra-input-rules = '''\n{extra}\n'''\n");
        let config = config::Config::parse(&text).unwrap();
        of_rules(&root, Path::new(CLOSURE), &config.firewall, When::Install)
            .map_err(|refusal| refusal.to_string())
    };
    let fine = of("tcp dport { 80, 443 } accept\ninclude \"/nix/store/r/fine\"").unwrap();
    assert_eq!(fine.tables.len(), 1);
    assert_eq!(
        fine.name,
        Path::new("/nix/store/a-nixos/etc/lastgood/lastgood.toml")
    );
    for (extra, words) in [
        (
            "}\n}\ntable ip nat { chain x {\n",
            "make the table ip nat, which is not theirs",
        ),
        ("accept }\nflags owner\nchain x {", "`owner`"),
        (
            "}}\nflush ruleset\ntable inet lastgood-fw { chain x {",
            "`flush ruleset`",
        ),
        ("include \"/etc/x\"", "not in the store"),
    ] {
        let told = of(extra).unwrap_err();
        assert!(told.contains(words), "{extra}: {told}");
    }
    assert_ne!(fine.digest, of("tcp dport 80 accept").unwrap().digest);
}
