//! What a closure asks of the machine it runs on.

use std::time::Duration;

use crate::config::Health;

/// What a closure asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// Units that must be active, with their suffix. Those of `boot-complete.target` come with each snapshot.
    pub units: Vec<String>,
    /// How long everything must stay well.
    pub settle: Duration,
    /// When waiting ends, counted from the same instant as the observations.
    pub deadline: Duration,
}

impl From<&Health> for Requirements {
    fn from(health: &Health) -> Self {
        Self {
            units: health.required_units.iter().map(|n| full_name(n)).collect(),
            settle: health.settle_sec.into(),
            deadline: health.deadline_sec.into(),
        }
    }
}

/// `nginx` means `nginx.service`, as for systemctl.
fn full_name(name: &str) -> String {
    const SUFFIXES: [&str; 11] = [
        "service",
        "socket",
        "target",
        "mount",
        "automount",
        "timer",
        "path",
        "swap",
        "device",
        "slice",
        "scope",
    ];
    match name.rsplit_once('.') {
        Some((_, suffix)) if SUFFIXES.contains(&suffix) => name.to_owned(),
        _ => format!("{name}.service"),
    }
}
