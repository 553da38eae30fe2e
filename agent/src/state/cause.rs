//! Why a generation was not good: what `lastgood why` tells and what survives the fallback (invariant A6).

use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// How far a boot got. In the order in which a boot goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Nothing is known beyond the loader having chosen the entry.
    Loader,
    /// The kernel was started; nothing after it reported.
    Kernel,
    /// The initrd was reached.
    Initrd,
    /// The agent ran: the attempt is in the ledger.
    Begun,
    /// The closure's `/etc` and units are in place.
    Activated,
    /// The firewall is in the kernel.
    Firewalled,
    /// The network is up.
    Network,
    /// Services are starting or have started.
    Services,
    /// Healthy, and being watched for a while.
    Probation,
    /// An assessment passed.
    Proven,
}

impl Stage {
    /// What it is called, everywhere.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loader => "loader",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::Begun => "begun",
            Self::Activated => "activated",
            Self::Firewalled => "firewalled",
            Self::Network => "network",
            Self::Services => "services",
            Self::Probation => "probation",
            Self::Proven => "proven",
        }
    }
}

/// The unit that failed, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitFailure {
    /// Its name, e.g. `nginx.service`.
    pub unit: String,
    /// systemd's `Result=`, e.g. `exit-code`, `signal`, `timeout`; where that says nothing, the unit's state, e.g.
    /// `not-found`.
    pub result: String,
    /// The exit status of the command that decided, be it the main process or one before or after it; the signal's
    /// number when `result` is `signal`. None: nothing was run, or systemd itself ended it.
    pub exit_status: Option<i32>,
    /// The last lines it logged in this boot, oldest first.
    pub log: Vec<String>,
}

/// Why a generation was not good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Recorded")]
pub struct Cause {
    /// The furthest stage that boot reached.
    pub stage: Stage,
    /// One line for a person.
    pub summary: String,
    /// What is known about the units among the faults, in their order. Of many, only the first have it.
    pub units: Vec<UnitFailure>,
    /// All that was at fault, what decided first.
    pub faults: Vec<Fault>,
}

/// A cause as it was recorded: agents before there were faults knew units only.
#[derive(Deserialize)]
struct Recorded {
    stage: Stage,
    summary: String,
    #[serde(default)]
    units: Vec<UnitFailure>,
    faults: Option<Vec<Fault>>,
}

impl From<Recorded> for Cause {
    fn from(recorded: Recorded) -> Self {
        let Recorded {
            stage,
            summary,
            units,
            faults,
        } = recorded;
        Self {
            faults: faults.unwrap_or_else(|| faults_before(stage, &units)),
            stage,
            summary,
            units,
        }
    }
}

/// The faults of a record that names units only. Without any it was the operator, an assessment without a verdict, or
/// the loader; only the loader's own has a stage that no other can have. None of these can be shared, so that nothing
/// depends on the rest.
fn faults_before(stage: Stage, units: &[UnitFailure]) -> Vec<Fault> {
    if units.is_empty() && stage == Stage::Loader {
        return vec![Fault::TriesUsedUp];
    }
    units.iter().map(|one| Fault::of_unit(&one.unit)).collect()
}

impl Cause {
    /// One fault that no unit can tell more about.
    #[must_use]
    pub fn new(stage: Stage, summary: String, fault: Fault) -> Self {
        Self {
            stage,
            summary,
            units: Vec::new(),
            faults: vec![fault],
        }
    }

    /// The same, where the fault says it all.
    #[must_use]
    pub fn of(stage: Stage, fault: Fault) -> Self {
        Self::new(stage, fault.to_string(), fault)
    }

    /// What is known about the unit of `fault`: its own, or that in which its check was run.
    #[must_use]
    pub fn detail_of(&self, fault: &Fault) -> Option<&UnitFailure> {
        let unit = fault.witness()?;
        self.units.iter().find(|one| one.unit == *unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_has_one_name() {
        let mut stage = Some(Stage::Loader);
        while let Some(this) = stage {
            assert_eq!(serde_json::to_value(this).unwrap(), this.name());
            // What comes next, so that none can be left out.
            stage = match this {
                Stage::Loader => Some(Stage::Kernel),
                Stage::Kernel => Some(Stage::Initrd),
                Stage::Initrd => Some(Stage::Begun),
                Stage::Begun => Some(Stage::Activated),
                Stage::Activated => Some(Stage::Firewalled),
                Stage::Firewalled => Some(Stage::Network),
                Stage::Network => Some(Stage::Services),
                Stage::Services => Some(Stage::Probation),
                Stage::Probation => Some(Stage::Proven),
                Stage::Proven => None,
            };
        }
    }

    fn read(json: &str) -> Cause {
        serde_json::from_str(json).unwrap()
    }

    /// As the first agents recorded them.
    #[test]
    fn a_record_without_faults_has_those_of_its_units() {
        let unit = |name| {
            format!(r#"{{"unit":"{name}","result":"exit-code","exitStatus":1,"log":["no"]}}"#)
        };
        let units = [
            "db.service",
            "lastgood-activate.service",
            "lastgood-firewall.service",
        ]
        .map(unit);
        let old = format!(
            r#"{{"stage":"services","summary":"no","units":[{}]}}"#,
            units.join(",")
        );
        let cause = read(&old);
        let db = Fault::Unit("db.service".to_owned());
        assert_eq!(
            cause.faults,
            [db.clone(), Fault::Activation, Fault::Firewall]
        );
        assert_eq!(cause.detail_of(&db).unwrap().exit_status, Some(1));
        // Whoever knows no faults reads the units as ever.
        let mut new = serde_json::to_value(&cause).unwrap();
        assert!(new.as_object_mut().unwrap().remove("faults").is_some());
        assert_eq!(
            new,
            serde_json::from_str::<serde_json::Value>(&old).unwrap()
        );
    }

    #[test]
    fn a_record_without_faults_and_units_has_what_its_stage_says() {
        let old = |stage| format!(r#"{{"stage":"{stage}","summary":"no","units":[]}}"#);
        assert_eq!(read(&old("loader")).faults, [Fault::TriesUsedUp]);
        for stage in ["begun", "services", "proven"] {
            assert_eq!(read(&old(stage)).faults, []);
        }
        assert_eq!(read(r#"{"stage":"begun","summary":"no"}"#).faults, []);
    }

    #[test]
    fn a_newer_agents_faults_survive() {
        let cause = read(
            r#"{"stage":"services","summary":"no","units":[],"faults":[{"key":"probe:dns","kind":"probe"}],"more":1}"#,
        );
        let again = read(&serde_json::to_string(&cause).unwrap());
        assert_eq!(again, cause);
        assert_eq!(cause.faults, [Fault::Other("probe:dns".to_owned())]);
        assert_eq!(cause.detail_of(&Fault::Operator), None);
    }
}
