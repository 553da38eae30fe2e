//! What systemd tells by itself. On its private socket that is everything, to everybody who is connected.

use zbus::ObjectPath;

use super::jobs::{JobId, JobResult};
use super::message::Incoming;
use super::names;

/// One piece of news.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal {
    /// A job was queued. When systemd is executed anew, all are told again.
    JobNew {
        /// Its number.
        id: JobId,
        /// Its unit.
        unit: String,
    },
    /// A job is over. The unit's new state was told before.
    JobRemoved {
        /// Its number.
        id: JobId,
        /// Its unit.
        unit: String,
        /// How it ended.
        result: JobResult,
    },
    /// A unit was read. A question about a unit is enough for that.
    UnitNew {
        /// Its name.
        unit: String,
    },
    /// A unit was forgotten. A reload forgets and reads them all, which says nothing about them.
    UnitRemoved {
        /// Its name.
        unit: String,
    },
    /// Something about a unit changed. To what is not kept: a boot tells megabytes of it, and not all that changes is told.
    Changed {
        /// Its name.
        unit: String,
    },
    /// systemd begins to read all units anew, or has done so.
    Reloading {
        /// It begins.
        begins: bool,
    },
    /// All jobs of the boot are over.
    StartupFinished,
    /// More was told than is kept: look at everything.
    Missed,
}

impl Signal {
    /// What a message tells. None: nothing that matters here.
    pub(super) fn read(message: &Incoming) -> Option<Self> {
        // What has another form than it has today is told in another way, and does not matter either.
        match message.member.as_str() {
            "JobNew" => {
                let (id, _, unit) = message.body::<(u32, ObjectPath<'_>, &str)>().ok()?;
                let unit = unit.to_owned();
                Some(Self::JobNew {
                    id: JobId(id),
                    unit,
                })
            }
            "JobRemoved" => {
                let (id, _, unit, result) =
                    message.body::<(u32, ObjectPath<'_>, &str, &str)>().ok()?;
                Some(Self::JobRemoved {
                    id: JobId(id),
                    unit: unit.to_owned(),
                    result: JobResult::from(result),
                })
            }
            "UnitNew" => unit_of(message).map(|unit| Self::UnitNew { unit }),
            "UnitRemoved" => unit_of(message).map(|unit| Self::UnitRemoved { unit }),
            "Reloading" => {
                let begins = message.body::<bool>().ok()?;
                Some(Self::Reloading { begins })
            }
            "StartupFinished" => Some(Self::StartupFinished),
            "PropertiesChanged" => {
                let unit = names::unit_of_path(&message.path)?;
                Some(Self::Changed { unit })
            }
            _ => None,
        }
    }
}

fn unit_of(message: &Incoming) -> Option<String> {
    let (name, _) = message.body::<(&str, ObjectPath<'_>)>().ok()?;
    Some(name.to_owned())
}
