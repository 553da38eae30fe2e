//! The text, word by word. Real `nft` loads it in `firewall::tests`.

use super::*;
use crate::config::Config;

fn script_of(text: &str) -> String {
    let config = Config::parse(&format!("[firewall]\nenable = true\n{text}\n")).unwrap();
    script(&config.firewall)
}

const STATE: &str = "ct state vmap { invalid : drop, established : accept, related : accept, new : jump input-allow, untracked : jump input-allow }";

#[test]
fn nothing_but_the_defaults() {
    let expected = format!(
        "table inet lastgood-fw {{
	chain rpfilter {{
		type filter hook prerouting priority mangle + 10; policy drop;
		meta nfproto ipv4 udp sport . udp dport {{ 67 . 68, 68 . 67 }} accept
		fib saddr . mark . iif oif exists accept
		drop
	}}
	chain input {{
		type filter hook input priority filter; policy drop;
		iifname \"lo\" accept
		{STATE}
		tcp flags & (fin | syn | rst | ack) == syn log level info prefix \"refused connection: \"
		drop
	}}
	chain input-allow {{
		icmp type echo-request accept
		icmpv6 type != {{ nd-redirect, 139 }} accept
		ip6 daddr fe80::/64 udp dport 546 accept
	}}
}}
"
    );
    assert_eq!(script_of(""), expected);
}

#[test]
fn everything_at_once() {
    let all = script_of(
        "allowed-tcp-ports = [443, 80, 80]\nallowed-udp-ports = [53]\n\
         allowed-tcp-port-ranges = [{ from = 8000, to = 8010 }, { from = 8011, to = 8020 }]\n\
         allowed-udp-port-ranges = [{ from = 60000, to = 61000 }]\n\
         trusted-interfaces = [\"wg0\", \"lo\", \"veth*\"]\nping-limit = \"1/second\"\nreject-packets = true\n\
         log-refused-connections = false\ncheck-reverse-path = \"loose\"\n\
         extra-input-rules = \"\"\"\n  ip saddr 10.0.0.0/8 accept\n\nudp dport 1 drop\n\"\"\"\n\
         filter-forward = true\nextra-forward-rules = \"iifname \\\"br0\\\" accept\"\n\
         [firewall.interfaces.eth1]\nallowed-tcp-ports = [9100]\nallowed-udp-ports = [5353]",
    );
    let expected = format!(
        "table inet lastgood-fw {{
	chain rpfilter {{
		type filter hook prerouting priority mangle + 10; policy drop;
		meta nfproto ipv4 udp sport . udp dport {{ 67 . 68, 68 . 67 }} accept
		fib saddr . mark oif exists accept
		drop
	}}
	chain input {{
		type filter hook input priority filter; policy drop;
		iifname \"lo\" accept
		iifname \"wg0\" accept
		iifname \"veth*\" accept
		{STATE}
		meta l4proto tcp reject with tcp reset
		reject
	}}
	chain input-allow {{
		tcp dport {{ 80, 443, 8000-8020 }} accept
		udp dport {{ 53, 60000-61000 }} accept
		iifname \"eth1\" tcp dport {{ 9100 }} accept
		iifname \"eth1\" udp dport {{ 5353 }} accept
		icmp type echo-request limit rate 1/second accept
		icmpv6 type echo-request limit rate 1/second accept
		icmpv6 type != {{ nd-redirect, 139, echo-request }} accept
		ip6 daddr fe80::/64 udp dport 546 accept
		ip saddr 10.0.0.0/8 accept
		udp dport 1 drop
	}}
	chain forward {{
		type filter hook forward priority filter; policy drop;
		{}
		drop
	}}
	chain forward-allow {{
		icmpv6 type != {{ router-renumbering, 139 }} accept
		ct status dnat accept
		iifname \"br0\" accept
	}}
}}
",
        STATE.replace("input-allow", "forward-allow")
    );
    assert_eq!(all, expected);
}

/// One key more, one difference more.
#[test]
fn each_word_says_what_it_says_and_nothing_else() {
    let default = script_of("");
    let differing = |text: &str| {
        let now = script_of(text);
        let lines = |a: &str, b: &str| -> Vec<String> {
            a.lines()
                .filter(|line| !b.lines().any(|other| other == *line))
                .map(|line| line.trim().to_owned())
                .collect()
        };
        (lines(&default, &now), lines(&now, &default))
    };
    let fine = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    for (text, gone, come) in [
        ("allowed-tcp-ports = []", &[][..], &[][..]),
        ("allowed-tcp-ports = [0]", &[], &["tcp dport { 0 } accept"]),
        (
            "allowed-udp-ports = [65535]",
            &[],
            &["udp dport { 65535 } accept"],
        ),
        (
            "allowed-tcp-port-ranges = [{ from = 0, to = 65535 }]\nallowed-tcp-ports = [80]",
            &[],
            &["tcp dport { 0-65535 } accept"],
        ),
        (
            "allowed-udp-port-ranges = [{ from = 5, to = 5 }, { from = 7, to = 9 }, { from = 8, to = 8 }]",
            &[],
            &["udp dport { 5, 7-9 } accept"],
        ),
        (
            "trusted-interfaces = [\"a\"]",
            &[],
            &["iifname \"a\" accept"],
        ),
        (
            "allow-ping = false",
            &[
                "icmp type echo-request accept",
                "icmpv6 type != { nd-redirect, 139 } accept",
            ],
            &["icmpv6 type != { nd-redirect, 139, echo-request } accept"],
        ),
        (
            "log-refused-connections = false",
            &[
                "tcp flags & (fin | syn | rst | ack) == syn log level info prefix \"refused connection: \"",
            ],
            &[],
        ),
        (
            "reject-packets = true",
            &[],
            &["meta l4proto tcp reject with tcp reset", "reject"],
        ),
        (
            "check-reverse-path = false",
            &[
                "chain rpfilter {",
                "type filter hook prerouting priority mangle + 10; policy drop;",
                "meta nfproto ipv4 udp sport . udp dport { 67 . 68, 68 . 67 } accept",
                "fib saddr . mark . iif oif exists accept",
            ],
            &[],
        ),
        ("extra-input-rules = \"accept\"", &[], &["accept"]),
        // Nobody asks what is forwarded.
        ("extra-forward-rules = \"accept\"", &[], &[]),
        (
            "interfaces.a.allowed-tcp-ports = [1]\ninterfaces.b.allowed-udp-ports = [2]",
            &[],
            &[
                "iifname \"a\" tcp dport { 1 } accept",
                "iifname \"b\" udp dport { 2 } accept",
            ],
        ),
    ] {
        assert_eq!(differing(text), (fine(gone), fine(come)), "{text}");
    }
}
