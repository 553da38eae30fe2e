//! With the real `nft`. Each look is in a namespace of its own.

use super::*;

use crate::system::program;

fn look_at(script: &str) -> Result<(), String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, script.as_bytes()).unwrap();
    let ruleset = Ruleset {
        name: PathBuf::from("/nix/store/a/etc/nftables.conf"),
        script: format!("include \"{}\"\n", file.path().display()),
        tables: Vec::new(),
        digest: String::new(),
    };
    look(&|| Ok(Command::new("nft")), &ruleset).map_err(|refusal| refusal.to_string())
}

fn rule(rule: &str) -> String {
    format!("table inet a {{\n chain b {{\n  {rule}\n }}\n}}\n")
}

#[test]
fn what_no_boot_could_load_is_told_with_its_place() {
    for (text, words) in [
        (
            rule("tcp dport 70000 accept"),
            "line 3, column 13: Service out of range",
        ),
        (
            rule("tcp dprot 80 accept"),
            "line 3, column 7: syntax error",
        ),
        (
            rule("jump nowhere"),
            "line 3, column 8: Could not process rule",
        ),
        (
            rule("ip saddr no.such.host.example accept"),
            "there is no network yet",
        ),
        (rule("iif no-such-one accept"), "write iifname"),
        ("table inet a {\n".to_owned(), "syntax error"),
        (
            "table inet a { chain b { type route hook input priority 0; }; }\n".to_owned(),
            // Each release in its own words.
            "not supported",
        ),
    ] {
        let told = look_at(&text).unwrap_err();
        assert!(told.contains(words), "{text}: {told}");
        assert!(
            told.starts_with("cannot load the ruleset /nix/store/a/etc/nftables.conf: "),
            "{told}"
        );
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

/// Activation makes the closure's users first, and interfaces come when they come.
#[test]
fn what_a_boot_can_load_is_not_refused() {
    for fine in [
        rule("tcp dport 22 accept"),
        rule("iif lo accept"),
        rule("iifname no-such-one accept"),
        rule("meta skuid no-such-user accept"),
        rule("meta skgid no-such-group accept"),
    ] {
        assert_eq!(look_at(&fine), Ok(()), "{fine}");
    }
}

/// What is in the kernel already would be in the way, or help.
#[test]
fn tables_of_this_machine_neither_help_nor_hinder() {
    // This thread's machine.
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let nft = |words: &[&str]| program::stdout_of(Command::new("nft").args(words)).unwrap();
    nft(&["table inet a { chain b { type filter hook output priority 0; }; chain c { }; }"]);
    let before = nft(&["-a", "list", "ruleset"]);
    let other = "table inet a { chain b { type filter hook input priority 0; }; }\n";
    assert_eq!(look_at(other), Ok(()));
    let said = alone(&|| Ok(Command::new("nft")), "delete chain inet a c\n").unwrap();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(nft(&["-a", "list", "ruleset"]), before);
}

#[test]
fn where_nft_cannot_look_it_is_left_out() {
    let ruleset = Ruleset {
        name: PathBuf::from("/nix/store/a/etc/nftables.conf"),
        script: rule("accept"),
        tables: Vec::new(),
        digest: String::new(),
    };
    let unable = || {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'mnl.c:60: Unable to initialize Netlink socket: Protocol not supported' >&2; exit 3"]);
        Ok(command)
    };
    assert!(look(&unable, &ruleset).is_ok());
}
