//! The tables of others: whatever becomes of the machine's own firewall, theirs stay as they are, to the counter.

use anyhow::{Result, ensure};
use lastgood_tests::container::{Boot, Container, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

use super::proven;

on_each_debian! {
    tables_of_others_stay_as_they_are_to_the_counter,
}

/// What dockerd, kube-proxy and libvirt do.
const OTHERS: &str = include_str!("others.sh");

/// All that is theirs: in the words of the program that made it, with its counters, and in nft's with its handles. What
/// time elements have left goes by.
const LISTING: &str = r"
for save in iptables-nft-save ip6tables-nft-save; do $save -c | grep -v '^#'; done
nft list tables | grep -v ' inet lastgood-' | while read -r table; do
    nft --handle list $table
done | sed 's/ expires [0-9a-z]*//'
";

fn theirs(server: &Container) -> Result<String> {
    let listed = server.run_ok(LISTING)?;
    let own = listed.contains("lastgood");
    ensure!(!own && listed.contains("io.systemd.nat"), "{listed}");
    Ok(listed)
}

/// networkd makes its table itself, for what it masquerades.
fn tables_of_others_stay_as_they_are_to_the_counter(debian: Debian) -> Result<()> {
    in_container("container-others", debian, |server| {
        let none = ("etc/lastgood/lastgood.toml", "[health]\nsettle-sec = 1\n");
        let subject = proven(server, 1, &[none])?;
        let nat = "[Network]\nIPMasquerade=both\n";
        server.write("/etc/systemd/network/10-rig.network.d/nat.conf", nat)?;
        server.write("/rig/others", OTHERS)?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        server.run_ok("sh /rig/others")?;
        server.run_ok("for i in $(seq 50); do nft list table ip6 io.systemd.nat 2>/dev/null && exit; sleep 0.1; done; exit 1")?;
        assert!(matches!(server.reach(80)?, Reach::Page(_)));
        let before = theirs(server)?;
        assert!(
            !before.contains("{ 80, 443 } counter packets 0 "),
            "{before}"
        );
        for theirs in [
            "KUBE-SEP-B",
            "LIBVIRT_PRT",
            "DOCKER-USER",
            "xt match",
            "set affinity",
        ] {
            assert!(before.contains(theirs), "{theirs}: {before}");
        }

        let config = subject.toplevel.join("etc/lastgood/lastgood.toml");
        let asks = format!(
            "printf '[firewall]\\nruleset = \"etc/nftables.conf\"\\n' >>{}",
            config.display()
        );
        let ruleset = subject.toplevel.join("etc/nftables.conf");
        let ruleset = ruleset.display();
        for (change, own) in [
            // The first load, the second, a changed one.
            (asks.clone(), "inet lastgood-demo"),
            (":".to_owned(), "inet lastgood-demo"),
            (
                format!("sed -i s/443/8443/ {ruleset}"),
                "inet lastgood-demo",
            ),
            // Under another name.
            (
                format!("sed -i s/lastgood-demo/lastgood-other/ {ruleset}"),
                "inet lastgood-other",
            ),
            // One that closes the machine, and one that opens it again.
            (
                format!("sed -i s/8443/70000/ {ruleset}"),
                "inet lastgood-lockdown",
            ),
            (
                format!("sed -i s/70000/443/ {ruleset}"),
                "inet lastgood-other",
            ),
            // Somebody has taken ours away, and nobody else's.
            (
                "nft delete table inet lastgood-other".to_owned(),
                "inet lastgood-other",
            ),
        ] {
            server.run_ok(&change)?;
            // More starts than systemd lets pass in so short a time.
            server.run("systemctl reset-failed; systemctl restart lastgood-firewall")?;
            let tables = server.run_ok("nft list tables")?;
            assert!(tables.contains(own), "{change}: {tables}");
            assert_eq!(theirs(server)?, before, "{change}");
        }
        server.run_ok("systemctl stop lastgood-firewall")?;
        assert_eq!(theirs(server)?, before);
        // They are still fit for the program that made them.
        server.run_ok("iptables-nft -C FORWARD -j DOCKER-USER && iptables-nft -t nat -D POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE")?;
        server.power_off()
    })
}
