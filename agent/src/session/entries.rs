//! The entries of all places: planned, written, and what went wrong in some of them.
//!
//! A place that is missing, full or read-only never stops the others. But the first place is what the loader reads next:
//! where something is wished for ([`Policy::Update`]), what fails there is the run's failure and ends it. In a mending
//! ([`Policy::Mend`]) every place is for itself.

use std::path::Path;

use boot_entries::boot_partition::{self, Place};
use boot_entries::digests::Digests;
use boot_entries::extra::Extra;
use boot_entries::loader::Band;
use boot_entries::observe::{self, Boot, Found, Observation};
use boot_entries::plan::{self, Intent, Plan};
use boot_entries::step::Step;
use boot_entries::systemd_boot::Policy;
use boot_entries::{apply, closure};

use super::{Session, loader};
use crate::digests_file;
use crate::error::Error;
use crate::machine::{State, Subject};
use crate::secrets;
use crate::told::one_line;

/// What is to be done in one place.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) place: Place,
    pub(super) observed: Observation,
    pub(super) plan: Plan,
    pub(super) loader: loader::Planned,
}

/// What is to be done in each place.
#[derive(Debug)]
pub struct Prepared {
    /// First the place that the loader reads next.
    pub(super) planned: Vec<Planned>,
    pub(super) intent: Intent,
    /// What a fallback may need.
    pub(super) needed: Vec<Subject>,
    /// What was read for it.
    pub(super) digests: Digests,
    /// What cannot be done, where that does not end the run.
    pub complaints: Complaints,
}

/// What could not be done, and did not end the run.
#[derive(Debug)]
#[must_use]
pub struct Complaints {
    /// Whether what fails in the first place ends the run.
    first_decides: bool,
    all: Vec<Error>,
}

impl Complaints {
    pub(super) fn new(first_decides: bool, unusable: Vec<boot_partition::Error>) -> Self {
        Self {
            first_decides,
            all: unusable.into_iter().map(Error::from).collect(),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.all.iter()
    }

    /// Tells all of them, the first one by returning it.
    ///
    /// # Errors
    /// When there is one.
    pub fn into_result(self) -> Result<(), Error> {
        let mut all = self.all.into_iter();
        let first = all.next();
        for error in all {
            tracing::error!("{}", one_line(&error));
        }
        first.map_or(Ok(()), Err)
    }

    /// Takes what went wrong in `place`, the `number`th from 0 on.
    ///
    /// # Errors
    /// When that ends the run.
    pub(super) fn in_place(
        &mut self,
        number: usize,
        place: &Place,
        result: Result<(), Error>,
    ) -> Result<(), Error> {
        let Err(error) = result else {
            return Ok(());
        };
        if number > 0 {
            let name = place.name.clone();
            let source = Box::new(error);
            self.all.push(Error::InPlace { name, source });
        } else if self.first_decides {
            return Err(error);
        } else {
            self.all.push(error);
        }
        Ok(())
    }
}

impl Prepared {
    /// Where they are to be made.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.planned.iter().map(|planned| &planned.place)
    }

    /// What the loader reads next and how it chooses, if nothing in it is to change.
    #[must_use]
    pub fn unchanged(&self) -> Option<(&Boot, Band)> {
        let first = self.planned.first();
        let unchanged = first.filter(|planned| planned.plan.steps.is_empty())?;
        let [band, _] = unchanged.loader.bands();
        Some((&unchanged.observed.boot, band?))
    }

    /// Every step, with the place if there is more than one.
    pub fn steps(&self) -> impl Iterator<Item = (Option<&Place>, &Step)> {
        let is_one_of_many = self.planned.len() > 1;
        self.planned.iter().flat_map(move |planned| {
            let place = is_one_of_many.then_some(&planned.place);
            planned.plan.steps.iter().map(move |step| (place, step))
        })
    }
}

impl Session {
    /// Plans the entries that `state` asks for and what `policy` has to say about the loader, and changes nothing.
    ///
    /// # Errors
    /// When places cannot be told. With [`Policy::Update`] also when the first one cannot be read, or its plan is refused.
    pub fn prepare(&self, state: &State, rearm: bool, policy: Policy) -> Result<Prepared, Error> {
        self.prepare_with(state, rearm, policy, digests_file::load(&self.root))
    }

    /// [`Self::prepare`] for what is on the disks now: what was read before in this boot is read again.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_anew(&self, policy: Policy) -> Result<Prepared, Error> {
        let mut digests = digests_file::load(&self.root);
        digests.forget_boot();
        self.prepare_with(&self.state, false, policy, digests)
    }

    fn prepare_with(
        &self,
        state: &State,
        rearm: bool,
        policy: Policy,
        mut digests: Digests,
    ) -> Result<Prepared, Error> {
        let places = self.places(state)?;
        let generations = self.generations_in(state);
        let mut initrds = secrets::finished(&self.root, &generations, &self.documents);
        for (toplevel, why) in &self.unfinished {
            initrds.insert(toplevel.clone(), Err(why.clone()));
        }
        let found = observe::generations(
            &self.root,
            &generations,
            &initrds,
            &self.documents,
            &mut digests,
        );
        let mut intent = Intent {
            over_anothers: policy == Policy::Update,
            ..self.intent(state, rearm)
        };
        self.add_extras(state, policy, &mut intent, &mut digests)?;
        // Whoever mends, mends what can be mended: that the selected generation cannot be booted is told below.
        let is_unbootable = |subject: &Subject| {
            let of = |found: &&Found| found.generation.subject() == *subject;
            found
                .iter()
                .find(of)
                .is_some_and(|found| found.bootable.is_err())
        };
        if policy == Policy::Mend && intent.selected.as_ref().is_some_and(is_unbootable) {
            intent.selected = None;
        }
        let mut complaints = Complaints::new(policy == Policy::Update, places.unusable);
        let mut planned = Vec::new();
        let mut loader = self.loader_planner(state, policy);
        for (number, place) in places.usable.into_iter().enumerate() {
            match planned_in(&place, &found, &intent, &mut loader, &mut digests) {
                Ok(one) => {
                    if let Some(trouble) = &one.loader.trouble {
                        let name = one.place.name.display();
                        let trouble = Error::Refused(format!("{name}: {trouble}"));
                        complaints.all.push(trouble);
                    }
                    planned.push(one);
                }
                Err(error) => complaints.in_place(number, &place, Err(error))?,
            }
        }
        for Planned { plan, .. } in planned.iter().take(1) {
            for note in &plan.notes {
                tracing::warn!("{note}");
            }
            for (Subject { generation, .. }, why) in &plan.skipped {
                tracing::warn!("generation {generation} cannot be booted and is left out: {why}");
            }
        }
        for (Subject { generation, .. }, why) in &self.troubles {
            tracing::warn!("generation {generation}: left out: {why}");
        }
        for link in &self.profiles.odd {
            tracing::warn!(
                "{}: left out: its number is too large, or not as Nix writes one",
                link.display()
            );
        }
        Ok(Prepared {
            planned,
            intent,
            needed: state.protected().into_iter().cloned().collect(),
            digests,
            complaints,
        })
    }

    /// Checks by `proof` that the machine comes back whatever fails, once `prepared` is carried out.
    ///
    /// # Errors
    /// When it might not in the first place, and that ends the run.
    pub fn prove(&self, prepared: &mut Prepared, proof: plan::Proof) -> Result<(), Error> {
        for (number, planned) in prepared.planned.iter().enumerate() {
            let Planned {
                place,
                observed,
                plan,
                loader,
            } = planned;
            // By the loader that is there, and by the one that is to come: a power cut decides which it is.
            let [before, after] = loader.bands();
            let before = before.unwrap_or_else(|| self.band(place));
            let mut bands = std::iter::once(before).chain(after.filter(|after| *after != before));
            let proved = bands.try_for_each(|band| {
                proof(observed, plan, &prepared.intent, band, &self.variables)
            });
            let proved = proved.map_err(Error::from);
            prepared.complaints.in_place(number, place, proved)?;
        }
        Ok(())
    }

    /// Checks that the first place can be written, before anything is changed anywhere.
    ///
    /// # Errors
    /// When it cannot.
    pub fn may_be_written(&self, prepared: &Prepared) -> Result<(), Error> {
        let first = prepared.planned.first();
        first.map_or(Ok(()), |planned| {
            may_be_written(&planned.place, &planned.plan.steps)
        })
    }

    /// The further files that the selected closure asks for. One that cannot be had refuses a wish, but stops no mending:
    /// then what is there stays.
    fn add_extras(
        &self,
        state: &State,
        policy: Policy,
        intent: &mut Intent,
        digests: &mut Digests,
    ) -> Result<(), Error> {
        let Some(subject) = state.selected.as_ref().or(state.last_good()) else {
            return Ok(());
        };
        for (path, source) in self.boot_config(state).extra_files {
            // A path that is absolute stays what it is.
            let source = subject.toplevel.join(source);
            match self.extra(path.as_str(), &source, digests) {
                Ok(extra) => intent.extras.push(extra),
                Err(why) if policy == Policy::Mend => {
                    tracing::warn!("{why}");
                    intent.extras_left.insert(path.as_str().to_owned());
                }
                Err(why) => return Err(Error::Refused(why)),
            }
        }
        Ok(())
    }

    fn extra(&self, path: &str, source: &Path, digests: &mut Digests) -> Result<Extra, String> {
        let found = self.root.resolve(source).map_err(|error| error.to_string());
        let found = found.and_then(|here| {
            closure::is_payload(&here)?;
            let content = digests.in_store(&here).map_err(|error| error.to_string())?;
            Ok((here, content))
        });
        let (source, content) =
            found.map_err(|why| format!("extra file {path}: {} {why}", source.display()))?;
        Ok(Extra {
            path: path.to_owned(),
            source,
            content,
        })
    }

    /// Carries the plans out.
    ///
    /// # Errors
    /// At the first step that fails in the first place, if that ends the run; a later run goes on from there.
    pub fn carry_out(&self, prepared: Prepared) -> Result<Complaints, Error> {
        let count = prepared.steps().count();
        let mut number = 0;
        let mut complaints = prepared.complaints;
        let mut digests = prepared.digests;
        for (at, planned) in prepared.planned.iter().enumerate() {
            let place = &planned.place;
            let steps = &planned.plan.steps;
            let done = may_be_written(place, steps).and_then(|()| {
                apply::apply(place, steps, |step| {
                    number += 1;
                    tracing::info!("{number}/{count} {step}");
                })?;
                for step in steps {
                    if let Step::Copy {
                        on, path, content, ..
                    } = step
                    {
                        digests.wrote(&place.directory(*on).join(path), content);
                    }
                }
                Ok(())
            });
            let done = done.and_then(|()| self.finish_loader(place, &planned.loader));
            complaints.in_place(at, place, done)?;
        }
        digests_file::save(&self.root, &digests);
        Ok(complaints)
    }

    /// Brings the entries to what the ledger says of verdicts, counters and ranks, and no further.
    ///
    /// # Errors
    /// When an entry cannot be written in the first place.
    pub fn restate(&self) -> Result<(), Error> {
        let places = self.places(&self.state)?;
        let generations = self.generations();
        let intent = self.intent(&self.state, false);
        let mut outcome = Ok(());
        // A verdict is worth trying everywhere, whatever failed elsewhere.
        for (number, place) in places.usable.iter().enumerate() {
            let restated = Boot::read(place).map_err(Error::from).and_then(|boot| {
                let steps = plan::restate(&boot, &generations, &intent)?;
                may_be_written(place, &steps)?;
                Ok(apply::apply(place, &steps, |step| {
                    tracing::info!("{step}");
                })?)
            });
            match restated {
                Err(error) if number > 0 => {
                    tracing::error!("{}: {}", place.name.display(), one_line(&error));
                }
                first if number == 0 => outcome = first,
                _ => {}
            }
        }
        outcome
    }
}

fn planned_in(
    place: &Place,
    found: &[Found],
    intent: &Intent,
    loader: &mut loader::Planner,
    digests: &mut Digests,
) -> Result<Planned, Error> {
    let observed = Observation::read(place, found, &intent.extras, digests)?;
    let (loader, loader_steps) = loader.plan(place)?;
    let intent = Intent {
        loader_steps,
        ..intent.clone()
    };
    let plan = plan::plan(&observed, &intent)?;
    Ok(Planned {
        place: place.clone(),
        observed,
        plan,
        loader,
    })
}

/// Writing where nothing can be written fails anyway, but with fewer words.
fn may_be_written(place: &Place, steps: &[Step]) -> Result<(), Error> {
    if place.is_read_only && !steps.is_empty() {
        let name = place.name.display();
        return Err(Error::Refused(format!(
            "{name} is mounted read-only, and {} changes are to be made: run `mount -o remount,rw {name}`; the kernel does \
             this by itself when the file system is damaged, then `fsck.vfat` comes first",
            steps.len()
        )));
    }
    Ok(())
}
