//! systemd-boot itself, in each place: mended at every boot, installed and updated when somebody asks for `install`.

use boot_entries::boot_partition::Place;
use boot_entries::digests::Digests;
use boot_entries::efi::LoaderVariables;
use boot_entries::loader::{self, Band, Override};
use boot_entries::step::Step;
use boot_entries::systemd_boot::{self, Action, Image, Installed, Policy, Source};

use super::Session;
use crate::bootctl::{self, Bootctl};
use crate::error::Error;
use crate::machine::State;
use crate::told::one_line;

/// What is planned for the loader in one place, besides steps.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// What it is.
    before: Option<Image>,
    /// What it will be.
    after: Option<Image>,
    /// What bootctl is to do when the steps are made.
    remaining: Option<Remaining>,
    /// Why the machine does not start from this place even then.
    pub(super) trouble: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Remaining {
    /// All of a first installation.
    Install,
    /// What is left of one: the loader is copied, because bootctl would have overwritten somebody else's program, or made
    /// a mirror the first choice.
    Complete,
}

impl Planned {
    /// How the loader that it is chooses, and how the one that it will be.
    pub(super) fn bands(&self) -> [Option<Band>; 2] {
        [&self.before, &self.after].map(|image| Band::of_loader_info(&image.as_ref()?.info()))
    }
}

impl Planned {
    /// How the loader chooses when all steps are made. None: there is none, or bootctl is to bring it.
    pub(super) fn next_band(&self) -> Option<Band> {
        let [before, after] = self.bands();
        after.or(before).filter(|_| self.remaining.is_none())
    }

    /// Whether what the firmware starts here, when all steps are made, carries no signature. What bootctl is to bring is
    /// looked at when it is there.
    pub(super) fn is_unsigned(&self) -> bool {
        self.after.as_ref().is_some_and(|image| !image.is_signed)
    }

    /// What is run when the steps are made.
    pub(super) fn programs(&self) -> Option<&'static str> {
        Some(match self.remaining? {
            Remaining::Install => "`bootctl install`",
            Remaining::Complete => "`bootctl update` and `bootctl random-seed`",
        })
    }
}

/// Plans what to do about the loader, place by place, the first one first.
#[derive(Debug)]
pub(super) struct Planner {
    source: Option<Source>,
    policy: Policy,
    is_first: bool,
    is_live: bool,
}

impl Planner {
    /// What is to be done in `place`, and the steps of it that are the plan's to place.
    pub(super) fn plan(
        &mut self,
        place: &Place,
        digests: &mut Digests,
    ) -> Result<(Planned, Vec<Step>), Error> {
        let installed = Installed::read(&place.esp, digests)?;
        let decision = systemd_boot::decide(&installed, self.source.as_ref(), self.policy);
        for told in &decision.told {
            match decision.action {
                Action::Nothing => tracing::debug!("{told}"),
                Action::Write(_) | Action::Install { .. } => tracing::info!("{told}"),
            }
        }
        if let Some(why) = &decision.held_back {
            tracing::warn!("{}: {why}", place.name.display());
        }
        let mut remaining = None;
        let steps = match decision.action {
            Action::Nothing => Vec::new(),
            // `bootctl install` makes what it installs the first thing that the firmware tries.
            Action::Install {
                by_bootctl: true, ..
            } if self.is_live && self.is_first => {
                remaining = Some(Remaining::Install);
                Vec::new()
            }
            Action::Install { steps, .. } => {
                if self.is_live {
                    remaining = Some(Remaining::Complete);
                } else {
                    tracing::warn!("{}: {}", place.name.display(), bootctl::LEFT_OUT);
                }
                steps
            }
            Action::Write(steps) => steps,
        };
        if self.is_first {
            self.go_on_to_mirrors(&installed);
        }
        let info = decision.after.as_ref().map(Image::info);
        let too_old = info.as_deref().and_then(loader::too_old);
        if let Some(why) = &too_old
            && self.policy == Policy::Update
        {
            let name = place.name.display();
            return Err(Error::Refused(format!(
                "{name}: {why}; nothing was changed"
            )));
        }
        let planned = Planned {
            before: installed.image().cloned(),
            after: decision.after,
            remaining,
            trouble: decision.trouble.or(too_old),
        };
        Ok((planned, steps))
    }

    /// Goes on to mirrors without knowing what is in the first place.
    pub(super) fn leave_first(&mut self) {
        self.is_first = false;
    }

    /// A mirror is to be as the first place is: where no other version is to come, or there is none to install, what is
    /// there is what mirrors get.
    fn go_on_to_mirrors(&mut self, first: &Installed) {
        self.is_first = false;
        if self.policy == Policy::Mend || self.source.is_none() {
            self.source = first.source().or(self.source.take());
        }
        if self.policy == Policy::Mend {
            self.policy = Policy::Update;
        }
    }
}

impl Session {
    /// Begins with the systemd-boot that comes with the selected closure, or with the machine. One that is not to be
    /// installed is told, and is none: it stops nobody from writing entries.
    pub(super) fn loader_planner(
        &self,
        state: &State,
        policy: Policy,
        digests: &mut Digests,
    ) -> Planner {
        let subject = state.selected.as_ref().or(state.last_good());
        let toplevel = subject.map(|subject| subject.toplevel.as_path());
        let source = Source::find(&self.root, toplevel, digests).unwrap_or_else(|why| {
            tracing::warn!("systemd-boot is not updated: {why}");
            None
        });
        Planner {
            source,
            policy,
            is_first: true,
            is_live: self.root.is_live(),
        }
    }

    /// What the firmware would choose over the order of the entries and `state` allows to be cleared: from here on the
    /// run goes on as if it were not there, and [`Self::clear`] is to follow. What may not be cleared is told.
    ///
    /// # Errors
    /// When there is no place.
    pub fn overrides_to_clear(&mut self, state: &State) -> Result<Vec<Override>, Error> {
        let mut harmful = loader::overrides(&self.variables);
        if harmful.is_empty() {
            return Ok(harmful);
        }
        let places = self.places(state)?;
        let first = places.usable.first();
        let band = first.map(|place| self.band(place).unwrap_or(Band::V252));
        harmful.retain(|one| band.is_some_and(|band| one.is_harmful(band)));
        if !self.root.is_live() || !self.boot_config(state).can_touch_efi_variables {
            for one in harmful {
                tracing::warn!("{one}");
            }
            return Ok(Vec::new());
        }
        for one in &harmful {
            self.view.variables = self.view.variables.clone().without(one.variable);
        }
        Ok(harmful)
    }

    /// Clears these. One that is not cleared is told by whoever looks next.
    pub fn clear(&mut self, overrides: &[Override], state: &State) {
        let subject = state.selected.as_ref().or(state.last_good());
        let toplevel = subject.map(|subject| subject.toplevel.as_path());
        let bootctl = Bootctl::find(&self.root, toplevel);
        for one in overrides {
            match bootctl.clear(one.variable) {
                Ok(()) => tracing::warn!("cleared: {one}"),
                Err(error) => tracing::error!("{one}: {}", one_line(&error)),
            }
        }
        if !overrides.is_empty() {
            self.view.variables = LoaderVariables::read(&self.root);
        }
    }

    /// Does what is left when the steps are made.
    pub(super) fn finish_loader(
        &self,
        place: &Place,
        planned: &Planned,
        digests: &mut Digests,
    ) -> Result<(), Error> {
        let Some(remaining) = planned.remaining else {
            return Ok(());
        };
        let subject = self.state.selected.as_ref().or(self.state.last_good());
        let toplevel = subject.map(|subject| subject.toplevel.as_path());
        let bootctl = Bootctl::find(&self.root, toplevel);
        let touch_variables = self.boot_config(&self.state).can_touch_efi_variables;
        tracing::info!("{}: installing systemd-boot", place.name.display());
        match remaining {
            Remaining::Install => bootctl.install(place, touch_variables)?,
            Remaining::Complete => bootctl.complete(place, touch_variables)?,
        }
        // bootctl reads nothing back.
        match Installed::read_anew(&place.esp, digests)?.image() {
            Some(_) => Ok(()),
            None => Err(Error::Refused(format!(
                "{}: bootctl has installed no systemd-boot that is whole; run again, or look at the disk",
                place.name.display()
            ))),
        }
    }
}
