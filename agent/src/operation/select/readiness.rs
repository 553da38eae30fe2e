//! What of a host and a closure would cost a boot or a proof, said at `install`, where somebody can mend it. On a plain
//! host only: NixOS brings its own `init` and links its own units.

use std::path::{Path, PathBuf};

use boot_entries::Root;

use crate::activation::{etc, generator};
use crate::host::{self, AGENT, Kind, MOUNTS, StoreMount, store_mount};
use crate::report::line::one_line;
use crate::state::Subject;
use crate::store::handover::Units;

/// What there is to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Where the closure's `init` leads. None: nobody knows.
    init: Option<PathBuf>,
    /// The agent on this host: what `init` is to lead to.
    agent: PathBuf,
    /// How many units the closure has. None: nobody knows, or it does not matter.
    units: Option<usize>,
    /// What is mounted on `/nix` or in it, and where.
    mounted: Option<StoreMount>,
    /// In this boot the store was there before systemd was.
    was_in_time: bool,
}

/// What is to be said of it: a total function. It is installed all the same.
pub(super) fn warnings(subject: &Subject, facts: &Facts) -> Vec<String> {
    let id = &subject.generation;
    let mut warnings = Vec::new();
    if let Some(init) = facts.init.as_ref().filter(|init| **init != facts.agent) {
        warnings.push(format!(
            "the init of generation {id} leads to {} and not to {AGENT}: systemd reads fstab, hostname and the like before \
             they are this generation's, and a boot in which they change proves nothing; build it with {AGENT} as its init",
            init.display()
        ));
    }
    if facts.units == Some(0) {
        warnings.push(format!(
            "generation {id} has no units in etc/systemd/system: nothing of it is started, and what is judged are the host's \
             own"
        ));
    }
    if let Some(StoreMount { source, point }) =
        facts.mounted.as_ref().filter(|_| !facts.was_in_time)
    {
        warnings.push(format!(
            "{} is a mount of its own ({source}): the initrd has to mount it, or no unit of generation {id} is found in \
             time, and no boot is proven; docs/operator.md, \"The initrd, fstab, and /nix\", says how",
            point.display()
        ));
    }
    warnings
}

/// What of the host's `/etc` the closure wants to be otherwise and cannot have. It is installed all the same: what is in
/// the way may be moved before the boot.
pub(super) fn in_the_way(root: &Root, subject: &Subject) -> Vec<String> {
    if !is_plain(root) {
        return Vec::new();
    }
    told(subject, &etc::in_the_way(root, &subject.toplevel))
}

/// More would hide what comes after.
const MOST: usize = 5;

fn told(subject: &Subject, problems: &[etc::Problem]) -> Vec<String> {
    let id = &subject.generation;
    let line = |problem: &etc::Problem| {
        format!("generation {id} will not be healthy: {}", one_line(problem))
    };
    let mut lines: Vec<String> = problems.iter().take(MOST).map(line).collect();
    let more = problems.len().saturating_sub(MOST);
    if more > 0 {
        lines.push(format!(
            "generation {id}: there are {more} more like that in /etc"
        ));
    }
    lines
}

/// Whether lastgood puts the closure in place here, and not NixOS.
pub(super) fn is_plain(root: &Root) -> bool {
    host::kind(root).ok() == Some(Kind::Plain)
}

/// Looks. There is nothing to say on another kind of host.
pub(super) fn look(root: &Root, subject: &Subject) -> Facts {
    let toplevel = &subject.toplevel;
    let canonical = |path: &Path| root.canonical(path).ok();
    let agent = canonical(Path::new(AGENT)).unwrap_or_else(|| AGENT.into());
    if !is_plain(root) {
        return Facts {
            agent,
            units: None,
            ..Facts::default()
        };
    }
    Facts {
        init: canonical(&toplevel.join("init")),
        agent,
        units: generator::units_of(root, toplevel).ok(),
        mounted: store_mount(root).unwrap_or_else(|error| {
            tracing::warn!("cannot read {MOUNTS}: {}", one_line(&error));
            None
        }),
        was_in_time: Units::are_complete(root),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::GenerationId;

    fn subject() -> Subject {
        Subject {
            generation: GenerationId::system(7),
            toplevel: "/nix/store/a".into(),
        }
    }

    #[test]
    fn of_many_files_in_the_way_a_few_are_named() {
        let problem = |number: usize| etc::Problem::Foreign {
            wanted: number.to_string().into(),
            found: number.to_string().into(),
        };
        for (count, lines) in [(0, 0), (1, 1), (MOST, MOST), (MOST + 2, MOST + 1)] {
            let problems: Vec<_> = (0..count).map(problem).collect();
            let said = told(&subject(), &problems);
            assert_eq!(said.len(), lines, "{said:?}");
            assert!(said.iter().all(|line| line.starts_with("generation 7")));
            assert_eq!(said.join("\n").contains("2 more"), count > MOST, "{said:?}");
        }
    }

    /// Every combination.
    #[test]
    fn what_would_cost_a_boot_or_a_proof_is_said() {
        let systemd = Some(PathBuf::from("/usr/lib/systemd/systemd"));
        let agent = Some(PathBuf::from(AGENT));
        for (init, other_init) in [(None, false), (agent, false), (systemd, true)] {
            for units in [None, Some(0), Some(3)] {
                for is_mounted in [false, true] {
                    for was_in_time in [false, true] {
                        let facts = Facts {
                            init: init.clone(),
                            agent: AGENT.into(),
                            units,
                            mounted: is_mounted.then(|| StoreMount {
                                source: "/dev/sdb1".to_owned(),
                                point: "/nix".into(),
                            }),
                            was_in_time,
                        };
                        let said = warnings(&subject(), &facts).join("\n");
                        assert_eq!(
                            said.contains("leads to /usr/lib/systemd/systemd"),
                            other_init
                        );
                        assert_eq!(said.contains("no units"), units == Some(0));
                        let is_late = is_mounted && !was_in_time;
                        assert_eq!(
                            said.contains("/nix is a mount of its own (/dev/sdb1)"),
                            is_late
                        );
                    }
                }
            }
        }
    }
}
