//! Whether anybody can have come in yet: while logind is not up, that is all that can be told about people.

use std::time::Duration;

use super::manager::{self, Manager, Wanted};

/// How long PID 1 may take to answer. It is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whoever lets somebody in has default dependencies, and so comes after basic.target: gettys, and the SSH servers. The others
/// do not wait for that, or not always.
const DOORS: [&str; 7] = [
    "basic.target",
    "debug-shell.service",
    "emergency.service",
    "rescue.service",
    "ssh.service",
    "sshd.service",
    "dropbear.service",
];

/// What PID 1 knows of one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Door {
    active: String,
    /// When it was last up, in microseconds. Zero: never.
    since: Option<u64>,
}

/// Pure and total. Whoever was up once may have let somebody in who is still there.
fn is_shut(door: &Door) -> bool {
    door.active == "inactive" && door.since == Some(0)
}

/// Nobody can have come in: nothing that lets anybody in was up in this boot.
///
/// # Errors
/// When PID 1 does not say.
pub fn is_closed() -> Result<bool, manager::Error> {
    const SINCE: &str = "ActiveEnterTimestampMonotonic";
    let mut manager = Manager::system(PATIENCE)?;
    let found = manager.properties(&DOORS, &[Wanted::unit("ActiveState"), Wanted::unit(SINCE)])?;
    Ok(found.into_iter().all(|found| {
        found.is_ok_and(|found| {
            is_shut(&Door {
                active: found.text("ActiveState").to_owned(),
                since: found.number(SINCE),
            })
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_up_is_shut() {
        for active in [
            "inactive",
            "active",
            "activating",
            "deactivating",
            "failed",
            "",
        ] {
            for since in [None, Some(0), Some(1)] {
                let door = Door {
                    active: active.to_owned(),
                    since,
                };
                let expected = active == "inactive" && since == Some(0);
                assert_eq!(is_shut(&door), expected, "{door:?}");
            }
        }
    }
}
