//! Whole looks in one round trip each, for who looks often.

use zbus::Variant;

use super::error::{Error, Refusal};
use super::jobs::{JobId, manager_call};
use super::message::{Body, Incoming, Nonsense};
use super::value::{Properties, Value};
use super::{Listed, Manager, Queued, Wanted, jobs_in, named, property_calls, units_in};

/// What one answer says.
enum Answer {
    Jobs(Vec<Queued>),
    Units(Vec<Listed>),
}

/// What a second question found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// For each job, whether another waits for it. A refusal: it is over by now.
    pub blocking: Vec<Result<bool, Refusal>>,
    /// For each unit, its properties.
    pub properties: Vec<Result<Properties, Refusal>>,
}

impl Manager {
    /// All jobs and all units. Jobs first: one that ends in between is then still seen.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn look(&mut self) -> Result<(Vec<Queued>, Vec<Listed>), Error> {
        let doing = "ListJobs and ListUnits";
        let calls = ["ListJobs", "ListUnits"].map(|name| Ok(manager_call(name, Body::default())));
        let answers = self.ask(doing, self.patience, calls.into_iter(), |answer| {
            jobs_in(answer)
                .map(Answer::Jobs)
                .or_else(|_| units_in(answer).map(Answer::Units))
        })?;
        let (mut jobs, mut units) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer.map_err(|refusal| Error::Refused { doing, refusal })? {
                Answer::Jobs(found) => jobs = found,
                Answer::Units(found) => units = found,
            }
        }
        Ok((jobs, units))
    }

    /// What a list leaves out: of jobs, whether any other waits for them; of units, what is wanted of each.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn details(
        &mut self,
        jobs: &[JobId],
        units: &[(&str, &[Wanted<'_>])],
    ) -> Result<Details, Error> {
        let waiting = jobs.iter().map(|id| {
            let body = Body::of(&id.0)?;
            Ok(manager_call("GetJobAfter", body))
        });
        let properties = units
            .iter()
            .flat_map(|(unit, wanted)| property_calls(unit, wanted));
        let doing = "questions about jobs and units";
        let answers = self.ask(doing, self.patience, waiting.chain(properties), detail)?;
        let mut answers = answers.into_iter();
        let mut blocking = Vec::new();
        for answer in answers.by_ref().take(jobs.len()) {
            blocking.push(answer.map(|value| value == Value::Flag(true)));
        }
        let mut one = |wanted: &[Wanted<'_>]| {
            let values = answers.by_ref().take(wanted.len());
            named(wanted.iter().map(|property| property.name), values)
        };
        let properties = units.iter().map(|(_, wanted)| one(wanted)).collect();
        Ok(Details {
            blocking,
            properties,
        })
    }
}

/// A property, or whether there are jobs in a list.
fn detail(answer: &Incoming) -> Result<Value, Nonsense> {
    match answer.body::<Variant<'_>>() {
        Ok(value) => Ok(Value::from(&value)),
        Err(_) => Ok(Value::Flag(!jobs_in(answer)?.is_empty())),
    }
}
