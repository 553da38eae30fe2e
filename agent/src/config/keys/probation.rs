//! The keys of what is watched after a verdict.

use super::{Key, Kind};

/// How long.
pub(super) const LASTS: Key = Key {
    section: "health",
    name: "probation-sec",
    kind: Kind::Integer(0, 86400),
    default: Some("600"),
    example: "3600",
    what: "How long the generation is watched after it was proven, in seconds; 0 for not at all. If it breaks one of the budgets \
           below, or fails a required check again and again, the machine goes back to the generation proven before it. That \
           happens once in the life of a generation. Once it was well for so long, no later boot watches it.",
    why: "What crashes under its first load, or when a queue or the memory is full, most often does within minutes. Who has \
          selected it may still be there.",
};

/// How many crashes.
pub(super) const RESTARTS: Key = Key {
    section: "health",
    name: "probation-restarts",
    kind: Kind::Integer(0, 1000),
    default: Some("3"),
    example: "0",
    what: "How often systemd may restart one unit in that time because it ended badly. Restarts that somebody asks for do not \
           count, nor do units that the boot was not to start.",
    why: "A crash or two may be those of a client, or of a service that was not up yet. Who dies four times in ten minutes \
          drops what its users are doing every other minute.",
};

/// How many failures.
pub(super) const FAILURES: Key = Key {
    section: "health",
    name: "probation-failures",
    kind: Kind::Integer(0, 1000),
    default: Some("0"),
    example: "1",
    what: "How many units that were up when the generation was proven may fail for good in that time. One that is required may \
           not.",
    why: "systemd has given up on them. What may fail is better named in `wanted-units`.",
};
