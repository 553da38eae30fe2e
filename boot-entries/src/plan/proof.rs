//! Whether what a plan leads to brings the machine back, whatever fails.

use std::fmt;

use super::damage::{Damage, all_damage};
use super::{Intent, Plan, Refusal, Standing, outcome};
use crate::name::stem_of;
use crate::observe::Observation;
use systemd_boot_model::{Loader, LoaderVariables, ReleaseRange};

/// A counter that is larger is taken for this one. Foreign entries may have any number of tries; ours have three.
const TRIES: u32 = 10;
/// So many boots are looked at. On a disk that can do more, the machine counts as one that does not come back.
const FAILURES: usize = 4096;

/// What becomes of a machine when a plan is carried out: what the loader starts first, and what it ends in when every
/// boot fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// How the loader chooses.
    pub release: ReleaseRange,
    /// What it starts first, a request of the firmware for a single boot aside. None: nothing.
    pub starts: Option<systemd_boot_model::Choice>,
    end: Result<(), Box<Stranding>>,
}

impl Proof {
    /// By the model of a loader of `release`; `variables` is what the machine's firmware remembers.
    #[must_use]
    pub fn of(
        observed: &Observation,
        plan: &Plan,
        intent: &Intent,
        release: ReleaseRange,
        variables: &LoaderVariables,
    ) -> Self {
        let after = outcome::of(observed, plan);
        let mut loader = after.boot.loader(release, variables.clone());
        let starts = if variables.one_shot.is_none() {
            // The end is the same after a boot more or less.
            loader.boot()
        } else {
            let without = LoaderVariables {
                one_shot: None,
                ..variables.clone()
            };
            after.boot.loader(release, without).boot()
        };
        Self {
            release,
            starts,
            end: end(&after, intent, loader),
        }
    }

    /// Checks that the plan takes nothing away: if every sequence of failed boots reaches a proven generation as it was
    /// `before`, it has to do so once the plan is carried out. Where none is reached before, no request makes that
    /// worse, and a refusal would only stand in the way of what mends it.
    ///
    /// # Errors
    /// With the entry that the machine would end in.
    pub fn prove(&self, before: impl FnOnce() -> Self) -> Result<(), Refusal> {
        match &self.end {
            Err(stranded) if before().end.is_ok() => Err(Refusal::Strands(stranded.clone())),
            _ => Ok(()),
        }
    }

    /// Checks that every sequence of failed boots reaches a proven generation, whatever was before, and that what its
    /// entry needs is there, to the byte. Where nothing is proven there is nothing to reach. What another system on the
    /// same `$BOOT` has proven counts as well: whoever selected something there has chosen that the machine ends so.
    ///
    /// # Errors
    /// With the entry that the machine would end in.
    pub fn comes_back(&self) -> Result<(), &Stranding> {
        match &self.end {
            Err(stranding) if !stranding.is_other_systems => Err(stranding),
            _ => Ok(()),
        }
    }
}

fn end(after: &Observation, intent: &Intent, mut loader: Loader) -> Result<(), Box<Stranding>> {
    if intent.last_good.is_none() {
        return Ok(());
    }
    let most = bounded(&mut loader);
    let strands = |stranding| Err(Box::new(stranding));
    let Some(last) = loader.end(most) else {
        return strands(Stranding::default());
    };
    let proven = intent
        .standings
        .iter()
        .filter(|(_, standing)| **standing == Standing::Proven);
    let mut proven = proven.map(|(subject, _)| subject).chain(&intent.last_good);
    let is_proven = !last.is_image && proven.any(|subject| stem_of(subject) == last.name.stem);
    // The loader lists what has a kernel. What is damaged, or lacks its initrd, it starts in vain, again and again.
    let files = after.boot.files_of(&last.name.stem);
    let damage = files.flat_map(|(_, file)| all_damage(after, file)).next();
    if is_proven && damage.is_none() {
        return Ok(());
    }
    let mut files = after.boot.files_of(&last.name.stem).map(|(_, file)| file);
    let is_other_systems = !last.is_image
        && last.name.tries.is_none()
        && files.any(|file| after.is_other_systems(&intent.ownership, file));
    drop(files);
    strands(Stranding {
        last: Some(last),
        damage: damage.filter(|_| is_proven),
        is_other_systems,
    })
}

/// What a machine ends in that does not come back by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stranding {
    /// What is started for ever. None: nothing can be.
    pub last: Option<systemd_boot_model::Choice>,
    /// It is proven, and this is wrong with it.
    pub damage: Option<Damage>,
    /// Another system on the same `$BOOT` has proven it.
    pub is_other_systems: bool,
}

impl fmt::Display for Stranding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = &self.last else {
            return f.write_str(
                "after enough failed boots the machine would start nothing: no entry can be started",
            );
        };
        write!(
            f,
            "after enough failed boots the machine would start {}{} for ever, and ",
            last.file, last.profile
        )?;
        match &self.damage {
            Some(damage) => write!(f, "that cannot be started: {damage}")?,
            None => f.write_str("that is not proven")?,
        }
        write!(f, " ({})", last.why)
    }
}

/// Lets no counter of `loader` be larger than [`TRIES`], which changes no end: what matters is when it is used up, not
/// how long that takes. Gives the number of boots after which all of them are used up, or [`FAILURES`].
fn bounded(loader: &mut Loader) -> usize {
    // The end itself, and a boot that the firmware asks for once.
    let mut all: usize = 2;
    for listed in &mut loader.entries {
        let Some(mut tries) = listed.name.tries else {
            continue;
        };
        let is_large = tries.left > TRIES;
        tries.left = tries.left.min(TRIES);
        all = all.saturating_add(usize::try_from(tries.left).unwrap_or(usize::MAX));
        if is_large {
            listed.set_tries(tries);
        }
    }
    all.min(FAILURES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::OurName as _;
    use crate::plan::InPlace;
    use crate::plan::plan;
    use crate::plan::tests::{Disk, RELEASES, comes_back, prove, proven, select};
    use systemd_boot_model::{Part, Partition, Uki, Why};

    fn proved(
        disk: &Disk,
        release: ReleaseRange,
        variables: &LoaderVariables,
    ) -> Result<(), Refusal> {
        let intent = proven(select(3), 2);
        let plan = plan(&disk.0, &intent, &InPlace::default()).unwrap();
        prove(&disk.0, &plan, &intent, release, variables)
    }

    #[test]
    fn whatever_fails_ends_in_something_proven() {
        let disk = Disk::with(3);
        for release in RELEASES {
            assert_eq!(proved(&disk, release, &LoaderVariables::default()), Ok(()));
        }
    }

    /// Billions of tries are used up at some time, too; but the loader cannot count more than two.
    #[test]
    fn a_foreign_counter_may_be_any() {
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
        for release in RELEASES {
            assert_eq!(proved(&disk, release, &LoaderVariables::default()), Ok(()));
        }
        // The firmware prefers it as long as it is good.
        let prefers = |pattern: &str| LoaderVariables {
            preferred: Some(pattern.to_owned()),
            ..LoaderVariables::default()
        };
        assert_eq!(proved(&disk, ReleaseRange::V260, &prefers("x*")), Ok(()));
        let intent = proven(select(3), 2);
        let never = comes_back(
            &disk.0,
            &plan(&disk.0, &intent, &InPlace::default()).unwrap(),
            &intent,
            ReleaseRange::V260,
            &prefers("z*"),
        );
        assert!(never.is_err(), "{never:?}");
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
    fn a_request_in_the_firmware_may_strand_the_machine() {
        let (disk, variables) = named_by_the_firmware();
        let stem = &disk.0.generations[2].stem;
        let refused = proved(&disk, ReleaseRange::V258_1, &variables);
        let Err(Refusal::Strands(stranding)) = refused else {
            panic!("{refused:?}");
        };
        let last = stranding.last.as_ref().unwrap();
        assert_eq!(last.name.stem, *stem);
        assert_eq!(last.why, Why::DefaultVariable, "{stranding:?}");
        assert_eq!(proved(&disk, ReleaseRange::V252, &variables), Ok(()));
    }

    /// Whoever calls an image as we call an entry does not make it one.
    #[test]
    fn an_image_is_nothing_proven() {
        let mut disk = Disk::with(3);
        let intent = proven(select(3), 2);
        let plan = plan(&disk.0, &intent, &InPlace::default()).unwrap();
        let image = format!("{}.efi", disk.0.generations[1].stem);
        let says = Uki {
            parts: vec![Part::OsRelease("ID=a\n".to_owned())],
            has_kernel: true,
        };
        let images = &mut disk.0.boot.images;
        images.insert((Partition::Boot, image.clone()), says);
        let variables = LoaderVariables {
            default: Some(image.clone()),
            ..LoaderVariables::default()
        };
        for release in ReleaseRange::ALL {
            let never = comes_back(&disk.0, &plan, &intent, release, &variables);
            assert_eq!(never.unwrap_err().last.unwrap().file, image, "{release:?}");
        }
    }

    /// The entry of the last good one is lost, and its generation as well: nothing that is granted makes that worse.
    #[test]
    fn what_was_lost_before_is_no_reason_to_refuse() {
        let mut disk = Disk::with(3);
        disk.0.generations[1].bootable = Err("no kernel".to_owned());
        for release in RELEASES {
            assert_eq!(proved(&disk, release, &LoaderVariables::default()), Ok(()));
        }
    }

    /// But it is one to say so.
    #[test]
    fn a_machine_that_is_stranded_already_is_found_out() {
        let (mut disk, variables) = named_by_the_firmware();
        let intent = proven(select(3), 2);
        disk.run(&intent);
        let plan = plan(&disk.0, &intent, &InPlace::default()).unwrap();
        let release = ReleaseRange::V258_1;
        assert_eq!(prove(&disk.0, &plan, &intent, release, &variables), Ok(()));
        assert!(comes_back(&disk.0, &plan, &intent, release, &variables).is_err());
    }

    /// A name proves nothing: the loader gives up on what is damaged, and starts it again.
    #[test]
    fn a_proven_entry_must_be_whole() {
        for is_missing in [false, true] {
            let mut disk = Disk::with(3);
            let intent = proven(select(3), 2);
            disk.run(&intent);
            let bootable = disk.0.generations[1].bootable.clone().unwrap();
            let path = bootable.initrd.unwrap().path();
            let name = path.rsplit('/').next().unwrap().to_owned();
            disk.0.payload.remove(&name);
            if !is_missing {
                disk.0.payload.insert(name, bootable.kernel.content);
            }
            let nothing = Plan::default();
            for release in RELEASES {
                let ask =
                    |plan| comes_back(&disk.0, plan, &intent, release, &LoaderVariables::default());
                let stranding = ask(&nothing).unwrap_err();
                let damage = Damage {
                    path: path.clone(),
                    is_missing,
                };
                assert!(stranding.to_string().contains(&damage.to_string()));
                assert_eq!(stranding.damage, Some(damage));
                assert_eq!(
                    ask(&plan(&disk.0, &intent, &InPlace::default()).unwrap()),
                    Ok(())
                );
            }
        }
    }

    /// Only names that look like ours are matched by what we write into loader.conf.
    #[test]
    fn an_operators_rescue_entry_is_not_what_failures_lead_to() {
        let mut disk = Disk::with(3);
        disk.wrote(
            "lastgood-rescue.conf",
            "title Rescue\nsort-key a\nlinux /rescue\n",
        );
        let file = disk.0.boot.entries.get_mut("lastgood-rescue.conf").unwrap();
        file.has_program = true;
        for release in RELEASES {
            assert_eq!(proved(&disk, release, &LoaderVariables::default()), Ok(()));
        }
        disk.run(&proven(select(3), 2));
        for release in RELEASES {
            assert_eq!(disk.boots(release, 3), [3, 3, 3, 2], "{release:?}");
        }
        let none = LoaderVariables::default();
        let proof = Proof::of(
            &disk.0,
            &Plan::default(),
            &select(3),
            ReleaseRange::V252,
            &none,
        );
        assert_eq!(proof.starts.unwrap().name.generation_number(), Some(3));
    }
}
