//! What the rules of `[firewall]` do with packets: asked from the other end of the cable, and from a machine behind.

use std::net::Ipv6Addr;

use anyhow::{Result, ensure};
use lastgood_tests::container::Reach::{Refused, Silent};
use lastgood_tests::container::{Boot, Container, Knock, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

use super::proven;

on_each_debian! {
    what_is_allowed_comes_in_and_nothing_else,
    what_is_refused_is_told_or_not,
    what_is_refused_is_logged,
    a_packet_must_come_in_where_its_answer_would_go_out,
    what_is_forwarded_is_filtered_if_that_is_asked_for,
}

const CONFIG: &str = "etc/lastgood/lastgood.toml";

/// The machine is a router: a network of its own is behind it, with a machine in it.
const BEHIND: &str = "set -eu
ip netns add behind
ip link add lan type veth peer name lan netns behind
ip address add 192.0.2.1/24 dev lan; ip address add fd01::1/64 dev lan nodad; ip link set lan up
ip -n behind address add 192.0.2.2/24 dev lan; ip -n behind address add fd01::2/64 dev lan nodad
ip -n behind link set lan up; ip -n behind link set lo up
ip -n behind route add default via 192.0.2.1; ip -n behind -6 route add default via fd01::1
mount --bind /proc/sys/net /proc/sys/net; mount -o remount,bind,rw /proc/sys/net
echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
# The kernel's own check of where packets come from would be in the way.
for check in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$check; done
while ip address show tentative | grep inet6; do sleep 0.05; done
";

/// What the world knows of it.
const WORLD: &str = "set -eu
ip address add fd00::2/64 dev world nodad
ip route add 192.0.2.0/24 via 10.0.2.15; ip -6 route add fd01::/64 via fd00::15
while ip address show tentative | grep inet6; do sleep 0.05; done
";

fn on_a_router(
    name: &str,
    debian: Debian,
    story: impl FnOnce(&mut Router<'_>) -> Result<()>,
) -> Result<()> {
    in_container(name, debian, |server| {
        let subject = proven(server, 1, &[(CONFIG, "[firewall]\nenable = true\n")])?;
        let v6 = "[Network]\nAddress=fd00::15/64\n";
        server.write("/etc/systemd/network/10-rig.network.d/v6.conf", v6)?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        server.run_ok(BEHIND)?;
        let world = server.world(WORLD)?;
        ensure!(world.status == 0, "{world:?}");
        let config = subject.toplevel.join(CONFIG).display().to_string();
        story(&mut Router { server, config })?;
        server.power_off()
    })
}

struct Router<'a> {
    server: &'a mut Container,
    config: String,
}

impl Router<'_> {
    /// Loads a firewall of these rules.
    fn says(&self, rules: &str) -> Result<()> {
        let config = &self.config;
        self.server.run_ok(&format!(
            "cat >{config} <<'RULES'\n[firewall]\nenable = true\n{rules}\nRULES\n\
             systemctl reset-failed; systemctl restart lastgood-firewall; nft list table inet lastgood-fw"
        ))?;
        Ok(())
    }

    /// Knocks from the world at the machine.
    #[track_caller]
    fn world_finds(&self, expected: &[(Knock, Reach)]) -> Result<()> {
        let knocks: Vec<Knock> = expected.iter().map(|(knock, _)| *knock).collect();
        let reached = self
            .server
            .knock(&knocks)?
            .into_iter()
            .map(|reach| match reach {
                Reach::Page(_) => PAGE,
                other => other,
            });
        let found: Vec<(Knock, Reach)> = knocks.iter().copied().zip(reached).collect();
        assert_eq!(found, expected);
        Ok(())
    }

    /// The same from the machine behind.
    fn behind_finds(&self, url: &str) -> Result<Reach> {
        self.finds(&format!("ip netns exec behind {CURL} {url}"))
    }

    fn finds(&self, curl: &str) -> Result<Reach> {
        let ended = self.server.run(curl)?;
        Ok(match ended.status {
            0 => PAGE,
            7 => Refused,
            28 => Silent,
            _ => anyhow::bail!("{ended:?}"),
        })
    }

    /// Whether a ping from the world is answered.
    fn answers(&self, address: &str) -> Result<bool> {
        let ping = format!("busybox ping -c 1 -W 1 {address}");
        Ok(self.server.world(&ping)?.status == 0)
    }

    /// How many packets the rule that has these words has counted.
    fn counted(&self, rule: &str) -> Result<u64> {
        let listed = self.server.run_ok("nft list table inet lastgood-fw")?;
        let counted = listed.split_once(&format!("{rule} counter packets "));
        let number = counted.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        number.ok_or_else(|| anyhow::anyhow!("no {rule:?}: {listed}"))
    }
}

const PAGE: Reach = Reach::Page(String::new());
const CURL: &str = "curl --silent --output /dev/null --max-time 1";

const MACHINE: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x15);

fn tcp6(port: u16) -> Knock {
    Knock::Tcp((MACHINE, port).into())
}

fn udp6(port: u16) -> Knock {
    Knock::Udp((MACHINE, port).into())
}

/// nginx listens on 80, 443 and 8080, by IPv4. Where nobody listens, what comes in is refused by the machine itself.
fn what_is_allowed_comes_in_and_nothing_else(debian: Debian) -> Result<()> {
    on_a_router("container-rules-ports", debian, |router| {
        let rules = "allowed-tcp-ports = [22, 80]\nallowed-udp-ports = [53]\n\
            allowed-tcp-port-ranges = [{ from = 8000, to = 8002 }]\nallowed-udp-port-ranges = [{ from = 6000, to = 6001 }]\n\
            extra-input-rules = \"ip saddr 10.0.2.0/24 tcp dport 9100 accept\"\n";
        let of_one =
            "[firewall.interfaces.lan]\nallowed-tcp-ports = [443]\nallowed-udp-ports = [5353]\n";
        router.says(&format!("{rules}{of_one}"))?;
        router.world_finds(&[
            (Knock::tcp(80), PAGE),
            (Knock::tcp(22), Refused),
            (Knock::tcp(7999), Silent),
            (Knock::tcp(8000), Refused),
            (Knock::tcp(8002), Refused),
            (Knock::tcp(8003), Silent),
            (Knock::tcp(8080), Silent),
            (Knock::tcp(9100), Refused),
            (Knock::tcp(443), Silent),
            (Knock::tcp(53), Silent),
            (Knock::udp(53), Refused),
            (Knock::udp(54), Silent),
            (Knock::udp(5999), Silent),
            (Knock::udp(6000), Refused),
            (Knock::udp(6001), Refused),
            (Knock::udp(6002), Silent),
            (Knock::udp(5353), Silent),
            (Knock::udp(80), Silent),
            (tcp6(22), Refused),
            (tcp6(8001), Refused),
            (tcp6(8003), Silent),
            (tcp6(443), Silent),
            (tcp6(9100), Silent),
            (udp6(53), Refused),
            (udp6(54), Silent),
        ])?;
        assert_eq!(router.behind_finds("http://192.0.2.1:443/")?, PAGE);
        assert_eq!(router.behind_finds("http://192.0.2.1/")?, PAGE);
        assert_eq!(router.behind_finds("http://[fd01::1]:443/")?, Refused);
        assert_eq!(router.behind_finds("http://192.0.2.1:8080/")?, Silent);
        // What the machine asks for comes in, and what is about it.
        assert_eq!(
            router.finds(&format!("{CURL} http://10.0.2.2:9/"))?,
            Refused
        );
        assert_eq!(
            router.finds(&format!("{CURL} http://[fd00::2]:9/"))?,
            Refused
        );

        router.says(&format!("trusted-interfaces = [\"la*\"]\n{rules}"))?;
        for url in ["http://192.0.2.1:8080/", "http://192.0.2.1:443/"] {
            assert_eq!(router.behind_finds(url)?, PAGE, "{url}");
        }
        assert_eq!(router.behind_finds("http://[fd01::1]:7/")?, Refused);
        router.world_finds(&[(Knock::tcp(8080), Silent), (tcp6(7), Silent)])
    })
}

fn what_is_refused_is_told_or_not(debian: Debian) -> Result<()> {
    on_a_router("container-rules-refused", debian, |router| {
        let closed = [Knock::tcp(443), Knock::udp(54), tcp6(443), udp6(54)];
        router.says("")?;
        router.world_finds(&closed.map(|knock| (knock, Silent)))?;
        for address in ["10.0.2.15", "fd00::15"] {
            assert!(router.answers(address)?, "{address}");
        }
        router.says("reject-packets = true\nallow-ping = false\n")?;
        router.world_finds(&closed.map(|knock| (knock, Refused)))?;
        for address in ["10.0.2.15", "fd00::15"] {
            assert!(!router.answers(address)?, "{address}");
        }
        // Neighbours are found all the same: without them there is no IPv6.
        router.says("allow-ping = false\nallowed-tcp-ports = [22]\n")?;
        router.server.world("ip -6 neighbour flush dev world")?;
        router.world_finds(&[(tcp6(22), Refused), (tcp6(23), Silent)])?;

        router.says("ping-limit = \"1/hour burst 2 packets\"\n")?;
        for address in ["10.0.2.15", "fd00::15"] {
            let answered: Result<Vec<bool>> = (0..4).map(|_| router.answers(address)).collect();
            assert_eq!(answered?, [true, true, false, false], "{address}");
        }
        Ok(())
    })
}

const TRACED: &str = "nft 'table inet trace { chain x { type filter hook prerouting priority -400; meta nftrace set 1; }; }'";

/// Begins to tell, and waits until somebody listens (netlink's protocol 12, a group). Whoever listens for longer tells of
/// rules by what was loaded when it began.
const TRACE: &str = "
(setsid sh -c 'echo $$ >/run/tracing; exec nft monitor trace' >/run/trace 2>&1 &)
until awk '$2 == 12 && $4 != \"00000000\" { found = 1 } END { exit !found }' /proc/net/netlink; do sleep 0.05; done
";

/// What came of the packet is the last that is told of it.
const TOLD: &str = "
for i in $(seq 50); do grep -q -e 'verdict drop' -e 'verdict accept' /run/trace && break; sleep 0.1; done
pid=$(cat /run/tracing); kill $pid; while [ -d /proc/$pid ]; do sleep 0.05; done
cat /run/trace
";

/// The kernel's log is not to be had in a container. nft tells which rules a packet meets.
fn what_is_refused_is_logged(debian: Debian) -> Result<()> {
    on_a_router("container-rules-log", debian, |router| {
        router.server.run_ok(TRACED)?;
        let logs = |knock: Knock| -> Result<bool> {
            router.server.run_ok(TRACE)?;
            router.server.knock(&[knock])?;
            let told = router.server.run_ok(TOLD)?;
            ensure!(told.contains("lastgood-fw"), "{told:?}");
            Ok(told.contains("prefix \"refused connection: \""))
        };
        router.says("allowed-tcp-ports = [22]\n")?;
        for (knock, expected) in [
            (Knock::tcp(22), false),
            (Knock::tcp(23), true),
            (tcp6(23), true),
            (Knock::udp(23), false),
        ] {
            assert_eq!(logs(knock)?, expected, "{knock:?}");
        }
        router.says("log-refused-connections = false\n")?;
        assert!(!logs(Knock::tcp(23))?);
        Ok(())
    })
}

/// Where a packet claims to come from, where it goes, and the rule that counts it.
const SOURCES: [(&str, &str, &str); 6] = [
    ("10.0.2.2", "10.0.2.15", "udp dport 7000"),
    // The answer would go to the machine behind.
    ("192.0.2.77", "10.0.2.15", "udp dport 7001"),
    // It would go nowhere.
    ("203.0.113.9", "10.0.2.15", "udp dport 7002"),
    ("fd00::2", "fd00::15", "udp dport 7003"),
    ("fd01::77", "fd00::15", "udp dport 7004"),
    ("2001:db8::9", "fd00::15", "udp dport 7005"),
];

fn a_packet_must_come_in_where_its_answer_would_go_out(debian: Debian) -> Result<()> {
    on_a_router("container-rules-source", debian, |router| {
        router.server.run_ok("ip route del default")?;
        let accept: String = SOURCES
            .iter()
            .flat_map(|(_, _, rule)| [*rule, " counter accept\n"])
            .collect();
        let extra = format!("extra-input-rules = '''\n{accept}'''\n");
        for (check, expected) in [
            ("", [1, 0, 0, 1, 0, 0]),
            ("check-reverse-path = \"loose\"\n", [1, 1, 0, 1, 1, 0]),
            ("check-reverse-path = false\n", [1, 1, 1, 1, 1, 1]),
        ] {
            router.says(&format!("{check}{extra}"))?;
            for (source, to, rule) in SOURCES {
                let port = rule.rsplit(' ').next().unwrap_or_default();
                let nodad = if source.contains(':') { "nodad" } else { "" };
                let sent = router.server.world(&format!(
                    "set -e; ip address replace {source} dev world {nodad}; ip route replace {to} dev world src {source}
                     bash -c 'echo x >/dev/udp/{to}/{port}'; ip route del {to} dev world"
                ))?;
                ensure!(sent.status == 0, "{sent:?}");
            }
            let mut counted = Vec::new();
            for (_, _, rule) in SOURCES {
                counted.push(router.counted(rule)?);
            }
            assert_eq!(counted, expected, "{check}");
        }
        Ok(())
    })
}

fn what_is_forwarded_is_filtered_if_that_is_asked_for(debian: Debian) -> Result<()> {
    on_a_router("container-rules-forward", debian, |router| {
        let behind = [
            Knock::Tcp("192.0.2.2:80".parse()?),
            Knock::Tcp("[fd01::2]:80".parse()?),
        ];
        let world = ["http://10.0.2.2:9/", "http://[fd00::2]:9/"];
        let translated = Knock::tcp(8099);
        router.server.run_ok("nft 'table ip theirs { chain x { type nat hook prerouting priority dstnat; tcp dport 8099 dnat to 192.0.2.2:80; }; }'")?;
        let out = "extra-forward-rules = 'iifname \"lan\" oifname \"eth0\" accept'\n";
        for (rules, comes_in, goes_out) in [
            (out.to_owned(), Refused, Refused),
            ("filter-forward = true\n".to_owned(), Silent, Silent),
            (format!("filter-forward = true\n{out}"), Silent, Refused),
        ] {
            router.says(&rules)?;
            let [v4, v6] = behind.map(|knock| (knock, comes_in.clone()));
            // What somebody has translated was let in by them.
            router.world_finds(&[v4, v6, (translated, Refused)])?;
            for url in world {
                assert_eq!(router.behind_finds(url)?, goes_out, "{rules}: {url}");
            }
        }
        Ok(())
    })
}
