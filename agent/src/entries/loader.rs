//! systemd-boot itself, in each place: mended at every boot, installed and updated when somebody asks for `install`.

use std::path::Path;

use boot_entries::boot_partition::Place;
use boot_entries::digests::Digests;
use boot_entries::step::Step;
use boot_entries::systemd_boot::{self, Action, Image, Installed, Policy, Source};
use systemd_boot_model::ReleaseRange;

use crate::error::Error;
use crate::host;
use crate::report::line::one_line;
use crate::report::remedy;
use crate::state::State;
use crate::system::bootctl::{self, Bootctl};
use crate::view::View;

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
    /// What is left of one: the loader is copied, because bootctl would have overwritten somebody else's program, or
    /// made a mirror the first choice.
    Complete,
}

impl Planned {
    /// How the loader that it is chooses, and how the one that it will be.
    pub(super) fn releases(&self) -> [Option<ReleaseRange>; 2] {
        [&self.before, &self.after]
            .map(|image| ReleaseRange::of_loader_info(&image.as_ref()?.info()))
    }

    /// How the loader chooses when all steps are made. None: there is none, or bootctl is to bring it.
    pub(super) fn next_release(&self) -> Option<ReleaseRange> {
        let [before, after] = self.releases();
        after.or(before).filter(|_| self.remaining.is_none())
    }

    /// Whether what the firmware starts here, when all steps are made, carries no signature. What bootctl is to bring
    /// is looked at when it is there.
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

    /// Does what is left when the steps are made.
    pub(super) fn finish(
        &self,
        view: &View,
        place: &Place,
        digests: &mut Digests,
    ) -> Result<(), Error> {
        let Some(remaining) = self.remaining else {
            return Ok(());
        };
        let bootctl = Bootctl::find(&view.root, of_interest(&view.state));
        let touch_variables = view.boot_config(&view.state).can_touch_efi_variables;
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

/// Plans what to do about the loader, place by place, the first one first.
#[derive(Debug)]
pub(super) struct Planner {
    source: Option<Source>,
    policy: Policy,
    is_first: bool,
    is_live: bool,
}

impl Planner {
    /// Begins with the systemd-boot that comes with the selected closure, or with the machine. One that is not to be
    /// installed is told, and is none: it stops nobody from writing entries.
    pub(super) fn new(view: &View, state: &State, policy: Policy, digests: &mut Digests) -> Self {
        let host = host::kind(&view.root).map_err(|error| one_line(&error));
        let source = host.and_then(|kind| {
            let systemd = Path::new(kind.systemd());
            Source::find(&view.root, of_interest(state), systemd, digests)
        });
        let source = source.unwrap_or_else(|why| {
            tracing::warn!("systemd-boot is not updated, and what is installed stays: {why}");
            None
        });
        Self {
            source,
            policy,
            is_first: true,
            is_live: view.root.is_live(),
        }
    }

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
        let too_old = info.as_deref().and_then(systemd_boot_model::too_old);
        let too_old = too_old.map(|loader| remedy::too_old(&loader));
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

/// The closure that says what is done about the loader: the selected one; the last good one, where nothing is selected.
pub(super) fn of_interest(state: &State) -> Option<&Path> {
    let subject = state.selected.as_ref().or(state.last_good());
    subject.map(|subject| subject.toplevel.as_path())
}
