//! With the real `nft`, in a network namespace of each test's own: nothing here can reach the machine's rules.

use super::*;

use crate::system::program;

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// A network namespace, for as long as its process lives.
struct Namespace(Child);

impl Namespace {
    fn new() -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec sleep 300"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0];
        let mut out = child.stdout.take().unwrap();
        std::io::Read::read_exact(&mut out, &mut ready).expect("a network namespace needs root");
        Self(child)
    }

    fn command(&self, program: &str) -> Command {
        let pid = self.0.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &pid, "--", program]);
        command
    }

    fn nft(&self, words: &[&str]) -> Result<String, program::Error> {
        program::stdout_of(self.command("nft").args(words))
    }

    fn run(&self, script: &str) -> Result<(), program::Error> {
        self.nft(&[script]).map(drop)
    }

    fn tables(&self) -> Vec<String> {
        let listed = self.nft(&["list", "tables"]).unwrap();
        listed.lines().map(ToOwned::to_owned).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

const CLOSURE: &str = "/nix/store/a-nixos";
const GOOD: &str = "table inet ours { chain input { type filter hook input priority 0; policy drop; tcp dport 22 accept; }; }\n";
const DOCKER: &str = "table ip docker { chain forward { type filter hook forward priority 0; }; }";

fn tree(ruleset: &str) -> (tempfile::TempDir, Root) {
    let tree = tempfile::tempdir().unwrap();
    let etc = tree.path().join("nix/store/a-nixos/etc");
    std::fs::create_dir_all(&etc).unwrap();
    let mut file = File::create(etc.join("nftables.conf")).unwrap();
    file.write_all(ruleset.as_bytes()).unwrap();
    let root = Root::new(tree.path());
    (tree, root)
}

fn config(ports: &[u16]) -> config::Firewall {
    config::Firewall::of_ruleset("etc/nftables.conf".into(), ports.to_vec())
}

fn load_in(
    namespace: &Namespace,
    ruleset: &str,
    firewall: &config::Firewall,
) -> Result<Outcome, NotClosed> {
    let (_tree, root) = tree(ruleset);
    load_from(namespace, &root, firewall)
}

/// Nothing here may reach the machine's own rules.
fn no_kernel(_: &[u16]) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(93))
}

fn load_from(
    namespace: &Namespace,
    root: &Root,
    firewall: &config::Firewall,
) -> Result<Outcome, NotClosed> {
    let nft = || Ok(namespace.command("nft"));
    let means = Means {
        nft: &nft,
        close: &no_kernel,
    };
    load_with(means, root, Path::new(CLOSURE), firewall)
}

#[test]
fn a_good_ruleset_is_loaded_beside_the_tables_of_others() {
    let namespace = Namespace::new();
    namespace.run(DOCKER).unwrap();
    let outcome = load_in(&namespace, GOOD, &config(&[22])).unwrap();
    assert!(matches!(outcome, Outcome::Loaded(_)), "{outcome:?}");
    assert_eq!(namespace.tables(), ["table ip docker", "table inet ours"]);
}

#[test]
fn a_ruleset_that_nft_refuses_closes_the_machine_and_nothing_else() {
    for bad in [
        "nonsense\n".to_owned(),
        format!("{GOOD}table inet x {{ chain y {{ iif no-such-interface accept; }}; }}\n"),
        "table inet x {\n".to_owned(),
    ] {
        let namespace = Namespace::new();
        namespace.run(DOCKER).unwrap();
        let outcome = load_in(&namespace, &bad, &config(&[22, 2222])).unwrap();
        let Outcome::Closed(why) = outcome else {
            panic!("{bad}: {outcome:?}")
        };
        let where_to = if bad.contains("{\n") && !bad.contains('}') {
            "unexpected end of file"
        } else {
            "nftables.conf, line "
        };
        assert!(why.to_string().contains(where_to), "{why}");
        assert_eq!(
            namespace.tables(),
            ["table ip docker", "table inet lastgood-lockdown"],
            "nothing of the refused ruleset may be in"
        );
        let rules = namespace.nft(&["list", "ruleset"]).unwrap();
        assert_eq!(rules.matches("policy drop").count(), 2, "{rules}");
        assert!(rules.contains("tcp dport { 22, 2222 } accept"), "{rules}");
    }
}

#[test]
fn a_ruleset_that_flushes_everybody_s_is_refused() {
    let namespace = Namespace::new();
    namespace.run(DOCKER).unwrap();
    let flushing = format!("#!/usr/sbin/nft -f\nflush ruleset\n{GOOD}");
    let outcome = load_in(&namespace, &flushing, &config(&[22])).unwrap();
    let Outcome::Closed(why) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(why.to_string().contains("line 2"), "{why}");
    assert_eq!(
        namespace.tables(),
        ["table ip docker", "table inet lastgood-lockdown"]
    );
}

#[test]
fn an_absent_ruleset_closes_the_machine() {
    let namespace = Namespace::new();
    let firewall = config::Firewall::of_ruleset("etc/other.conf".into(), vec![]);
    let outcome = load_in(&namespace, GOOD, &firewall).unwrap();
    assert!(matches!(outcome, Outcome::Closed(Refusal::Ruleset(_))));
    let rules = namespace.nft(&["list", "ruleset"]).unwrap();
    assert!(!rules.contains("tcp dport"), "{rules}");
}

#[test]
fn a_stale_lockdown_goes_with_the_next_good_ruleset() {
    let namespace = Namespace::new();
    for _ in 0..2 {
        let _closed = load_in(&namespace, "nonsense", &config(&[22])).unwrap();
        assert_eq!(namespace.tables(), ["table inet lastgood-lockdown"]);
    }
    let _loaded = load_in(&namespace, GOOD, &config(&[22])).unwrap();
    assert_eq!(namespace.tables(), ["table inet ours"]);
}

#[test]
fn a_ruleset_of_nobody_runs_no_risk() {
    let namespace = Namespace::new();
    namespace.run(DOCKER).unwrap();
    let outcome = load_in(&namespace, GOOD, &config::Firewall::default()).unwrap();
    assert!(matches!(outcome, Outcome::NotAsked));
    assert_eq!(namespace.tables(), ["table ip docker"]);
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

#[test]
fn without_nft_the_kernel_is_told_itself() {
    let (_tree, root) = tree(GOOD);
    let told = std::cell::RefCell::new(Vec::new());
    let close = |ports: &[u16]| {
        told.borrow_mut().push(ports.to_vec());
        Ok(())
    };
    let means = Means {
        nft: &|| Ok(Command::new("/no/nft")),
        close: &close,
    };
    let outcome = load_with(means, &root, Path::new(CLOSURE), &config(&[22, 8022])).unwrap();
    assert!(matches!(outcome, Outcome::Closed(_)), "{outcome:?}");
    assert_eq!(*told.borrow(), [[22, 8022]]);
}

#[test]
fn without_nft_and_kernel_it_is_an_error_that_tells_both_reasons() {
    let (_tree, root) = tree(GOOD);
    let absent = || Ok(Command::new("/no/nft"));
    let means = Means {
        nft: &absent,
        close: &no_kernel,
    };
    let error = load_with(means, &root, Path::new(CLOSURE), &config(&[22])).unwrap_err();
    assert!(
        error.to_string().contains("cannot close the machine"),
        "{error}"
    );
    assert!(matches!(*error.why, Refusal::Load { .. }), "{error}");
}

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
    let nft = || Ok(machine.namespace.command("nft"));
    let refusal = load_ruleset(&nft, &Root::new(machine.tree.path()), ruleset).unwrap_err();
    assert!(matches!(refusal, Refusal::Gone { .. }), "{refusal}");
}

/// `lastgood-firewall.service` loads that file when the agent itself is gone, with the default ports.
#[test]
fn the_ports_are_those_of_the_closure() {
    assert_eq!(
        lockdown(&config::Firewall::default().management_ports),
        CLOSED
    );
    let of = |ports: &[u16]| {
        lockdown(ports)
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let closed = of(&[22]);
    let two = of(&[22, 8022]);
    let differing: Vec<_> = closed.iter().zip(&two).filter(|(a, b)| a != b).collect();
    assert_eq!(differing.len(), 1);
    assert_eq!(differing[0].1.trim(), "tcp dport { 22, 8022 } accept");
    let none = of(&[]);
    assert_eq!(none.len(), closed.len() - 1);
    assert!(
        !none.iter().any(|line| line.contains("dport {")),
        "{none:?}"
    );
}
