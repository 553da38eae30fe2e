//! A look at all that a switch may change.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;

use crate::container::Container;

/// What is looked at, a line each: the units that are up or failed, and where their files really are; `/etc` with what is
/// in it; tables; which closure is current, and which generation. Not: what comes and goes by itself, and lastgood's own
/// units and records.
const SCRIPT: &str = r#"
echo "current $(readlink /run/current-system)"
echo "profile $(readlink /nix/var/nix/profiles/system)"
systemctl show --property=Id --property=LoadState --property=ActiveState --property=SubState --property=FragmentPath \
    --property=DropInPaths '*' | {
    while IFS='=' read -r key value; do
        case $key in
        Id) unit=$value ;;
        LoadState) load=$value ;;
        ActiveState) active=$value ;;
        SubState) sub=$value ;;
        FragmentPath) [ -z "$value" ] || files="$(readlink -f "$value")" ;;
        DropInPaths) for file in $value; do files="$files $(readlink -f "$file")"; done ;;
        '')
            case $unit in
            lastgood* | *.scope | *.device | run-* | session-* | systemd-tmpfiles-clean.service) ;;
            # One that is down may be in memory or not.
            *) [ "$active" = inactive ] || echo "unit $unit $load $active $sub $files" ;;
            esac
            files=
            ;;
        esac
    done
    # What ends the text is no empty line.
    case $unit in
    lastgood* | *.scope | *.device | run-* | session-*) ;;
    *) [ "$active" = inactive ] || echo "unit $unit $load $active $sub $files" ;;
    esac
}
find /etc -xdev ! -name '.lastgood-*' ! -path /etc ! -path /etc/static -printf 'etc %p %y %m %u %g %l\n'
find /etc -xdev -type f ! -name '.lastgood-*' -exec md5sum {} +
echo "static $(readlink -f /etc/static)"
nft -s list ruleset | sed 's/^/nft /'
"#;

/// What was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look(BTreeSet<String>);

/// Looks.
///
/// # Errors
/// When the machine cannot be entered.
pub fn look(server: &Container) -> Result<Look> {
    let text = server.run_ok(SCRIPT)?;
    Ok(Look(text.lines().map(str::to_owned).collect()))
}

impl Look {
    /// What is different since `before`, for people. Nothing: none.
    #[must_use]
    pub fn since(&self, before: &Self) -> Option<Difference> {
        let gone: Vec<String> = before.0.difference(&self.0).cloned().collect();
        let new: Vec<String> = self.0.difference(&before.0).cloned().collect();
        (!gone.is_empty() || !new.is_empty()).then_some(Difference { gone, new })
    }

    /// The lines that begin so.
    pub fn lines<'a>(&'a self, beginning: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.0.iter().map(String::as_str);
        lines.filter(move |line| line.starts_with(beginning))
    }
}

/// What two looks differ in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    gone: Vec<String>,
    new: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.gone {
            writeln!(f, "- {line}")?;
        }
        for line in &self.new {
            writeln!(f, "+ {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_both_sides() {
        let of = |lines: &[&str]| Look(lines.iter().map(|line| (*line).to_owned()).collect());
        let (before, after) = (of(&["a", "b"]), of(&["b", "c"]));
        assert_eq!(before.since(&before), None);
        let difference = after.since(&before).unwrap();
        assert_eq!(difference.to_string(), "- a\n+ c\n");
    }
}
