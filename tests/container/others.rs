//! The tables of others: whatever becomes of the machine's own firewall, theirs stay as they are, to the counter.

use anyhow::{Result, bail, ensure};
use lastgood::state::Subject;
use lastgood_tests::container::{Boot, Container, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::packages;
use lastgood_tests::scenario::in_container;

use super::proven;

on_each_debian! {
    tables_of_others_stay_as_they_are_to_the_counter,
    a_real_dockerd_keeps_its_tables,
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

/// A machine without a firewall yet, and with others who have one.
fn start(server: &mut Container) -> Result<Subject> {
    let none = ("etc/lastgood/lastgood.toml", "[health]\nsettle-sec = 1\n");
    let subject = proven(server, 1, &[none])?;
    // networkd makes a table itself, for what it masquerades.
    let nat = "[Network]\nIPMasquerade=both\n";
    server.write("/etc/systemd/network/10-rig.network.d/nat.conf", nat)?;
    server.write("/rig/others", OTHERS)?;
    server.start(Boot::Uncounted(1))?;
    server.wait_for(Fact::Proven(1))?;
    server.run_ok("for i in $(seq 50); do nft list table ip6 io.systemd.nat 2>/dev/null && exit; sleep 0.1; done; exit 1")?;
    Ok(subject)
}

/// The same when no packet is counted any more.
fn at_rest(server: &Container) -> Result<String> {
    let mut before = theirs(server)?;
    for _ in 0..20 {
        server.run_ok("sleep 1")?;
        let now = theirs(server)?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    bail!("packets go on and on: {before}")
}

/// Has a firewall come, change and go.
fn goes_through_everything(server: &Container, subject: &Subject) -> Result<()> {
    let before = theirs(server)?;
    let config = subject.toplevel.join("etc/lastgood/lastgood.toml");
    let asks = format!(
        "printf '[firewall]\\nruleset = \"etc/nftables.conf\"\\n' >>{}",
        config.display()
    );
    let ruleset = subject.toplevel.join("etc/nftables.conf");
    let sed = |change: &str| format!("sed -i {change} {}", ruleset.display());
    for (change, own) in [
        // The first load, the second, a changed one, one under another name.
        (asks, "inet lastgood-demo"),
        (":".to_owned(), "inet lastgood-demo"),
        (sed("s/443/8443/"), "inet lastgood-demo"),
        (
            sed("s/lastgood-demo/lastgood-other/"),
            "inet lastgood-other",
        ),
        // One that closes the machine, and one that opens it again.
        (sed("s/8443/70000/"), "inet lastgood-lockdown"),
        (sed("s/70000/443/"), "inet lastgood-other"),
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
    Ok(())
}

fn tables_of_others_stay_as_they_are_to_the_counter(debian: Debian) -> Result<()> {
    in_container("container-others", debian, |server| {
        let subject = start(server)?;
        server.run_ok("sh /rig/others")?;
        assert!(matches!(server.reach(80)?, Reach::Page(_)));
        // The last packets of that are counted late.
        let before = at_rest(server)?;
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
        goes_through_everything(server, &subject)?;
        // They are still fit for the program that made them.
        server.run_ok("iptables-nft -C FORWARD -j DOCKER-USER && iptables-nft -t nat -D POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE")?;
        server.power_off()
    })
}

/// The real one, without its containers. It asks iptables for each change, and would refuse to go on with damage.
fn a_real_dockerd_keeps_its_tables(debian: Debian) -> Result<()> {
    let (step, more) = match debian {
        Debian::Twelve => ("docker-12", &["libdevmapper1.02.1"][..]),
        Debian::Thirteen => ("docker-13", &[][..]),
        Debian::Sid => ("docker-sid", &[][..]),
    };
    let names = [&["docker.io", "containerd", "runc"], more].concat();
    let docker = packages::unpacked(step, debian, &names)?;
    in_container("container-docker", debian, |server| {
        server.has(docker);
        let subject = start(server)?;
        // It has machines forward, or does not start.
        server.run_ok(
            "mount --bind /proc/sys/net /proc/sys/net && mount -o remount,bind,rw /proc/sys/net",
        )?;
        server.run_ok("systemd-run --unit=dockerd dockerd --storage-driver=vfs")?;
        let network = |name: &str| {
            format!(
                "curl --silent --show-error --fail --retry 20 --retry-connrefused --retry-delay 1 --retry-all-errors \
                 --unix-socket /run/docker.sock --json '{{\"Name\":\"{name}\",\"Driver\":\"bridge\"}}' http://localhost/networks/create"
            )
        };
        server.run_ok(&network("before"))?;
        let made = theirs(server)?;
        assert_eq!(made.matches("-j MASQUERADE").count(), 2, "{made}");
        goes_through_everything(server, &subject)?;
        server.run_ok(&network("after"))?;
        let made = theirs(server)?;
        assert_eq!(made.matches("-j MASQUERADE").count(), 3, "{made}");
        server.power_off()
    })
}
