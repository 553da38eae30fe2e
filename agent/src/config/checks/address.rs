//! Where on the network: `HOST:PORT`, and the addresses of pages.

use std::fmt;
use std::net::Ipv6Addr;

use serde::Deserialize;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Address {
    /// A name or an address, without brackets.
    pub host: String,
    /// From 1.
    pub port: u16,
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (host, port) = split(&text)?;
        let port = port.ok_or_else(|| format!("{text:?} has no port: say HOST:PORT"))?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The address of a page. Without encryption.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Url {
    /// Who is asked.
    pub address: Address,
    /// Who is meant, as it was written: what the request names as its host.
    pub authority: String,
    /// What is asked for, from its `/` on.
    pub path: String,
}

impl TryFrom<String> for Url {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.starts_with("https:") {
            return Err(format!(
                "{text:?}: only plain http is spoken here; for https say exec = [\"curl\", \"--fail\", \"--silent\", \"--show-error\", {text:?}]"
            ));
        }
        let rest = text
            .strip_prefix("http://")
            .ok_or_else(|| format!("{text:?} does not begin with http://"))?;
        if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(format!("{text:?} has {odd:?} in it: write it as %XX"));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(format!(
                "{text:?} has a user in it, which is not sent: say `exec` with curl"
            ));
        }
        let (host, port) = split(authority)?;
        let path = path.split('#').next().unwrap_or_default();
        Ok(Self {
            address: Address {
                host,
                port: port.unwrap_or(80),
            },
            authority: authority.to_owned(),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`.
fn split(text: &str) -> Result<(String, Option<u16>), String> {
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (name, port) = rest
            .split_once(']')
            .ok_or_else(|| format!("{text:?} has no `]`"))?;
        if name.parse::<Ipv6Addr>().is_err() {
            return Err(format!("{name:?} is no IPv6 address"));
        }
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port),
            None if port.is_empty() => None,
            None => {
                return Err(format!(
                    "{text:?} has something other than a port after `]`"
                ));
            }
        };
        (name, port)
    } else {
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        };
        if port.is_some_and(|port| port.contains(':')) {
            return Err(format!(
                "{text:?}: an IPv6 address stands in brackets, such as \"[::1]:80\""
            ));
        }
        host(name)?;
        (name, port)
    };
    let port = port.map(|port| {
        let number = port.parse::<u16>().ok().filter(|number| *number > 0);
        number.ok_or_else(|| format!("{port:?} is no port: there are 1 to 65535"))
    });
    Ok((name.to_owned(), port.transpose()?))
}

/// Whether a name, or an IPv4 address, could be one.
pub(super) fn host(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && name.len() < 254 && name.chars().all(is_plain) {
        Ok(())
    } else {
        Err(format!("{name:?} is no name of a host"))
    }
}
