//! The entries of all places: planned, written, and what went wrong in some of them.
//!
//! A place that is missing, full or read-only never stops the others, and the first one is no exception: what fails there
//! is told at the end. Where something is wished for ([`Policy::Update`]), only what is wrong with the wish itself ends the
//! run, and that there is no place to write it to. For the way out (uninstall) the first place decides: a machine is not
//! half given back.

use std::cell::OnceCell;
use std::iter;
use std::path::Path;

use boot_entries::boot_partition::Place;
use boot_entries::digests::Digests;
use boot_entries::entry::EntryFile;
use boot_entries::extra::Extra;
use boot_entries::loader::Band;
use boot_entries::observe::{self, Boot, Found, Observation};
use boot_entries::plan::{self, Intent, Outlook, Plan};
use boot_entries::progress::Progress;
use boot_entries::step::Step;
use boot_entries::systemd_boot::Policy;
use boot_entries::{apply, closure};

use super::complaints::{Complaints, Done};
use super::{Session, loader};
use crate::error::Error;
use crate::machine::{State, Subject};
use crate::told::one_line;
use crate::{digests_file, progress, secrets};

/// What is to be done in one place.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) place: Place,
    /// Whether it is the first of the usable ones.
    pub(super) is_first: bool,
    pub(super) observed: Observation,
    pub(super) plan: Plan,
    pub(super) loader: loader::Planned,
    pub(super) outlooks: OnceCell<Vec<Outlook>>,
}

/// What a run is about, and so whom trouble stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// Something is wished for: it is granted where it can be.
    Wish,
    /// Every place is for itself.
    Mending,
    /// What cannot be done in the first place is done nowhere.
    WayOut,
}

/// What is to be done in each place.
#[derive(Debug)]
pub struct Prepared {
    /// First the place that the loader reads next, if that can be used.
    pub(super) planned: Vec<Planned>,
    pub(super) aim: Aim,
    pub(super) intent: Intent,
    /// What a fallback may need.
    pub(super) needed: Vec<Subject>,
    /// What was read for it.
    pub(super) digests: Digests,
    /// Whether the first usable place is what the loader reads next.
    pub(super) has_next: bool,
    /// What the firmware refuses to start for want of a signature, a line each.
    pub(super) unsigned: Vec<String>,
    /// What cannot be done, where that does not end the run.
    pub complaints: Complaints,
}

impl Prepared {
    /// A wish that can be granted nowhere is refused.
    fn unless_in_vain(mut self) -> Result<Self, Error> {
        if self.aim != Aim::Wish || !self.planned.is_empty() {
            return Ok(self);
        }
        let complaints = std::mem::take(&mut self.complaints);
        complaints.into_result().map(|()| self)
    }

    /// Where they are to be made.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.planned.iter().map(|planned| &planned.place)
    }

    /// What the loader reads next and how it chooses, if nothing in it is to change.
    #[must_use]
    pub fn unchanged(&self) -> Option<(&Boot, Band)> {
        let first = self.planned.first().filter(|planned| planned.is_first);
        let next = first.filter(|_| self.has_next);
        let unchanged = next.filter(|planned| planned.plan.steps.is_empty())?;
        let [band, _] = unchanged.loader.bands();
        Some((&unchanged.observed.boot, band?))
    }

    /// What the loader reads next and how it chooses, once all of it is carried out: by the model, not by looking.
    #[must_use]
    pub fn outcome(&self) -> Option<(Boot, Option<Band>)> {
        let first = self.planned.first()?;
        let [before, after] = first.loader.bands();
        let boot = plan::after(&first.observed, &first.plan);
        Some((boot, after.or(before)))
    }

    /// The programs that are run when the steps are made, and where.
    pub fn programs(&self) -> impl Iterator<Item = (&Place, &'static str)> {
        let planned = self.planned.iter();
        planned.filter_map(|planned| Some((&planned.place, planned.loader.programs()?)))
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
    /// Plans the entries that `state` asks for and what `policy` has to say about the loader, and changes nothing. A wish
    /// ([`Policy::Update`]) gives the selected generation all its tries where it has not been given them.
    ///
    /// # Errors
    /// When places cannot be told. With [`Policy::Update`] also when no plan can be made in any, or the wish is refused in
    /// the first one where it can be looked at.
    pub fn prepare(&self, state: &State, policy: Policy) -> Result<Prepared, Error> {
        let digests = digests_file::load(&self.root, self.listed.len());
        self.prepare_with(state, policy, digests)
    }

    /// [`Self::prepare`] for what is on the disks now: what was read before in this boot is read again.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_anew(&self, policy: Policy) -> Result<Prepared, Error> {
        let mut digests = digests_file::load(&self.root, self.listed.len());
        digests.forget_boot();
        self.prepare_with(&self.state, policy, digests)
    }

    fn prepare_with(
        &self,
        state: &State,
        policy: Policy,
        mut digests: Digests,
    ) -> Result<Prepared, Error> {
        let _shown = progress::Shown;
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
            ..self.intent(state, false)
        };
        self.add_extras(state, policy, &mut intent, &mut digests)?;
        // Whoever mends, mends what can be mended: that the selected generation cannot be booted is told below.
        let is_unbootable = |subject: &Subject| {
            let of = |found: &&Found| found.generation.is(subject);
            found
                .iter()
                .find(of)
                .is_some_and(|found| found.bootable.is_err())
        };
        if policy == Policy::Mend && intent.selected.as_ref().is_some_and(is_unbootable) {
            intent.selected = None;
        }
        let aim = match policy {
            Policy::Update => Aim::Wish,
            Policy::Mend | Policy::Leave => Aim::Mending,
        };
        for doubt in &places.doubts {
            tracing::warn!("{doubt}");
        }
        let mut complaints = Complaints::new(places.unusable);
        let mut planned = Vec::new();
        let mut loader = self.loader_planner(state, policy, &mut digests);
        if !places.has_next {
            loader.leave_first();
        }
        let count = places.usable.len();
        let each = places.usable.into_iter().zip(iter::repeat_n(found, count));
        for (number, (place, found)) in each.enumerate() {
            let is_first = number == 0;
            intent.rearm = aim == Aim::Wish && !state.is_armed_in(&place.name);
            match planned_in(&place, found, &intent, &mut loader, &mut digests) {
                Ok(mut one) => {
                    one.is_first = is_first;
                    if let Some(trouble) = &one.loader.trouble {
                        let name = one.place.name.display();
                        let trouble = Error::Refused(format!("{name}: {trouble}"));
                        complaints.add(trouble);
                    }
                    planned.push(one);
                }
                // It is refused here as it would be anywhere.
                Err(error)
                    if aim == Aim::Wish && planned.is_empty() && is_about_the_wish(&error) =>
                {
                    return Err(error);
                }
                Err(error) => complaints.in_place(is_first, &place, error),
            }
            loader.leave_first();
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
        let needed: Vec<Subject> = state.protected().into_iter().cloned().collect();
        let unsigned = self.unsigned(planned.first(), &needed);
        if aim == Aim::Wish {
            complaints.add_lines(&unsigned);
        }
        Prepared {
            planned,
            aim,
            intent,
            needed,
            digests,
            has_next: places.has_next,
            unsigned,
            complaints,
        }
        .unless_in_vain()
    }

    /// Leaves out places that cannot be written, before anything is changed anywhere.
    ///
    /// # Errors
    /// When none is left.
    pub fn may_be_written(&self, mut prepared: Prepared) -> Result<Prepared, Error> {
        for planned in std::mem::take(&mut prepared.planned) {
            let is_first = planned.is_first;
            match may_be_written(&planned.place, &planned.plan.steps) {
                Ok(()) => prepared.planned.push(planned),
                Err(error) if prepared.aim == Aim::WayOut && is_first => return Err(error),
                Err(error) => {
                    let complaints = &mut prepared.complaints;
                    complaints.in_place(is_first, &planned.place, error);
                }
            }
        }
        prepared.unless_in_vain()
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
    /// At the first step of a [way out](Aim::WayOut) that fails in the first place; a later run goes on from there.
    pub fn carry_out(&self, prepared: Prepared) -> Result<Done, Error> {
        let mut writing = progress::writing(prepared.steps().map(|(_, step)| step));
        let mut complaints = prepared.complaints;
        let mut digests = prepared.digests;
        let mut places = Vec::new();
        let mut has_next = false;
        let mut next_band = None;
        for planned in &prepared.planned {
            let place = &planned.place;
            let steps = &planned.plan.steps;
            let done = may_be_written(place, steps).and_then(|()| {
                apply::apply(place, steps, |progress| writing.heard(&progress))?;
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
            // What comes next may speak for itself.
            progress::erase();
            let done = done.and_then(|()| self.finish_loader(place, &planned.loader, &mut digests));
            match done {
                Ok(()) => {
                    if planned.is_first && prepared.has_next {
                        has_next = true;
                        next_band = planned.loader.next_band();
                    }
                    places.push(place.name.clone());
                }
                Err(error) if prepared.aim == Aim::WayOut && planned.is_first => return Err(error),
                Err(error) => complaints.in_place(planned.is_first, place, error),
            }
        }
        digests_file::save(&self.root, &digests);
        Ok(Done {
            places,
            has_next,
            next_band,
            complaints,
        })
    }

    /// Brings the entries to what the ledger says of verdicts, counters and ranks, and no further.
    ///
    /// # Errors
    /// When that cannot be done where the loader reads next.
    pub fn restate(&self) -> Result<(), Error> {
        let mut places = self.places(&self.state)?;
        let generations = self.generations();
        let intent = self.intent(&self.state, false);
        let mut outcome = Ok(());
        if !places.has_next && !places.unusable.is_empty() {
            outcome = Err(places.unusable.remove(0).into());
        }
        // A verdict is worth trying everywhere, whatever failed elsewhere.
        for (number, place) in places.usable.iter().enumerate() {
            let restated = Boot::read(place).map_err(Error::from).and_then(|boot| {
                let mut is_whole = |file: &EntryFile| self.is_whole(place, file);
                let steps = plan::restate(&boot, &generations, &intent, &mut is_whole)?;
                may_be_written(place, &steps)?;
                Ok(apply::apply(place, &steps, |progress| {
                    if let Progress::Step(step) = progress {
                        tracing::info!("{step}");
                    }
                })?)
            });
            match restated {
                Ok(()) => {}
                Err(error) if number == 0 && places.has_next => outcome = Err(error),
                Err(error) => tracing::error!("{}: {}", place.name.display(), one_line(&error)),
            }
        }
        outcome
    }
}

fn planned_in(
    place: &Place,
    found: Vec<Found>,
    intent: &Intent,
    loader: &mut loader::Planner,
    digests: &mut Digests,
) -> Result<Planned, Error> {
    let mut observed = Observation::read(place, found, &intent.extras, digests)?;
    let (loader, loader_steps) = loader.plan(place, digests)?;
    let intent = Intent {
        loader_steps,
        ..intent.clone()
    };
    let mut plan = plan::plan(&observed, &intent)?;
    // Most runs have nothing to write, and for that there is always room.
    if !plan.steps.is_empty() {
        observed.measure();
        plan = plan::plan(&observed, &intent)?;
    }
    Ok(Planned {
        place: place.clone(),
        is_first: false,
        observed,
        plan,
        loader,
        outlooks: OnceCell::new(),
    })
}

/// Whether a plan is refused for what is wanted, rather than for what the place is like.
fn is_about_the_wish(error: &Error) -> bool {
    match error {
        Error::Plan(refusal) => !matches!(refusal, plan::Refusal::NoSpace(_)),
        _ => false,
    }
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
