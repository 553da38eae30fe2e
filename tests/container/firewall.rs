//! The firewall on a running machine: asked about at `install`, started again, and beside others.

use anyhow::{Context, Result};
use lastgood::state::fault::Fault;
use lastgood_tests::container::{Boot, Container, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

use super::{NO_BOOT, proven};

on_each_debian! {
    a_firewall_that_cannot_be_loaded_is_refused_at_install,
    without_nft_the_machine_is_closed_all_the_same,
    a_firewall_that_is_started_again_leaves_alone_what_it_must,
    sessions_from_before_the_first_load_go_on,
    what_nft_lists_in_other_words_is_left_alone,
}

const RULESET: &str = "etc/nftables.conf";

/// What `lastgood install NUMBER` says, which never ends well here: no machine has a boot partition.
fn install(server: &Container, number: u64) -> Result<String> {
    let ended = server.run(&format!("lastgood install {number}"))?;
    assert_eq!(ended.status, 1, "{}", ended.stdout);
    Ok(ended.stderr)
}

fn a_firewall_that_cannot_be_loaded_is_refused_at_install(debian: Debian) -> Result<()> {
    in_container("container-firewall-install", debian, |server| {
        let port = "table inet a {\n  chain b {\n    tcp dport 70000 accept\n  }\n}\n";
        let open = "table inet a {\n  chain b {\n    tcp dport 700 accept\n";
        server.add(2, &[(RULESET, port)])?;
        server.add(3, &[(RULESET, open)])?;
        server.add(
            4,
            &[(RULESET, "table inet a { chain b { iif eth0 accept; }; }\n")],
        )?;
        proven(server, 1, &[])?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;

        let said = install(server, 2)?;
        let words =
            "nftables.conf, line 3, column 15: Service out of range (`tcp dport 70000 accept`)";
        assert!(said.contains(words), "{said}");
        assert!(
            said.contains("; mend it and build the generation again"),
            "{said}"
        );
        let said = install(server, 3)?;
        assert!(
            said.contains("syntax error, unexpected end of file"),
            "{said}"
        );
        // It goes in here and now, and nobody knows about the next boot.
        let said = install(server, 4)?;
        assert!(said.contains(NO_BOOT), "{said}");
        assert!(
            said.contains("depends on the machine") && said.contains("iifname"),
            "{said}"
        );
        let said = install(server, 1)?;
        assert!(
            said.contains(NO_BOOT) && !said.contains("nftables.conf"),
            "{said}"
        );

        let tables = server.run_ok("nft list tables")?;
        assert!(!tables.contains("inet a"), "{tables}");
        server.run_ok("mv /usr/sbin/nft /usr/sbin/nft.away")?;
        let said = install(server, 1)?;
        server.run_ok("mv /usr/sbin/nft.away /usr/sbin/nft")?;
        assert!(
            said.contains("asks for a firewall: cannot run nft"),
            "{said}"
        );
        assert!(said.contains("; install nftables"), "{said}");
        server.power_off()
    })
}

/// Seen from the other end of the cable: the kernel was told without nft.
fn without_nft_the_machine_is_closed_all_the_same(debian: Debian) -> Result<()> {
    in_container("container-firewall-no-nft", debian, |server| {
        proven(server, 1, &[])?;
        // No program any more.
        server.write("/usr/sbin/nft", "")?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for("telling the kernel without it")?;
        server.wait_for("the machine is closed but for TCP ports [22]")?;
        server.wait_for(Fact::Degraded(1))?;
        let degraded = server.state()?.degraded.context("not degraded")?;
        assert!(degraded.faults.contains(&Fault::Firewall), "{degraded:?}");
        server.run_ok("curl --silent --fail --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:80/")?;
        assert_eq!(server.reach(22)?, Reach::Refused);
        for port in [80, 443, 8080] {
            assert_eq!(server.reach(port)?, Reach::Silent, "{port}");
        }
        server.power_off()
    })
}

/// systemd-networkd keeps a table of its own for what it masquerades.
fn a_firewall_that_is_started_again_leaves_alone_what_it_must(debian: Debian) -> Result<()> {
    in_container("container-firewall-restart", debian, |server| {
        let subject = proven(server, 1, &[])?;
        let nat = "[Network]\nIPMasquerade=ipv4\n";
        server.write("/etc/systemd/network/10-rig.network.d/nat.conf", nat)?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        let retry = "for i in $(seq 50); do nft list table ip io.systemd.nat 2>/dev/null && exit 0; sleep 0.1; done; exit 1";
        server.run_ok(retry)?;

        let listing = "nft --handle --stateless list ruleset";
        let before = server.run_ok(listing)?;
        for _ in 0..2 {
            server.run_ok("systemctl restart lastgood-firewall")?;
            assert_eq!(server.run_ok(listing)?, before);
        }
        let ruleset = subject.toplevel.join(RULESET);
        server.run_ok(&format!("sed -i s/443/8443/ {}", ruleset.display()))?;
        let nat = "nft --handle list table ip io.systemd.nat";
        let others = server.run_ok(nat)?;
        server.run_ok("systemctl restart lastgood-firewall")?;
        let after = server.run_ok(listing)?;
        assert!(after.contains("8443") && !after.contains(" 443"), "{after}");
        assert_eq!(after.matches("chain input").count(), 1, "{after}");
        assert_eq!(server.run_ok(nat)?, others);
        server.power_off()
    })
}

/// The other end speaks first, in a session that was idle since before there was any rule.
fn sessions_from_before_the_first_load_go_on(debian: Debian) -> Result<()> {
    in_container("container-firewall-sessions", debian, |server| {
        let config = (
            "etc/lastgood/lastgood.toml",
            "[health]\nsettle-sec = 1\nrequired-units = [\"nginx.service\"]\n",
        );
        let subject = proven(server, 1, &[config])?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        // No rule has asked for it.
        assert_eq!(
            server.run_ok("cat /proc/sys/net/netfilter/nf_conntrack_count")?,
            "0"
        );
        let idle = [server.call(8080)?, server.call(8080)?];

        let config = subject.toplevel.join(config.0);
        server.run_ok(&format!(
            "printf '[firewall]\\nruleset = \"{RULESET}\"\\n' >>{}; systemctl restart lastgood-firewall",
            config.display()
        ))?;
        assert_eq!(
            server.run_ok("nft list tables")?,
            "table inet lastgood-demo"
        );
        assert_eq!(server.reach(8080)?, Reach::Silent);
        for session in idle {
            let page = session.ask()?;
            assert!(
                matches!(&page, Reach::Page(page) if page.contains("generation 1")),
                "{page:?}"
            );
        }
        server.power_off()
    })
}

/// No nft lists these as they are written here, and each release lists them in words of its own.
const IN_OTHER_WORDS: &str = "\
table inet lastgood-demo {
    set pairs { type ipv4_addr . inet_service; elements = { 10.0.0.3 . 22, 10.0.0.1 . 443, 10.0.0.2 . 80 }; }
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iif lo accept
        tcp dport { 443, 80, 22 } accept
        ip saddr . tcp dport @pairs accept
        ip saddr { 10.0.0.0/24, 10.0.1.0/24 } udp dport 80-80 accept
        ip saddr 10.0.0.5/8 meta l4proto tcp tcp dport 23 accept
        tcp flags & (syn|ack) == syn limit rate 10/second accept
        ip protocol tcp tcp dport ssh accept
        reject with icmpx type admin-prohibited
    }
}
";

/// A table that is loaded anew has another handle.
fn what_nft_lists_in_other_words_is_left_alone(debian: Debian) -> Result<()> {
    in_container("container-firewall-words", debian, |server| {
        proven(server, 1, &[(RULESET, IN_OTHER_WORDS)])?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        let listing = "nft --handle list ruleset";
        let before = server.run_ok(listing)?;
        server.run_ok("systemctl restart lastgood-firewall")?;
        assert_eq!(server.run_ok(listing)?, before);
        server.power_off()
    })
}
