//! What is in the kernel is left alone, replaced, or loaded again.

use super::*;

/// A machine on which the firewall's unit is started again and again.
struct Machine {
    namespace: Namespace,
    tree: tempfile::TempDir,
}

/// Counters, and a set that was filled meanwhile.
const COUNTING: &str = "table inet ours {
    set seen { type ipv4_addr; flags dynamic, timeout; timeout 1h; }
    chain input { type filter hook input priority 0; counter; }
}
table ip more { chain x { accept; }; }
";

impl Machine {
    fn new(ruleset: &str) -> Self {
        let (tree, _) = tree(ruleset);
        let namespace = Namespace::new();
        namespace.run(DOCKER).unwrap();
        Self { namespace, tree }
    }

    fn says(&self, ruleset: &str) {
        let path = self.tree.path().join("nix/store/a-nixos/etc/nftables.conf");
        boot_entries::durable::put_text(ruleset, &path).unwrap();
    }

    fn restart(&self) -> Outcome {
        load_from(
            &self.namespace,
            &Root::new(self.tree.path()),
            &config(&[22]),
        )
        .unwrap()
    }

    fn loads(&self) {
        let outcome = self.restart();
        assert!(matches!(outcome, Outcome::Loaded(_)), "{outcome:?}");
    }

    fn leaves_alone(&self) {
        let before = self.listing();
        let outcome = self.restart();
        assert!(matches!(outcome, Outcome::Unchanged(_)), "{outcome:?}");
        assert_eq!(self.listing(), before);
    }

    /// Everything, with the time that elements of sets have left taken out.
    fn listing(&self) -> String {
        let listed = self.namespace.nft(&["-a", "list", "ruleset"]).unwrap();
        let lines = listed
            .lines()
            .map(|line| line.split(" expires ").next().unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Lets three packets pass the counter.
    fn ping(&self) {
        program::stdout_of(
            self.namespace
                .command("ip")
                .args(["link", "set", "lo", "up"]),
        )
        .unwrap();
        let ping = [
            "-c",
            "for i in 1 2 3; do : < /dev/null > /dev/udp/127.0.0.1/9; done; for i in 1 2 3; do echo x > /dev/udp/127.0.0.1/9; done",
        ];
        program::stdout_of(self.namespace.command("bash").args(ping)).unwrap();
    }
}

#[test]
fn a_restart_with_nothing_new_touches_nothing() {
    let machine = Machine::new(COUNTING);
    machine.loads();
    machine.ping();
    machine
        .namespace
        .run("add element inet ours seen { 192.0.2.1 }")
        .unwrap();
    // Somebody's, made after ours: it is asked first, and stays so.
    machine
        .namespace
        .run("table ip libvirt { chain x { type filter hook input priority 0; counter; }; }")
        .unwrap();
    machine
        .namespace
        .run("add rule inet ours input tcp dport 8080 accept")
        .unwrap();
    let listing = machine.listing();
    assert!(
        !listing.contains("counter packets 0 bytes 0 # handle 3"),
        "{listing}"
    );
    assert!(listing.contains("192.0.2.1"), "{listing}");
    for _ in 0..3 {
        machine.leaves_alone();
    }
}

#[test]
fn a_changed_one_replaces_its_own_tables_and_no_other() {
    let machine = Machine::new(COUNTING);
    machine.loads();
    machine.says("table inet ours { chain input { type filter hook input priority 0; tcp dport 23 accept; }; }\n");
    machine.loads();
    // What it does not name any more was loaded by us, and goes.
    assert_eq!(
        machine.namespace.tables(),
        ["table ip docker", "table inet ours"]
    );
    let listing = machine.listing();
    assert!(
        listing.contains("dport 23") && !listing.contains("seen"),
        "{listing}"
    );
    machine.leaves_alone();
    // Somebody has taken a name of ours by now.
    machine.says(COUNTING);
    machine.loads();
    machine
        .namespace
        .run("delete table ip more; table ip more { chain theirs { }; }")
        .unwrap();
    machine.says(GOOD);
    machine.loads();
    assert!(
        machine.listing().contains("chain theirs"),
        "{}",
        machine.listing()
    );
}

#[test]
fn what_somebody_has_taken_away_is_loaded_again() {
    for harm in [
        "flush ruleset",
        "delete table inet ours",
        "delete table ip more",
        "flush chain inet ours input",
        "flush table inet ours",
        "delete set inet ours seen",
        "delete table ip more; table ip more { chain x { drop; }; }",
        // Inside of it are the handles of the one that was loaded, and that one's own as well.
        "delete table inet ours; table inet ours { set seen { type ipv4_addr; }; chain input { drop; drop; drop; drop; }; }",
    ] {
        let machine = Machine::new(COUNTING);
        machine.loads();
        machine.namespace.run(harm).unwrap();
        machine.loads();
        let ours = machine.listing();
        assert!(
            ours.contains("counter packets") && ours.contains("set seen"),
            "{harm}: {ours}"
        );
        assert_eq!(ours.matches("accept # handle").count(), 1, "{harm}: {ours}");
        machine.leaves_alone();
    }
}

#[test]
fn one_that_deletes_its_own_tables_is_as_good() {
    let old = format!("table inet ours\ndelete table inet ours\n{GOOD}");
    let machine = Machine::new(&old);
    machine.loads();
    machine.leaves_alone();
    machine.says(&format!("{old}# changed\n"));
    machine.loads();
    let listing = machine.listing();
    assert_eq!(listing.matches("dport 22").count(), 1, "{listing}");
}

#[test]
fn a_machine_that_was_closed_in_between_is_opened_again() {
    let machine = Machine::new(COUNTING);
    machine.loads();
    machine.says("nonsense");
    let outcome = machine.restart();
    assert!(matches!(outcome, Outcome::Closed(_)), "{outcome:?}");
    assert!(machine.listing().contains("lastgood-lockdown"));
    machine.says(COUNTING);
    let outcome = machine.restart();
    assert!(matches!(outcome, Outcome::Unchanged(_)), "{outcome:?}");
    assert!(!machine.listing().contains("lastgood-lockdown"));
}

/// A table with an owner is gone when nft ends. Said by a file that is read as a table, and so not seen before.
#[test]
fn a_table_that_is_gone_at_once_closes_the_machine() {
    let machine = Machine::new("table inet ours {\n include \"/nix/store/flags\"\n}\n");
    let flags = machine.tree.path().join("nix/store/flags");
    boot_entries::durable::put_text("flags owner\n", &flags).unwrap();
    let top = format!("table inet ours {{\n include \"{}\"\n}}\n", flags.display());
    let root = Root::new("/");
    let path = machine.tree.path().join("nix/store/a-nixos");
    boot_entries::durable::put_text(&top, &path.join("etc/nftables.conf")).unwrap();
    let ruleset = wanted(&root, &path, &config(&[22]), When::Boot)
        .unwrap()
        .unwrap();
    let means = Means {
        nft: &|| Ok(machine.namespace.command("nft")),
        close: &no_kernel,
        keep: &|| {},
        ask: &unit::ask,
    };
    let refusal = load_ruleset(means, &Root::new(machine.tree.path()), ruleset).unwrap_err();
    assert!(matches!(refusal, Refusal::Gone { .. }), "{refusal}");
}

/// Every word of `[firewall]`, alone and together. No interface that is named is there.
#[test]
fn rules_are_loaded_and_left_alone() {
    let words = [
        "allowed-tcp-ports = [22, 80]",
        "allowed-udp-ports = [0, 65535]",
        "allowed-tcp-port-ranges = [{ from = 1, to = 65535 }]",
        "allowed-udp-port-ranges = [{ from = 60000, to = 61000 }, { from = 60500, to = 62000 }]",
        "trusted-interfaces = [\"wg0\", \"veth*\", \"eth0.5@x\"]",
        "ping-limit = \"10/minute burst 5 packets\"",
        "reject-packets = true",
        "log-refused-connections = true",
        "check-reverse-path = \"loose\"",
        "extra-input-rules = \"ip saddr { 10.0.0.0/8, 192.0.2.1 } tcp dport 9100 accept\"",
        "filter-forward = true",
        "extra-forward-rules = \"iifname \\\"br0\\\" oifname \\\"eth0\\\" accept\"",
        "interfaces.\"br-lan*\".allowed-tcp-ports = [53]",
        "interfaces.eth1.allowed-udp-port-ranges = [{ from = 1, to = 2 }]",
    ];
    let all = words.join("\n");
    for text in
        words
            .into_iter()
            .chain(["", &all, "allow-ping = false", "check-reverse-path = false"])
    {
        let parsed = config::Config::parse(&format!("[firewall]\nenable = true\n{text}\n"));
        let firewall = parsed.unwrap().firewall;
        let machine = Machine::new("");
        let root = Root::new(machine.tree.path());
        for restart in 0..2 {
            let outcome = load_from(&machine.namespace, &root, &firewall).unwrap();
            let is_new = matches!(outcome, Outcome::Loaded(_));
            assert_eq!(is_new, restart == 0, "{text}: {outcome:?}");
        }
        assert_eq!(
            machine.namespace.tables(),
            ["table ip docker", "table inet lastgood-fw"]
        );
    }
}

#[test]
fn extra_rules_with_a_mistake_close_the_machine_and_are_named() {
    let text = "[firewall]\nenable = true\nextra-input-rules = \"tcp dport 70000 accept\"\n";
    let firewall = config::Config::parse(text).unwrap().firewall;
    let machine = Machine::new("");
    let root = Root::new(machine.tree.path());
    let outcome = load_from(&machine.namespace, &root, &firewall).unwrap();
    let Outcome::Closed(why) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        why.to_string(),
        "cannot load the ruleset /nix/store/a-nixos/etc/lastgood/lastgood.toml: Service out of range (`tcp dport 70000 accept`)"
    );
}
