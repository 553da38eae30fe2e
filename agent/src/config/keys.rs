//! Every key of lastgood.toml: what it is for, its default, and why that is the default.
//!
//! The one list of them. The example file (`docs/lastgood.toml`), the manual page, and the options of the NixOS module
//! (`nix/options.json`) are made of it. That it names what is really read, and the defaults that really hold, is tested
//! against the types beside it.

mod key;
mod nearest;
mod probation;

pub use key::{Key, Kind, SECTIONS};
pub use nearest::nearest;

const PORT: Kind = Kind::Integer(0, 65535);
const PAUSE: Kind = Kind::Integer(0, 3600);
const PORTS: Kind = Kind::Many(&PORT);

/// All keys, in the order of the file.
pub const KEYS: &[Key] = &[
    Key {
        section: "boot",
        name: "esp",
        kind: Kind::Path,
        default: None,
        example: "\"/boot1\"",
        what: "Where the first EFI system partition is mounted.",
        why: "The loader says which partition it came from. Where it does not, /efi, /boot and /boot/efi are looked at.",
    },
    Key {
        section: "boot",
        name: "mirrors",
        kind: Kind::Many(&Kind::Path),
        default: Some("[]"),
        example: "[\"/boot2\"]",
        what: "Mount points of further EFI system partitions. Each is kept bootable by itself.",
        why: "Nobody else's partition is written to unless it is named.",
    },
    Key {
        section: "boot",
        name: "timeout",
        kind: Kind::Either(
            &Kind::Integer(0, 65535),
            &Kind::Word(&["menu-hidden", "menu-disabled"]),
        ),
        default: None,
        example: "1",
        what: "How long the loader's menu waits, in seconds. \"menu-force\" is refused: nobody is there to press a key.",
        why: "The operator's line in loader.conf stays. Where there is none, 3 seconds are added: enough for somebody at the \
              console, and nothing against a boot.",
    },
    Key {
        section: "boot",
        name: "editor",
        kind: Kind::Bool,
        default: None,
        example: "true",
        what: "Whether the loader lets whoever is at the console edit command lines.",
        why: "The operator's line in loader.conf stays. Where there is none, `editor no` is added: an edited command line is a \
              root shell without a password.",
    },
    Key {
        section: "boot",
        name: "console-mode",
        kind: Kind::Either(
            &Kind::Integer(0, 65535),
            &Kind::Word(&["auto", "max", "keep"]),
        ),
        default: None,
        example: "\"keep\"",
        what: "The loader's console mode, as in loader.conf(5).",
        why: "A serial console needs none. The operator's line stays.",
    },
    Key {
        section: "boot",
        name: "configuration-limit",
        kind: Kind::Integer(1, 1_000_000),
        default: None,
        example: "20",
        what: "How many generations of each profile get entries, besides those that a fallback may need.",
        why: "All of them: when $BOOT gets full the oldest that nothing needs go first, by themselves.",
    },
    Key {
        section: "boot",
        name: "can-touch-efi-variables",
        kind: Kind::Bool,
        default: Some("true"),
        example: "false",
        what: "Whether EFI variables may be written: the loader's boot option is made, and what overrides the selection once \
               is cleared.",
        why: "A variable that somebody left behind would start another entry than the one that was selected.",
    },
    Key {
        section: "boot",
        name: "keep-second-proven",
        kind: Kind::Bool,
        default: Some("true"),
        example: "false",
        what: "Whether the second of two proven generations keeps its entry when there is no room for a third. Its closure is \
               kept either way.",
        why: "One damaged file must not leave a machine without a way back. Say false where $BOOT holds two and no more.",
    },
    Key {
        section: "boot",
        name: "extra-files",
        kind: Kind::Map(&Kind::Path),
        default: Some("{}"),
        example: "{ \"EFI/memtest86/memtest.efi\" = \"boot/memtest.efi\" }",
        what: "Files to put on $BOOT: the path there, and where the file is, in this closure or in the store. Entries are files, \
               too.",
        why: "Nothing is put there that nobody asked for.",
    },
    Key {
        section: "health",
        name: "required-units",
        kind: Kind::Many(&Kind::Text),
        default: Some("[]"),
        example: "[\"nginx.service\", \"sshd.service\"]",
        what: "Units that must be active, besides those that boot-complete.target requires. Name what the machine is there for, \
               and what you log in by.",
        why: "Without any, a unit that fails now and did not under the last good generation is still a fault.",
    },
    Key {
        section: "health",
        name: "wanted-units",
        kind: Kind::Many(&Kind::Text),
        default: Some("[]"),
        example: "[\"backup.service\"]",
        what: "Units whose failure is told, and held against no generation. Name what may fail for reasons outside the machine.",
        why: "What nobody has said anything about is taken for part of the machine.",
    },
    Key {
        section: "health",
        name: "settle-sec",
        kind: Kind::Integer(1, 800),
        default: Some("10"),
        example: "60",
        what: "How long everything must stay well before the generation is proven, in seconds.",
        why: "A service that dies at once and is started again shows itself within seconds. A database that recovers needs more.",
    },
    Key {
        section: "health",
        name: "deadline-sec",
        kind: Kind::Integer(1, 800),
        default: Some("300"),
        example: "600",
        what: "When an assessment without a verdict ends as a failure, in seconds since the agent began. Slow services need more.",
        why: "A machine that hangs is back on the last good generation in minutes, and most servers start in one.",
    },
    probation::LASTS,
    probation::RESTARTS,
    probation::FAILURES,
    Key {
        section: "health",
        name: "checks",
        kind: Kind::Map(&Kind::Table),
        default: Some("{}"),
        example: "{ web = { http = \"http://127.0.0.1/\", retries = 5 }, dns = { resolve = \"example.org\", wanted = true } }",
        what: "What is tried on the running machine, by a name of its own. Each says one of `exec` (a program of the closure or the \
               host, with its arguments; `user` runs it), `tcp` (HOST:PORT), `http` (a page; `status` and `body` are expected), \
               `unit` (it is active), `default-route` (ipv4, ipv6, any), `resolve` (a name has an address), `mount` (a path; \
               `writable`), `free-space` (a path; `at-least` such as \"10%\" or \"2G\") and `time-sync`. `timeout-sec` (10) ends a \
               run, with all that it has started. `interval-sec` (5) is the time between runs, `start-delay-sec` (0) the time \
               before the first one. A check that failed is run again `retries` times at most; if it has not passed by then, it has \
               failed. Without `retries` it is tried until the deadline. `wanted = true`: its failure is told, and held against no generation.",
        why: "What a machine is there for nobody else knows. Units that are active are all that can be asked for without a word.",
    },
    Key {
        section: "firewall",
        name: "ruleset",
        kind: Kind::Path,
        default: None,
        example: "\"etc/nftables.conf\"",
        what: "An nftables script of the closure, loaded before the network. It excludes `unit`, `enable` and all rules.",
        why: "A closure may load its firewall by units of its own.",
    },
    Key {
        section: "firewall",
        name: "unit",
        kind: Kind::Text,
        default: None,
        example: "\"nftables.service\"",
        what: "On NixOS: the closure's own unit that loads its firewall. The machine is closed if it is not active before the \
               network. It excludes `ruleset`, `enable` and all rules.",
        why: "The NixOS module says it. Elsewhere lastgood is earlier than such a unit, and `install` refuses it.",
    },
    Key {
        section: "firewall",
        name: "management-ports",
        kind: PORTS,
        default: Some("[22]"),
        example: "[22, 2222]",
        what: "TCP ports that stay open when the firewall cannot be loaded and the machine is closed. An empty list closes all.",
        why: "Somebody must be able to log in and mend it.",
    },
    Key {
        section: "firewall",
        name: "enable",
        kind: Kind::Bool,
        default: None,
        example: "true",
        what: "Whether a firewall is made of the rules below. They are those of NixOS's networking.firewall.",
        why: "Rules without this key are a mistake, because nothing would be made of them.",
    },
    Key {
        section: "firewall",
        name: "allowed-tcp-ports",
        kind: PORTS,
        default: Some("[]"),
        example: "[80, 443]",
        what: "TCP ports that are open on every interface.",
        why: "As in NixOS: closed unless said. Port 22 as well, so say it here if you need it.",
    },
    Key {
        section: "firewall",
        name: "allowed-tcp-port-ranges",
        kind: Kind::Many(&Kind::Table),
        default: Some("[]"),
        example: "[{ from = 8000, to = 8010 }]",
        what: "The same, from one port to another.",
        why: "As in NixOS.",
    },
    Key {
        section: "firewall",
        name: "allowed-udp-ports",
        kind: PORTS,
        default: Some("[]"),
        example: "[53]",
        what: "UDP ports that are open on every interface.",
        why: "As in NixOS.",
    },
    Key {
        section: "firewall",
        name: "allowed-udp-port-ranges",
        kind: Kind::Many(&Kind::Table),
        default: Some("[]"),
        example: "[{ from = 60000, to = 61000 }]",
        what: "The same, from one port to another.",
        why: "As in NixOS.",
    },
    Key {
        section: "firewall",
        name: "interfaces",
        kind: Kind::Map(&Kind::Table),
        default: Some("{}"),
        example: "{ eth1 = { allowed-tcp-ports = [9100] } }",
        what: "What is open on one interface: the four keys above, by its name. A name that ends with `*` means all that begin so.",
        why: "As in NixOS.",
    },
    Key {
        section: "firewall",
        name: "trusted-interfaces",
        kind: Kind::Many(&Kind::Text),
        default: Some("[]"),
        example: "[\"wg0\"]",
        what: "Interfaces on which everything may come in. `lo` is one anyway.",
        why: "As in NixOS.",
    },
    Key {
        section: "firewall",
        name: "allow-ping",
        kind: Kind::Bool,
        default: Some("true"),
        example: "false",
        what: "Whether echo requests are answered, for IPv4 and IPv6.",
        why: "As in NixOS. Whoever looks for a machine at 3 a.m. pings it first.",
    },
    Key {
        section: "firewall",
        name: "ping-limit",
        kind: Kind::Text,
        default: None,
        example: "\"1/second burst 5 packets\"",
        what: "How many of them, in nftables' words.",
        why: "As in NixOS: no limit.",
    },
    Key {
        section: "firewall",
        name: "reject-packets",
        kind: Kind::Bool,
        default: Some("false"),
        example: "true",
        what: "Whether who is refused is told so. Else packets are dropped.",
        why: "As in NixOS.",
    },
    Key {
        section: "firewall",
        name: "log-refused-connections",
        kind: Kind::Bool,
        default: Some("true"),
        example: "false",
        what: "Whether refused TCP connections are logged.",
        why: "Who knocks can be found in the kernel's log. NixOS had the same default; newer releases say false.",
    },
    Key {
        section: "firewall",
        name: "check-reverse-path",
        kind: Kind::Either(&Kind::Bool, &Kind::Word(&["strict", "loose"])),
        default: Some("true"),
        example: "\"loose\"",
        what: "Whether a packet must come in where an answer to it would go out. Machines with several ways out need \"loose\".",
        why: "As in NixOS: true, which is \"strict\".",
    },
    Key {
        section: "firewall",
        name: "extra-input-rules",
        kind: Kind::Text,
        default: Some("\"\""),
        example: "\"ip saddr 192.0.2.0/24 tcp dport 5432 accept\"",
        what: "Further rules for what comes in, in nftables' words.",
        why: "As in NixOS.",
    },
    Key {
        section: "firewall",
        name: "filter-forward",
        kind: Kind::Bool,
        default: Some("false"),
        example: "true",
        what: "Whether packets for others are refused as well, but for answers and what a dnat rule let in.",
        why: "As in NixOS. Docker and Kubernetes filter what they forward by themselves.",
    },
    Key {
        section: "firewall",
        name: "extra-forward-rules",
        kind: Kind::Text,
        default: Some("\"\""),
        example: "\"iifname wg0 accept\"",
        what: "Further rules for packets for others.",
        why: "As in NixOS.",
    },
    Key {
        section: "activation",
        name: "script",
        kind: Kind::Path,
        default: None,
        example: "\"activate\"",
        what: "A program of the closure that is run as root after /etc, in every boot. It must be able to find its work done.",
        why: "Most closures need none. nixpkgs' own `activate` is not meant: it makes /etc by itself.",
    },
    Key {
        section: "activation",
        name: "deadline-sec",
        kind: Kind::Integer(1, 240),
        default: Some("120"),
        example: "30",
        what: "When the script is ended, with all that it has started, in seconds.",
        why: "It runs before the network and before anybody can log in. What takes longer belongs into a unit.",
    },
    Key {
        section: "switch",
        name: "settle-sec",
        kind: Kind::Integer(1, 800),
        default: Some("2"),
        example: "10",
        what: "How long everything must stay as it was intended after a live switch, in seconds.",
        why: "A service that dies at once shows itself within a second or two, and somebody waits for the command to end.",
    },
    Key {
        section: "switch",
        name: "patience-sec",
        kind: Kind::Integer(1, 800),
        default: Some("60"),
        example: "300",
        what: "How long a unit may be on its way after a live switch, in seconds. Then it is named, and neither waited for nor held \
               against the switch.",
        why: "Some units wait for what a deploy tool brings only after the switch has ended.",
    },
    Key {
        section: "fallback",
        name: "live",
        kind: Kind::Bool,
        default: Some("false"),
        example: "true",
        what: "Go back without a reboot where kernel, initrd, modules and parameters are those of the last good generation. If that \
               does not end well, the machine reboots.",
        why: "A reboot leaves nothing of a bad generation behind. Without one the machine is back within seconds.",
    },
    Key {
        section: "fallback",
        name: "soft-reboot",
        kind: Kind::Bool,
        default: Some("true"),
        example: "false",
        what: "Go back by a soft-reboot where kernel, initrd, modules and parameters are those of the last good generation: all \
               services are started anew, and the kernel stays. It takes systemd 256, and a plain host. If it does not come \
               to its end, the machine reboots.",
        why: "Firmware, loader, kernel and initrd take most of a reboot, and they would be the same.",
    },
    Key {
        section: "fallback",
        name: "kexec",
        kind: Kind::Bool,
        default: Some("false"),
        example: "true",
        what: "Go back by kexec, where a soft-reboot is not to be had: the running kernel starts the last good generation's, past \
               firmware and loader. It takes kexec(8).",
        why: "Some hardware does not come up again without its firmware, and nothing guards the moment in between: systemd's \
              KExecWatchdogSec= is off. It is for servers whose firmware takes minutes, once it was tried there.",
    },
    Key {
        section: "fallback",
        name: "inhibitor-patience-sec",
        kind: PAUSE,
        default: Some("60"),
        example: "300",
        what: "How long an automatic reboot waits for those who hold up a shutdown (systemd-inhibit). Then it goes all the same.",
        why: "A backup or an upgrade may end in time. What runs was found bad, so it is not to run for long.",
    },
    Key {
        section: "fallback",
        name: "grace-sec",
        kind: PAUSE,
        default: Some("60"),
        example: "0",
        what: "How long an automatic reboot waits where somebody is logged in, or nobody can tell. It is announced on their \
               terminals, with the command that holds it.",
        why: "Whoever looks for the fault must be able to say that they do. With nobody there it waits for nobody.",
    },
    Key {
        section: "fallback",
        name: "stop-sec",
        kind: Kind::Integer(1, 3600),
        default: Some("180"),
        example: "900",
        what: "How long services may take to stop on the way down, before the machine reboots by force.",
        why: "It is twice what systemd grants one service (DefaultTimeoutStopSec=). systemd alone waits half an hour.",
    },
    Key {
        section: "hooks",
        name: "on-proven",
        kind: Kind::Path,
        default: None,
        example: "\"hooks/unlock\"",
        what: "A program that is run as root when what was selected is found good: one of the closure, or an absolute path. What \
               happened is in its environment and, as JSON, on its standard input.",
        why: "Most machines hold nothing that is to be given back.",
    },
    Key {
        section: "hooks",
        name: "on-fallback",
        kind: Kind::Path,
        default: None,
        example: "\"hooks/unlock\"",
        what: "The same when the machine went back, and what it went back to is found good.",
        why: "As above.",
    },
    Key {
        section: "hooks",
        name: "on-degraded",
        kind: Kind::Path,
        default: None,
        example: "\"/usr/local/bin/page-me\"",
        what: "The same when the machine is not well and stays up.",
        why: "As above.",
    },
    Key {
        section: "hooks",
        name: "deadline-sec",
        kind: Kind::Integer(1, 240),
        default: Some("60"),
        example: "20",
        what: "When a hook is ended, with all that it has started, in seconds.",
        why: "Nothing of a boot waits for it, and a call over the network that takes longer will not come back.",
    },
    Key {
        section: "metrics",
        name: "textfile-directory",
        kind: Kind::Path,
        default: None,
        example: "\"/var/lib/prometheus/node-exporter\"",
        what: "The directory that node_exporter's textfile collector reads. After each event lastgood.prom is written there, for \
               Prometheus.",
        why: "Not every machine has a node_exporter, and nobody else's directory is written to unless it is named. The example is \
              Debian's.",
    },
];

#[cfg(test)]
mod tests;
