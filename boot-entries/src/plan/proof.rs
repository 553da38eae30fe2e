//! Whether what a plan leads to brings the machine back, whatever fails.

use super::{Intent, Plan, Refusal, Standing, outcome};
use crate::efi::LoaderVariables;
use crate::loader::{Band, Loader};
use crate::name::stem_of;
use crate::observe::Observation;

/// A counter that is larger is taken for this one. Strangers may grant any number of tries; ours have three.
const TRIES: u32 = 10;
/// So many boots are looked at. On a disk that can do more, the machine counts as one that does not come back.
const FAILURES: usize = 4096;

/// What can be asked of a plan: [`prove`] or [`comes_back`].
pub type Proof = fn(&Observation, &Plan, &Intent, Band, &LoaderVariables) -> Result<(), Refusal>;

/// Checks that `plan` takes nothing away: if every sequence of failed boots reaches a proven generation now, it has to do
/// so once the plan is carried out. Where none is reached now, no wish makes that worse, and a refusal would only stand in
/// the way of what mends it.
///
/// `band` is the loader's, and `variables` is what the machine's firmware remembers.
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
    if plan.steps.is_empty() {
        return Ok(());
    }
    let ends =
        |plan: &Plan| end(observed, plan, intent, band, variables).map_err(|stranded| stranded.why);
    let after = ends(plan);
    let before = || ends(&Plan::default());
    after.or_else(|stranded| before().map_or(Ok(()), |()| Err(stranded)))
}

/// Checks that every sequence of failed boots reaches a proven generation once `plan` is carried out, whatever was before.
/// Where nothing is proven there is nothing to reach. What another system on the same `$BOOT` has proven counts as well:
/// whoever selected something there has chosen that the machine ends so.
///
/// # Errors
/// With the entry that the machine would end in.
pub fn comes_back(
    observed: &Observation,
    plan: &Plan,
    intent: &Intent,
    band: Band,
    variables: &LoaderVariables,
) -> Result<(), Refusal> {
    match end(observed, plan, intent, band, variables) {
        Err(stranded) if !stranded.is_proven_elsewhere => Err(stranded.why),
        _ => Ok(()),
    }
}

/// An end that is nothing proven here.
struct Stranded {
    why: Refusal,
    is_proven_elsewhere: bool,
}

fn end(
    observed: &Observation,
    plan: &Plan,
    intent: &Intent,
    band: Band,
    variables: &LoaderVariables,
) -> Result<(), Stranded> {
    if intent.last_good.is_none() {
        return Ok(());
    }
    let mut after = observed.clone();
    for step in &plan.steps {
        outcome::make(&mut after, step);
    }
    let mut loader = after.boot.loader(band, variables.clone());
    let most = bounded(&mut loader);
    let end = loader.end(most);
    let proven = intent
        .standings
        .iter()
        .filter(|(_, standing)| **standing == Standing::Proven);
    let mut proven = proven.map(|(subject, _)| subject).chain(&intent.last_good);
    match end {
        Some(last) if proven.any(|subject| stem_of(subject) == last.name.stem) => Ok(()),
        last => Err(Stranded {
            is_proven_elsewhere: last.as_ref().is_some_and(|last| {
                let mut files = after.boot.files_of(&last.name.stem).map(|(_, file)| file);
                last.name.tries.is_none()
                    && files.any(|file| after.is_anothers(&intent.ownership, file))
            }),
            why: Refusal::Strands {
                entry: last
                    .as_ref()
                    .map_or_else(|| "nothing".to_owned(), |last| last.name.to_string()),
                why: last.map_or("no entry can be started", |last| last.why),
            },
        }),
    }
}

/// Lets no counter of `loader` be larger than [`TRIES`], which changes no end: what matters is when it is used up, not how
/// long that takes. Gives the number of boots after which all of them are used up, or [`FAILURES`].
fn bounded(loader: &mut Loader) -> usize {
    // The end itself, and a boot that the firmware asks for once.
    let mut all: usize = 2;
    for listed in &mut loader.entries {
        let Some(tries) = &mut listed.name.tries else {
            continue;
        };
        let is_large = tries.left > TRIES;
        tries.left = tries.left.min(TRIES);
        all = all.saturating_add(usize::try_from(tries.left).unwrap_or(usize::MAX));
        if is_large {
            listed.file = listed.name.to_string();
        }
    }
    all.min(FAILURES)
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

    /// Billions of tries are used up at some time, too; but the loader cannot count more than two.
    #[test]
    fn a_strangers_counter_may_be_any() {
        let mut disk = Disk::with(3);
        let first = "title x\nsort-key a\nlinux /x\n";
        for name in [
            "x+2147483647.conf",
            "y+2147483647-7.conf",
            "z+4294967295.conf",
        ] {
            disk.wrote(name, first);
            disk.0.boot.entries.get_mut(name).unwrap().has_program = true;
        }
        for band in BANDS {
            assert_eq!(proved(&disk, band, &LoaderVariables::default()), Ok(()));
        }
        // The firmware prefers it as long as it is good.
        let prefers = |pattern: &str| LoaderVariables {
            preferred: Some(pattern.to_owned()),
            ..LoaderVariables::default()
        };
        assert_eq!(proved(&disk, Band::From260, &prefers("x*")), Ok(()));
        let intent = proven(select(3), 2);
        let never = comes_back(
            &disk.0,
            &plan(&disk.0, &intent).unwrap(),
            &intent,
            Band::From260,
            &prefers("z*"),
        );
        assert!(matches!(never, Err(Refusal::Strands { .. })), "{never:?}");
    }

    /// 1 and 2 are there, 2 is proven, and 3 comes. The firmware names 3.
    fn named_by_the_firmware() -> (Disk, LoaderVariables) {
        let mut disk = Disk::with(2);
        disk.run(&proven(select(2), 2));
        disk.0.generations = Disk::with(3).0.generations;
        let stem = disk.0.generations[2].stem.clone();
        let variables = LoaderVariables {
            default: Some(format!("{stem}.conf")),
            ..LoaderVariables::default()
        };
        (disk, variables)
    }

    /// Version 258 and 259 start what `LoaderEntryDefault` names for ever, whether its tries are used up or not.
    #[test]
    fn a_wish_in_the_firmware_may_strand_the_machine() {
        let (disk, variables) = named_by_the_firmware();
        let stem = &disk.0.generations[2].stem;
        let refused = proved(&disk, Band::To259, &variables);
        let Err(Refusal::Strands { entry, why }) = refused else {
            panic!("{refused:?}");
        };
        assert!(
            entry.starts_with(stem) && why.contains("LoaderEntryDefault"),
            "{entry} {why}"
        );
        assert_eq!(proved(&disk, Band::To257, &variables), Ok(()));
    }

    /// The entry of the last good one is lost, and its generation as well: nothing that is granted makes that worse.
    #[test]
    fn what_was_lost_before_is_no_reason_to_refuse() {
        let mut disk = Disk::with(3);
        disk.0.generations[1].bootable = Err("no kernel".to_owned());
        for band in BANDS {
            assert_eq!(proved(&disk, band, &LoaderVariables::default()), Ok(()));
        }
    }

    /// But it is one to say so.
    #[test]
    fn a_machine_that_is_stranded_already_is_found_out() {
        let (mut disk, variables) = named_by_the_firmware();
        let intent = proven(select(3), 2);
        disk.run(&intent);
        let plan = plan(&disk.0, &intent).unwrap();
        let [granted, comes_back] = [prove, comes_back]
            .map(|check| check(&disk.0, &plan, &intent, Band::To259, &variables));
        assert_eq!(granted, Ok(()));
        assert!(matches!(comes_back, Err(Refusal::Strands { .. })));
    }
}
