//! With the real `nft`, in a network namespace of each test's own: nothing here can reach the machine's rules.

mod gap;
mod restarts;

use super::*;

use crate::system::program;

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, setns};

/// A network namespace, for as long as its process lives.
pub(super) struct Namespace(Child);

impl Namespace {
    pub(super) fn new() -> Self {
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

    /// What `work` gives when it is done in there.
    pub(super) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let place = format!("/proc/{}/ns/net", self.0.id());
        let namespace = File::open(place).unwrap();
        // Of that thread alone.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    /// Runs a line of shell in there.
    pub(super) fn sh(&self, line: &str) -> String {
        program::stdout_of(self.command("sh").args(["-euc", line])).unwrap()
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

/// A machine, and the world at the other end of its cable.
pub(super) struct Cable {
    pub(super) machine: Namespace,
    pub(super) world: Namespace,
}

impl Cable {
    pub(super) fn new() -> Self {
        let (machine, world) = (Namespace::new(), Namespace::new());
        machine.sh(&format!(
            "ip link add eth0 type veth peer name world netns {}
             ip address add 192.0.2.1/24 dev eth0; ip address add 2001:db8::1/64 dev eth0 nodad
             ip link set eth0 up; ip link set lo up",
            world.0.id()
        ));
        world.sh(
            "ip address add 192.0.2.2/24 dev world; ip address add 2001:db8::2/64 dev world nodad
             ip link set world up; ip link set lo up",
        );
        Self { machine, world }
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

pub(super) fn config(ports: &[u16]) -> config::Firewall {
    config::Firewall::of_ruleset("etc/nftables.conf".into(), ports.to_vec())
}

pub(super) fn load_in(
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
    let means = Means {
        nft: &|| Ok(namespace.command("nft")),
        close: &no_kernel,
        keep: &|| namespace.within(sessions::keep),
        ask: &unit::ask,
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
        // nft -c, at `install`, has nothing against it: newer kernels tell when it is meant in earnest.
        "table inet x { chain d { jump e; }; chain e { jump d; }; chain b { type filter hook input priority 0; jump d; }; }\n".to_owned(),
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

/// The unit that NixOS loads its firewall with: it failed, and then somebody mended it.
#[test]
fn a_machine_is_closed_until_the_closure_s_own_unit_is_active() {
    let namespace = Namespace::new();
    namespace.run(DOCKER).unwrap();
    let firewall = config::Firewall::of_unit("nftables.service", vec![2222]);
    let load = |state: &str| {
        let means = Means {
            nft: &|| Ok(namespace.command("nft")),
            close: &no_kernel,
            keep: &|| namespace.within(sessions::keep),
            ask: &|unit| unit::judge(unit, state),
        };
        load_with(means, &Root::new("/no"), Path::new(CLOSURE), &firewall).unwrap()
    };
    let Outcome::Closed(why) = load("failed") else {
        panic!("open")
    };
    assert!(
        why.to_string().starts_with("nftables.service, which"),
        "{why}"
    );
    assert_eq!(
        namespace.tables(),
        ["table ip docker", "table inet lastgood-lockdown"]
    );
    let rules = namespace.nft(&["list", "table", "inet", "lastgood-lockdown"]);
    assert!(rules.unwrap().contains("tcp dport 2222 accept"));
    let outcome = load("active");
    assert!(matches!(outcome, Outcome::ByUnit(_)), "{outcome:?}");
    assert_eq!(namespace.tables(), ["table ip docker"]);
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
        keep: &|| {},
        ask: &unit::ask,
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
        keep: &|| {},
        ask: &unit::ask,
    };
    let error = load_with(means, &root, Path::new(CLOSURE), &config(&[22])).unwrap_err();
    assert!(
        error.to_string().contains("cannot close the machine"),
        "{error}"
    );
    assert!(matches!(*error.why, Refusal::Load { .. }), "{error}");
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
