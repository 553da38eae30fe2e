//! The rules of `[firewall]` as an nftables script. They come to what NixOS makes of the same words.

use crate::config::{Firewall, Interface, Ports, Range, ReversePath};

/// The table of the rules. NixOS's own is `nixos-fw`.
pub(super) const TABLE: &str = "inet lastgood-fw";

/// Ends a chain whose policy is the same. When the kernel replaces a chain, its policy comes microseconds after its rules.
const DROP: &str = "drop";

/// The whole script.
pub(super) fn script(firewall: &Firewall) -> String {
    let mut chains = Vec::new();
    chains.extend(reverse_path(firewall.check_reverse_path));
    chains.push(input(firewall));
    chains.push(input_allow(firewall));
    if firewall.filter_forward {
        chains.push(chain(
            "forward",
            &[
                "type filter hook forward priority filter; policy drop;".to_owned(),
                by_state("forward-allow"),
                DROP.to_owned(),
            ],
        ));
        let mut rules = vec![
            "icmpv6 type != { router-renumbering, 139 } accept".to_owned(),
            "ct status dnat accept".to_owned(),
        ];
        rules.extend(extra(&firewall.extra_forward_rules));
        chains.push(chain("forward-allow", &rules));
    }
    format!("table {TABLE} {{\n{}}}\n", chains.concat())
}

fn chain(name: &str, lines: &[String]) -> String {
    let lines: String = lines.iter().flat_map(|line| ["\t\t", line, "\n"]).collect();
    format!("\tchain {name} {{\n{lines}\t}}\n")
}

/// What begins a conversation is asked about, the rest follows from that. Some of what keeps IPv6 going is never tracked.
fn by_state(asked: &str) -> String {
    format!(
        "ct state vmap {{ invalid : drop, established : accept, related : accept, new : jump {asked}, untracked : jump {asked} }}"
    )
}

fn reverse_path(check: ReversePath) -> Option<String> {
    let by = match check {
        ReversePath::Any => return None,
        ReversePath::Strict => "saddr . mark . iif",
        ReversePath::Loose => "saddr . mark",
    };
    let lines = [
        "type filter hook prerouting priority mangle + 10; policy drop;".to_owned(),
        // An answer of DHCP has no way back yet.
        "meta nfproto ipv4 udp sport . udp dport { 67 . 68, 68 . 67 } accept".to_owned(),
        format!("fib {by} oif exists accept"),
        DROP.to_owned(),
    ];
    Some(chain("rpfilter", &lines))
}

fn input(firewall: &Firewall) -> String {
    let mut lines = vec![
        "type filter hook input priority filter; policy drop;".to_owned(),
        on("lo", "accept"),
    ];
    // By name, and each by itself: none need be there yet.
    let trusted = firewall.trusted_interfaces.iter().map(Interface::as_str);
    lines.extend(
        trusted
            .filter(|name| *name != "lo")
            .map(|name| on(name, "accept")),
    );
    lines.push(by_state("input-allow"));
    if firewall.log_refused_connections {
        let syn = "tcp flags & (fin | syn | rst | ack) == syn";
        lines.push(format!(
            "{syn} log level info prefix \"refused connection: \""
        ));
    }
    if firewall.reject_packets {
        lines.push("meta l4proto tcp reject with tcp reset".to_owned());
        lines.push("reject".to_owned());
    } else {
        lines.push(DROP.to_owned());
    }
    chain("input", &lines)
}

fn input_allow(firewall: &Firewall) -> String {
    let mut lines = open(&firewall.everywhere());
    for (interface, ports) in &firewall.interfaces {
        lines.extend(open(ports).iter().map(|rule| on(interface.as_str(), rule)));
    }
    if firewall.allow_ping {
        let limit = firewall.ping_limit.as_ref();
        let limit = limit.map_or_else(String::new, |limit| {
            format!("limit rate {} ", limit.as_str())
        });
        lines.push(format!("icmp type echo-request {limit}accept"));
        if !limit.is_empty() {
            lines.push(format!("icmpv6 type echo-request {limit}accept"));
        }
    }
    // Neighbours and routers among them: without these there is no IPv6.
    let not_these = match (firewall.allow_ping, &firewall.ping_limit) {
        (true, None) => "nd-redirect, 139",
        _ => "nd-redirect, 139, echo-request",
    };
    lines.push(format!("icmpv6 type != {{ {not_these} }} accept"));
    lines.push("ip6 daddr fe80::/64 udp dport 546 accept".to_owned());
    lines.extend(extra(&firewall.extra_input_rules));
    chain("input-allow", &lines)
}

fn on(interface: &str, rule: &str) -> String {
    format!("iifname \"{interface}\" {rule}")
}

fn open(ports: &Ports) -> Vec<String> {
    let tcp = set(&ports.allowed_tcp_ports, &ports.allowed_tcp_port_ranges);
    let udp = set(&ports.allowed_udp_ports, &ports.allowed_udp_port_ranges);
    let rule = |protocol: &str, set: Option<String>| {
        set.map(|set| format!("{protocol} dport {{ {set} }} accept"))
    };
    [rule("tcp", tcp), rule("udp", udp)]
        .into_iter()
        .flatten()
        .collect()
}

/// Ports and ranges in order, none in another: nft refuses those that overlap. None: an empty set is an error to nft.
fn set(ports: &[u16], ranges: &[Range]) -> Option<String> {
    let single = ports.iter().map(|port| (*port, *port));
    let mut all: Vec<(u16, u16)> = single
        .chain(ranges.iter().map(|range| (range.from, range.to)))
        .collect();
    all.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (from, to) in all {
        match merged.last_mut() {
            Some((_, end)) if from <= end.saturating_add(1) => *end = to.max(*end),
            _ => merged.push((from, to)),
        }
    }
    let texts: Vec<String> = merged
        .iter()
        .map(|(from, to)| {
            if from == to {
                from.to_string()
            } else {
                format!("{from}-{to}")
            }
        })
        .collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

fn extra(rules: &str) -> impl Iterator<Item = String> {
    rules
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests;
