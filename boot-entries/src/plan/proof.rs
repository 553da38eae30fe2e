//! Whether what a plan leads to brings the machine back, whatever fails.

use super::{Intent, Plan, Refusal, Standing, outcome};
use crate::efi::LoaderVariables;
use crate::loader::Band;
use crate::name::stem_of;
use crate::observe::Observation;

/// Checks that every sequence of failed boots reaches a proven generation once `plan` is carried out, by a loader of
/// `band` in a machine whose firmware remembers `variables`. Where nothing is proven there is nothing to reach.
///
/// # Errors
/// With the entry that the machine would end in.
pub fn prove(
    observed: &Observation,
    plan: &Plan,
    intent: &Intent,
    band: Band,
    variables: &LoaderVariables,
) -> Result<(), Refusal> {
    if intent.last_good.is_none() {
        return Ok(());
    }
    let mut after = observed.clone();
    for step in &plan.steps {
        outcome::make(&mut after, step);
    }
    // So many failed boots use up every counter there is.
    let tries = after.boot.all().filter_map(|(_, file)| file.name.tries);
    let failures: u32 = tries.map(|tries| tries.left).sum();
    let failures = usize::try_from(failures)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let boots = after.boot.loader(band, variables.clone()).predict(failures);
    let proven = intent
        .standings
        .iter()
        .filter(|(_, standing)| **standing == Standing::Proven);
    let mut proven = proven.map(|(subject, _)| subject).chain(&intent.last_good);
    match boots.last() {
        Some(last) if proven.any(|subject| stem_of(subject) == last.name.stem) => Ok(()),
        last => Err(Refusal::Strands {
            entry: last.map_or_else(|| "nothing".to_owned(), |last| last.name.to_string()),
            why: last.map_or("no entry can be started", |last| last.why),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::plan;
    use crate::plan::tests::{BANDS, Disk, proven, select};

    fn proved(disk: &Disk, band: Band, variables: &LoaderVariables) -> Result<(), Refusal> {
        let intent = proven(select(3), 2);
        let plan = plan(&disk.0, &intent).unwrap();
        prove(&disk.0, &plan, &intent, band, variables)
    }

    #[test]
    fn whatever_fails_ends_in_something_proven() {
        let disk = Disk::with(3);
        for band in BANDS {
            assert_eq!(proved(&disk, band, &LoaderVariables::default()), Ok(()));
        }
    }

    /// Version 258 and 259 start what `LoaderEntryDefault` names for ever, whether its tries are used up or not.
    #[test]
    fn a_wish_in_the_firmware_may_strand_the_machine() {
        let disk = Disk::with(3);
        let mut after = disk.clone();
        after.run(&proven(select(3), 2));
        let stem = after.0.generations[2].stem.clone();
        let variables = LoaderVariables {
            default: Some(format!("{stem}.conf")),
            ..LoaderVariables::default()
        };
        let refused = proved(&disk, Band::To259, &variables);
        let Err(Refusal::Strands { entry, why }) = refused else {
            panic!("{refused:?}");
        };
        assert!(
            entry.starts_with(&stem) && why.contains("LoaderEntryDefault"),
            "{entry} {why}"
        );
        assert_eq!(proved(&disk, Band::To257, &variables), Ok(()));
    }
}
