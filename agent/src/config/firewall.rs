//! `[firewall]`: what must be in the kernel before the network. The words of rules are those of NixOS's
//! `networking.firewall`, and so are their defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::host::full_name;

/// `[firewall]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of its own, as in NixOS"
)]
pub struct Firewall {
    /// The closure's own unit that loads its firewall.
    unit: Option<Spanned<UnitName>>,
    /// An nftables script inside the closure, relative to its top.
    ruleset: Option<Spanned<PathBuf>>,
    /// TCP ports that stay open when the firewall cannot be loaded and the machine is closed instead.
    pub management_ports: Vec<u16>,
    /// Whether a firewall is made of what follows.
    enable: Option<bool>,
    /// Interfaces that may do everything. `lo` is one.
    pub trusted_interfaces: Vec<Interface>,
    /// Open on every interface.
    allowed_tcp_ports: Vec<u16>,
    /// The same.
    allowed_tcp_port_ranges: Vec<Range>,
    /// The same.
    allowed_udp_ports: Vec<u16>,
    /// The same.
    allowed_udp_port_ranges: Vec<Range>,
    /// Open on one interface.
    pub interfaces: BTreeMap<Interface, Ports>,
    /// Whether echo requests are answered.
    pub allow_ping: bool,
    /// How many of them: `1/second`, `10/minute burst 5 packets`.
    pub ping_limit: Option<Limit>,
    /// Whether what is refused is told so. Else it is dropped.
    pub reject_packets: bool,
    /// Whether refused TCP connections are logged.
    pub log_refused_connections: bool,
    /// Whether a packet must come in where an answer to it would go out.
    pub check_reverse_path: ReversePath,
    /// Further rules for what comes in.
    pub extra_input_rules: String,
    /// Whether packets for others are refused as well.
    pub filter_forward: bool,
    /// Further rules for packets for others.
    pub extra_forward_rules: String,
}

impl Default for Firewall {
    fn default() -> Self {
        Self {
            unit: None,
            ruleset: None,
            management_ports: vec![22],
            enable: None,
            trusted_interfaces: Vec::new(),
            allowed_tcp_ports: Vec::new(),
            allowed_tcp_port_ranges: Vec::new(),
            allowed_udp_ports: Vec::new(),
            allowed_udp_port_ranges: Vec::new(),
            interfaces: BTreeMap::new(),
            allow_ping: true,
            ping_limit: None,
            reject_packets: false,
            log_refused_connections: true,
            check_reverse_path: ReversePath::Strict,
            extra_input_rules: String::new(),
            filter_forward: false,
            extra_forward_rules: String::new(),
        }
    }
}

/// What a closure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Nothing: its own units see to it.
    Nothing,
    /// That this unit of its own is active before the network.
    Unit(&'a str),
    /// This script.
    Ruleset(&'a PathBuf),
    /// What these rules come to.
    Rules(&'a Firewall),
}

impl Firewall {
    /// One that asks for `unit`.
    #[cfg(test)]
    pub(crate) fn of_unit(unit: &str, management_ports: Vec<u16>) -> Self {
        Self {
            unit: Some(Spanned::new(0..0, UnitName(unit.to_owned()))),
            management_ports,
            ..Self::default()
        }
    }

    /// One that asks for the script at `path`.
    #[must_use]
    pub fn of_ruleset(path: PathBuf, management_ports: Vec<u16>) -> Self {
        Self {
            ruleset: Some(Spanned::new(0..0, path)),
            management_ports,
            ..Self::default()
        }
    }

    /// What it asks for.
    #[must_use]
    pub fn asked(&self) -> Asked<'_> {
        match (&self.unit, &self.ruleset, self.enable) {
            (Some(unit), _, _) => Asked::Unit(&unit.get_ref().0),
            (None, Some(ruleset), _) => Asked::Ruleset(ruleset.get_ref()),
            (None, None, Some(true)) => Asked::Rules(self),
            (None, None, None | Some(false)) => Asked::Nothing,
        }
    }

    /// What is open on every interface.
    #[must_use]
    pub fn everywhere(&self) -> Ports {
        Ports {
            allowed_tcp_ports: self.allowed_tcp_ports.clone(),
            allowed_tcp_port_ranges: self.allowed_tcp_port_ranges.clone(),
            allowed_udp_ports: self.allowed_udp_ports.clone(),
            allowed_udp_port_ranges: self.allowed_udp_port_ranges.clone(),
        }
    }

    /// What it says that cannot both be meant, and where in the file `text`.
    pub(super) fn contradiction(&self, text: &str) -> Option<(usize, &'static str)> {
        let says_rules = !self.says_no_rules();
        if let Some(unit) = &self.unit {
            let both = self.ruleset.is_some() || self.enable.is_some() || says_rules;
            let what = "asks for a `unit` and for something else: say one of them, and `management-ports` with either";
            return both.then(|| (unit.span().start, what));
        }
        if let Some(ruleset) = &self.ruleset {
            let both = self.enable.is_some() || says_rules;
            let what = "asks for a `ruleset` and for rules: say one of them, and `management-ports` with either";
            return both.then(|| (ruleset.span().start, what));
        }
        let forgotten = self.enable.is_none() && says_rules;
        let what = "says rules, and nothing is made of them: say `enable = true` as well, or `enable = false`";
        forgotten.then(|| (text.find("[firewall").unwrap_or_default(), what))
    }

    fn says_no_rules(&self) -> bool {
        let nothing = Self {
            unit: self.unit.clone(),
            ruleset: self.ruleset.clone(),
            management_ports: self.management_ports.clone(),
            enable: self.enable,
            ..Self::default()
        };
        *self == nothing
    }
}

/// The full name of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct UnitName(String);

impl TryFrom<String> for UnitName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ":-_.@\\".contains(c);
        // As long as systemd takes.
        if !name.is_empty() && name.len() < 250 && name.chars().all(is_plain) {
            Ok(Self(full_name(&name)))
        } else {
            Err(format!("{name:?} is no name of a unit"))
        }
    }
}

/// Ports that are open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Ports {
    /// TCP, one by one.
    pub allowed_tcp_ports: Vec<u16>,
    /// TCP, from one to another.
    pub allowed_tcp_port_ranges: Vec<Range>,
    /// UDP, one by one.
    pub allowed_udp_ports: Vec<u16>,
    /// UDP, from one to another.
    pub allowed_udp_port_ranges: Vec<Range>,
}

/// Ports from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "FromTo")]
pub struct Range {
    /// The first one.
    pub from: u16,
    /// The last one.
    pub to: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FromTo {
    from: u16,
    to: u16,
}

impl TryFrom<FromTo> for Range {
    type Error = String;

    fn try_from(FromTo { from, to }: FromTo) -> Result<Self, String> {
        if from > to {
            return Err(format!("from {from} to {to} there is no port"));
        }
        Ok(Self { from, to })
    }
}

/// The name of an interface, which need not be there. With `*` at its end: of all that begin so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Interface(String);

impl Interface {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Interface {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let stem = name.strip_suffix('*').unwrap_or(&name);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@+".contains(c);
        // As long as the kernel takes.
        if (1..=15).contains(&stem.len()) && stem.chars().all(is_plain) {
            Ok(Self(name))
        } else {
            Err(format!("{name:?} is no name of an interface"))
        }
    }
}

/// How often something may happen, in nftables' words.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Limit(String);

impl Limit {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_number = |word: &str| word.parse::<u32>().is_ok_and(|number| number > 0);
        let is_rate = |word: &str| {
            let units = ["second", "minute", "hour", "day", "week"];
            let parts = word.split_once('/');
            parts.is_some_and(|(number, unit)| is_number(number) && units.contains(&unit))
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let is_limit = match words.as_slice() {
            [rate] => is_rate(rate),
            [rate, "burst", number, "packets"] => is_rate(rate) && is_number(number),
            _ => false,
        };
        if is_limit {
            Ok(Self(words.join(" ")))
        } else {
            Err("must be such as \"1/second\" or \"10/minute burst 5 packets\"".to_owned())
        }
    }
}

/// Whether a packet must come in where an answer to it would go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Word")]
pub enum ReversePath {
    /// On that very interface.
    Strict,
    /// On any one.
    Loose,
    /// No matter.
    Any,
}

/// A yes, a no, or a word.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Word {
    Bool(bool),
    Text(String),
}

impl TryFrom<Word> for ReversePath {
    type Error = String;

    fn try_from(word: Word) -> Result<Self, String> {
        match word {
            Word::Bool(true) => Ok(Self::Strict),
            Word::Bool(false) => Ok(Self::Any),
            Word::Text(word) if word == "strict" => Ok(Self::Strict),
            Word::Text(word) if word == "loose" => Ok(Self::Loose),
            Word::Text(_) => Err("must be true, \"strict\", \"loose\" or false".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn firewall(text: &str) -> Result<Firewall, String> {
        let config = Config::parse(&format!("[firewall]\n{text}\n"));
        config
            .map(|config| config.firewall)
            .map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn what_is_asked_for() {
        assert_eq!(firewall("").unwrap().asked(), Asked::Nothing);
        assert_eq!(
            firewall("enable = false\nallowed-tcp-ports = [80]")
                .unwrap()
                .asked(),
            Asked::Nothing
        );
        let rules = firewall("enable = true").unwrap();
        assert_eq!(rules.asked(), Asked::Rules(&rules));
        let path = PathBuf::from("etc/nftables.conf");
        let ruleset = firewall("ruleset = \"etc/nftables.conf\"\nmanagement-ports = []").unwrap();
        assert_eq!(ruleset.asked(), Asked::Ruleset(&path));
        let unit = firewall("unit = \"nftables\"\nmanagement-ports = [2222]").unwrap();
        assert_eq!(unit.asked(), Asked::Unit("nftables.service"));
    }

    #[test]
    fn everything_at_once() {
        let all = firewall(
            "enable = true\nallowed-tcp-ports = [80, 0]\nallowed-udp-ports = [53]\n\
             allowed-tcp-port-ranges = [{ from = 1, to = 65535 }]\nallowed-udp-port-ranges = [{ from = 5, to = 5 }]\n\
             trusted-interfaces = [\"wg0\", \"veth*\"]\nallow-ping = false\nping-limit = \"1/second  burst 5 packets\"\n\
             reject-packets = true\nlog-refused-connections = false\ncheck-reverse-path = \"loose\"\n\
             extra-input-rules = \"\"\"\nudp dport 1 accept\n\"\"\"\nfilter-forward = true\n\
             extra-forward-rules = \"accept\"\nmanagement-ports = [22]\n\
             [firewall.interfaces.\"eth0.5\"]\nallowed-tcp-ports = [9100]",
        )
        .unwrap();
        assert_eq!(all.everywhere().allowed_tcp_ports, [80, 0]);
        assert_eq!(all.ping_limit.unwrap().as_str(), "1/second burst 5 packets");
        assert_eq!(all.check_reverse_path, ReversePath::Loose);
        assert_eq!(all.interfaces.len(), 1);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        for (wrong, place) in [
            (
                "enable = true\nallowed-tcp-ports = [80, 70000]",
                "line 3, column 26",
            ),
            (
                "enable = true\nallowed-udp-ports = [-1]",
                "line 3, column 22",
            ),
            (
                "enable = true\nallowed-tcp-port-ranges = [{ from = 9, to = 8 }]",
                "line 3, column 2",
            ),
            (
                "enable = true\nallowed-tcp-port-ranges = [{ from = 9 }]",
                "line 3, column 2",
            ),
            ("enable = true\ntrusted-interfaces = [\"a b\"]", "line 3"),
            ("enable = true\ntrusted-interfaces = [\"*\"]", "line 3"),
            (
                "enable = true\ntrusted-interfaces = [\"sixteen-letters-\"]",
                "line 3",
            ),
            ("enable = true\nping-limit = \"often\"", "line 3, column 14"),
            (
                "enable = true\nping-limit = \"0/second\"",
                "line 3, column 14",
            ),
            (
                "enable = true\ncheck-reverse-path = \"maybe\"",
                "line 3, column 22",
            ),
            (
                "enable = true\n[firewall.interfaces.\"x;y\"]\nallowed-tcp-ports = [1]",
                "line 3",
            ),
            (
                "enable = true\n[firewall.interfaces.eth0]\nallow-ping = true",
                "line 4, column 1",
            ),
            ("enable = true\nallowed-tcp-port = [80]", "line 3, column 1"),
            // Both, and neither.
            ("ruleset = \"a\"\nenable = true", "line 2, column 11"),
            ("enable = false\nruleset = \"a\"", "line 3, column 11"),
            ("ruleset = \"a\"\nallow-ping = false", "line 2, column 11"),
            ("unit = \"a\"\nruleset = \"a\"", "line 2, column 8"),
            ("enable = false\nunit = \"a\"", "line 3, column 8"),
            ("unit = \"a\"\nallow-ping = false", "line 2, column 8"),
            ("unit = \"\"", "line 2, column 8"),
            ("unit = \"a/b.service\"", "line 2, column 8"),
            ("allowed-tcp-ports = [80]", "line 1, column 1"),
        ] {
            let told = firewall(wrong).unwrap_err();
            assert!(told.starts_with(place), "{wrong}: {told}");
        }
    }
}
