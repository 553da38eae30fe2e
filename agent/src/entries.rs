//! The entries of all places: planned, proven, written, and what went wrong in some of them.
//!
//! ```text
//! prepare ──▶ Prepared ──▶ prove, may be written ──▶ Ready ──▶ carry out ──▶ Done
//! ```
//!
//! Only what is [`Ready`] can be carried out, so that nobody writes what was not checked.
//!
//! A place that is missing, full or read-only never stops the others, and the first one is no exception: what fails
//! there is told at the end. Where something is requested ([`Aim::Request`]), only what is wrong with the request
//! itself ends the run, and that there is no place to write it to. For an uninstall the first place decides: a machine
//! is not half given back.
//!
//! Read in this order: this file, `ready` (what is checked before anything is written), `carry_out`, [`prediction`]
//! (what boots next), `findings` (what a plan says about the present), `loader` (systemd-boot itself), `initrds`,
//! `uninstall`.

mod carry_out;
mod complaints;
mod findings;
pub mod initrds;
pub(crate) mod intent;
mod loader;
pub mod once;
pub mod overrides;
pub mod prediction;
mod ready;
mod secure_boot;
mod uninstall;
mod verdict;

use std::cell::OnceCell;
use std::iter;

use boot_entries::boot_partition::{Place, Places};
use boot_entries::digests::Digests;
use boot_entries::observe::{self, BootFiles, Found, Observation};
use boot_entries::plan::{self, InPlace, Intent, Plan, Proof};
use boot_entries::step::Step;
use boot_entries::systemd_boot::Policy;
use systemd_boot_model::{LoaderVariables, ReleaseRange};

use crate::error::Error;
use crate::report::{progress, remedy};
use crate::state::{State, Subject};
use crate::store::secrets;
use crate::view::View;
use initrds::Unfinished;

pub use carry_out::{Done, carry_out};
pub use complaints::Complaints;
pub use findings::{Finding, Inspected, Wrong, inspect_without_record};
pub use ready::Ready;
pub use uninstall::prepare_uninstall;
pub use verdict::write_verdict;

/// What is to be done in one place.
#[derive(Debug)]
struct Planned {
    place: Place,
    /// Whether it is the first of the usable ones.
    is_first: bool,
    observed: Observation,
    plan: Plan,
    loader: loader::Planned,
    proofs: OnceCell<Proofs>,
}

/// What the model of the loader makes of a plan.
#[derive(Debug)]
struct Proofs {
    /// What the firmware was taken to say.
    variables: LoaderVariables,
    /// For each release that may choose.
    all: Vec<Proof>,
}

/// What a run is about, and so whom trouble stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// Something is requested: it is done where it can be.
    Request,
    /// Every place is for itself.
    Repair,
    /// What cannot be done in the first place is done nowhere.
    Uninstall,
}

impl Aim {
    /// Whether `error` in one place ends the run. `is_first`: it is the first place; `is_earliest`: no place before it
    /// could be planned.
    fn is_ended_by(self, error: &Error, is_first: bool, is_earliest: bool) -> bool {
        match self {
            // It is refused here as it would be anywhere.
            Self::Request => is_earliest && is_about_the_request(error),
            Self::Repair => false,
            Self::Uninstall => is_first,
        }
    }
}

/// What is to be done in each place.
#[derive(Debug)]
pub struct Prepared {
    /// First the place that the loader reads next, if that can be used.
    planned: Vec<Planned>,
    aim: Aim,
    intent: Intent,
    /// What a fallback may need.
    needed: Vec<Subject>,
    /// What was read for it.
    digests: Digests,
    /// Whether the first usable place is what the loader reads next.
    has_next: bool,
    /// What the firmware refuses to start for want of a signature, a line each.
    refused: Vec<String>,
    /// What cannot be done, where that does not end the run.
    pub complaints: Complaints,
}

impl Prepared {
    /// A request that nothing can be done about is refused.
    fn unless_in_vain(mut self) -> Result<Self, Error> {
        if self.aim != Aim::Request || !self.planned.is_empty() {
            return Ok(self);
        }
        let complaints = std::mem::take(&mut self.complaints);
        complaints.into_result().map(|()| self)
    }

    /// Where they are to be made.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.planned.iter().map(|planned| &planned.place)
    }

    /// What boots next, if nothing of what the loader reads then is to change.
    #[must_use]
    pub fn unchanged(&self, view: &View) -> Option<Vec<prediction::Prediction>> {
        let first = self.planned.first().filter(|planned| planned.is_first);
        let next = first.filter(|_| self.has_next);
        let unchanged = next.filter(|planned| planned.plan.steps.is_empty())?;
        let [release, _] = unchanged.loader.releases();
        let (boot, release) = (&unchanged.observed.boot, release?);
        // The proof has asked the model what is started, a request for a single boot aside. It holds as long as the
        // firmware says what it was taken to say: an override that could not be cleared is one that it left out.
        let is_asked_once = view.variables.one_shot.is_some();
        let proofs = unchanged.proofs.get();
        let proofs = proofs.filter(|proofs| !is_asked_once && proofs.variables == view.variables);
        let mut proofs = proofs.into_iter().flat_map(|proofs| &proofs.all);
        Some(match proofs.find(|proof| proof.release == release) {
            Some(proof) => prediction::predictions(view, boot, release, proof.starts.as_slice()),
            None => prediction::predict_of(view, boot, release, 0),
        })
    }

    /// What the loader reads next and how it chooses, once all of it is carried out: by the model, not by looking.
    #[must_use]
    pub fn outcome(&self) -> Option<(BootFiles, Option<ReleaseRange>)> {
        let first = self.planned.first()?;
        let [before, after] = first.loader.releases();
        let boot = plan::after(&first.observed, &first.plan).into_owned();
        Some((boot, after.or(before)))
    }

    /// What is left in each place, once all of it is carried out. None: not everywhere can that be told.
    #[must_use]
    pub fn left(&self) -> Option<Vec<BootFiles>> {
        let left = |planned: &Planned| plan::after(&planned.observed, &planned.plan).into_owned();
        let is_everywhere = self.complaints.iter().next().is_none();
        is_everywhere.then(|| self.planned.iter().map(left).collect())
    }

    /// The programs that are run when the steps are made, and where.
    pub fn programs(&self) -> impl Iterator<Item = (&Place, &'static str)> {
        let planned = self.planned.iter();
        planned.filter_map(|planned| Some((&planned.place, planned.loader.programs()?)))
    }

    /// Every step, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |(place, step): (Option<&Place>, &Step)| match place {
            Some(place) => format!("{step} in {}", place.name.display()),
            None => step.to_string(),
        };
        self.steps().map(line).collect()
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

/// Plans the entries that `state` asks for and what `policy` has to say about the loader, and changes nothing. A
/// request ([`Policy::Update`]) gives the selected generation all its tries where it has not been given them.
///
/// # Errors
/// When places cannot be told. With [`Policy::Update`] also when no plan can be made in any, or the request is refused
/// in the first one where it can be looked at.
pub fn prepare(
    view: &View,
    state: &State,
    policy: Policy,
    unfinished: &Unfinished,
) -> Result<Prepared, Error> {
    let digests = view.digests();
    prepare_with(view, state, policy, unfinished, digests)
}

/// [`prepare`] for a repair of what is on the disks now: what was read before in this boot is read again.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_anew(view: &View) -> Result<Prepared, Error> {
    let mut digests = view.digests();
    digests.forget_boot();
    let unfinished = Unfinished::default();
    prepare_with(view, &view.state, Policy::Mend, &unfinished, digests)
}

fn prepare_with(
    view: &View,
    state: &State,
    policy: Policy,
    unfinished: &Unfinished,
    mut digests: Digests,
) -> Result<Prepared, Error> {
    let _shown = progress::Shown;
    let aim = match policy {
        Policy::Update => Aim::Request,
        Policy::Mend => Aim::Repair,
    };
    let places = view.places(state)?;
    let found = found(view, state, unfinished, &mut digests);
    let intent = intent::for_aim(view, state, aim, (&places, &found), &mut digests)?;
    let mut loader = loader::Planner::new(view, state, policy, &mut digests);
    let has_next = places.has_next;
    if !has_next {
        loader.leave_first();
    }
    let (planned, mut complaints) = in_each(places, found, aim, |place, found| {
        let armed_anew = aim == Aim::Request && !state.is_armed_in(&place.name);
        let planned = planned_in(place, found, &intent, armed_anew, &mut loader, &mut digests);
        loader.leave_first();
        planned
    })?;
    tell_what_is_left_out(view, &planned);
    let needed: Vec<Subject> = state.protected().into_iter().cloned().collect();
    let refused = secure_boot::refused_of(view, planned.first(), &needed);
    if aim == Aim::Request {
        complaints.add_lines(&refused);
    }
    Prepared {
        planned,
        aim,
        intent,
        needed,
        digests,
        has_next,
        refused,
        complaints,
    }
    .unless_in_vain()
}

/// What the closures of all generations say about booting, read once for all places.
fn found(view: &View, state: &State, unfinished: &Unfinished, digests: &mut Digests) -> Vec<Found> {
    let generations = view.generations_in(state);
    let mut initrds = secrets::finished(&view.root, &generations, &view.documents);
    for (toplevel, why) in unfinished {
        initrds.insert(toplevel.clone(), Err(why.clone()));
    }
    observe::generations(&view.root, &generations, &initrds, &view.documents, digests)
}

/// Plans place by place. What fails in one stops no other, unless it ends the run ([`Aim::is_ended_by`]).
fn in_each(
    places: Places,
    found: Vec<Found>,
    aim: Aim,
    mut plan: impl FnMut(&Place, Vec<Found>) -> Result<Planned, Error>,
) -> Result<(Vec<Planned>, Complaints), Error> {
    for doubt in &places.doubts {
        tracing::warn!("{doubt}");
    }
    let mut complaints = Complaints::new(places.unusable);
    let mut planned: Vec<Planned> = Vec::new();
    let count = places.usable.len();
    let each = places.usable.into_iter().zip(iter::repeat_n(found, count));
    for (number, (place, found)) in each.enumerate() {
        let is_first = number == 0;
        match plan(&place, found) {
            Ok(one) => {
                if let Some(trouble) = &one.loader.trouble {
                    let name = one.place.name.display();
                    complaints.add(Error::Refused(format!("{name}: {trouble}")));
                }
                planned.push(Planned { is_first, ..one });
            }
            Err(error) if aim.is_ended_by(&error, is_first, planned.is_empty()) => {
                return Err(error);
            }
            Err(error) => complaints.in_place(is_first, &place, error),
        }
    }
    Ok((planned, complaints))
}

fn tell_what_is_left_out(view: &View, planned: &[Planned]) {
    for Planned { plan, .. } in planned.iter().take(1) {
        let substituted = plan.substituted.as_ref().map(remedy::substituted);
        for note in plan.notes.iter().chain(&substituted) {
            tracing::warn!("{note}");
        }
        for (Subject { generation, .. }, why) in &plan.skipped {
            tracing::warn!("generation {generation} cannot be booted and is left out: {why}");
        }
    }
    for (Subject { generation, .. }, why) in &view.troubles {
        tracing::warn!("generation {generation}: left out: {why}");
    }
    for link in &view.profiles.odd {
        tracing::warn!(
            "{}: left out: its number is too large, or not as Nix writes one",
            link.display()
        );
    }
}

fn planned_in(
    place: &Place,
    found: Vec<Found>,
    intent: &Intent,
    rearm: bool,
    loader: &mut loader::Planner,
    digests: &mut Digests,
) -> Result<Planned, Error> {
    let mut observed = Observation::read(place, found, &intent.extras, digests)?;
    let (loader, loader_steps) = loader.plan(place, digests)?;
    let here = InPlace {
        rearm,
        loader_steps,
    };
    let mut plan = plan::plan(&observed, intent, &here)?;
    // Most runs have nothing to write, and for that there is always room.
    if !plan.steps.is_empty() {
        observed.measure();
        plan = plan::plan(&observed, intent, &here)?;
    }
    Ok(Planned {
        place: place.clone(),
        is_first: false,
        observed,
        plan,
        loader,
        proofs: OnceCell::new(),
    })
}

/// Whether a plan is refused for what is wanted, rather than for what the place is like.
fn is_about_the_request(error: &Error) -> bool {
    match error {
        Error::Plan(refusal) => !matches!(refusal, plan::Refusal::NoSpace(_)),
        _ => false,
    }
}
