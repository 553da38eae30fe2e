//! The agent's steps, in the order in which the operations take them. The power may fail between any two.

use std::path::Path;

use boot_entries::name::stem_of;
use boot_entries::plan::Counter;

use super::super::cause::{Cause, Stage};
use super::super::fault::Fault;
use super::super::incident::Hook;
use super::super::reset::{Evidence, Way};
use super::super::started_by::{StartedBy, Starts, started_by};
use super::super::{Baseline, By, Event, Standing, State, Subject, WhenHealthy, WhenUnhealthy};
use super::world::{Machine, Nature, Up, World};

/// What every generation suffers from, by its key.
pub(super) const OUTSIDE: &str = "unit:outside.service";
/// The place that the loader reads.
const PLACE: &str = "/boot";

/// An event in a story.
pub(super) fn line(event: &Event) -> String {
    let subject = event.subject().map(|one| one.generation.to_string());
    let faults: Vec<_> = event
        .faults()
        .iter()
        .map(|one| one.key().into_owned())
        .collect();
    let more = match event {
        Event::Began { reset, .. } => reset.as_ref().map(|reset| reset.how.name().to_owned()),
        Event::Selected { by, .. } => by.map(|by| format!("{by:?}")),
        Event::Hooked { hook, .. } => Some(hook.to_string()),
        _ => None,
    };
    format!("{} {subject:?} {more:?} {faults:?}", event.name())
}

impl World {
    pub(super) fn up(&mut self) -> Option<Up> {
        match &self.machine {
            Machine::Up(up) => Some(up.clone()),
            _ => None,
        }
    }

    fn is_judged(&mut self) {
        if let Machine::Up(up) = &mut self.machine {
            up.is_judged = true;
        }
    }

    /// The power fails. Gives whether it did.
    pub(super) fn may_be_cut(&mut self) -> bool {
        let cut = self.may(2);
        if cut {
            self.cut("the power fails in the middle");
        }
        cut
    }

    pub(super) fn cut(&mut self, what: &str) {
        say!(self, "{what}");
        self.evidence = Evidence::default();
        self.machine = Machine::Off;
    }

    pub(super) fn install(&mut self, at: usize) {
        let subject = self.generations[at].subject.clone();
        // What cannot be started is refused where that is seen.
        let is_refused = self.generations[at].nature == Nature::CannotStart && self.may(80);
        let is_rejected = self.state.standing(&subject) == Standing::Rejected && !self.may(50);
        if is_refused || is_rejected || self.read_only || self.generations[at].rotten {
            return;
        }
        say!(self, "somebody installs generation {}", subject.generation);
        self.automatic = 0;
        self.breaches = 0;
        self.record(&Event::Selected {
            subject: subject.clone(),
            by: None,
        });
        if self.may_be_cut() {
            return;
        }
        self.write_entry(at);
        // What may be gone back to has its entries before anything new is tried.
        let good = self
            .state
            .last_good()
            .and_then(|good| self.generation(good));
        if let Some(good) = good.filter(|good| !self.generations[*good].rotten) {
            self.write_entry(good);
        }
        if self.carry_with(Counter::Anew) {
            self.record(&Event::Armed {
                subject,
                places: None,
            });
        }
    }

    pub(super) fn begin(&mut self) {
        let Some(up) = self.up() else { return };
        let one = self.generations[up.at].clone();
        let mut evidence = std::mem::take(&mut self.evidence);
        let subject = one.subject.clone();
        let by = self.started_by(&subject);
        evidence.not_by_the_loader = matches!(by, StartedBy::NotTheLoader { .. });
        let reset = evidence.tells(self.state.boot.as_ref());
        self.record(&Event::Began {
            boot: self.id.clone(),
            running: Some(subject.clone()),
            reset: Some(reset),
        });
        self.flags(&up, &subject);
        if self.may_be_cut() {
            return;
        }
        let exhausted = self.exhausted(&self.state).then(|| Path::new(PLACE));
        if let Some((given_up, cause)) = self.state.passed_over(exhausted) {
            for event in State::given_up(&given_up, &cause) {
                self.record(&event);
            }
        }
        let could_start = self.could_start(&subject);
        self.carry();
        if self.state.is_to_be_left_at_once(could_start) {
            say!(self, "the verdict is on record, and was not in the entries");
            self.told.left_at_once += 1;
            self.go_back();
            return;
        }
        if one.nature == Nature::Hangs {
            self.cut("it hangs, until somebody resets it");
            return;
        }
        let Some(cause) = self.state.is_not_counted() else {
            return;
        };
        for event in State::given_up(&subject, &cause) {
            self.record(&event);
        }
        self.go_back();
    }

    fn could_start(&self, subject: &Subject) -> bool {
        let stem = stem_of(subject);
        let mut files = self.boot.files_of(&stem);
        files.any(|(_, file)| file.name.tries.is_none_or(|tries| tries.left > 0))
    }

    fn started_by(&self, running: &Subject) -> StartedBy {
        let known: Vec<Subject> = self
            .generations
            .iter()
            .map(|one| one.subject.clone())
            .collect();
        let named = self.variables.selected.as_deref();
        let starts: Vec<Starts> = known
            .iter()
            .filter(|one| named.is_some_and(|named| named.starts(&stem_of(one))))
            .map(|one| Starts::Closure(one.toplevel.clone()))
            .collect();
        started_by(&running.toplevel, named, &starts, &known)
    }

    /// Whether this boot is ended by force when the agent is: only a trial that the loader has counted may be.
    fn flags(&mut self, up: &Up, subject: &Subject) -> bool {
        let known: Vec<Subject> = self
            .generations
            .iter()
            .map(|one| one.subject.clone())
            .collect();
        let file = self.variables.counted_file();
        let is_about = file.is_some_and(|file| {
            let by = started_by(&subject.toplevel, Some(file), &[], &known);
            !matches!(by, StartedBy::NotTheLoader { .. })
        });
        // After a kexec into the same closure nothing tells that the counter is of the boot before.
        let is_its_own = file.is_some_and(|file| file.starts(&stem_of(subject)));
        let is_right = !is_about || up.counted || (!up.by_loader && is_its_own);
        self.expect(is_right, || {
            format!("{subject:?} is taken for a trial for a counter that is another's")
        });
        is_about
    }

    fn faults(&self, at: usize) -> Vec<Fault> {
        let one = &self.generations[at];
        // One that flaps does not at once.
        let own = matches!(one.nature, Nature::Bad | Nature::Unreachable);
        let own = own.then(|| Fault::of_unit(&format!("own-{at}.service")));
        let outside = self.outside.then(|| Fault::from_key(OUTSIDE));
        own.into_iter().chain(outside).collect()
    }

    pub(super) fn assess(&mut self) {
        let Some(up) = self.up() else { return };
        let subject = self.generations[up.at].subject.clone();
        let faults = self.faults(up.at);
        self.is_judged();
        if faults.is_empty() {
            self.generations[up.at].was_good = true;
            self.bless(&up);
            self.run_the_hook();
            self.second_chance();
        } else {
            let stage = match self.generations[up.at].nature {
                Nature::Unreachable => Stage::Firewalled,
                _ => Stage::Services,
            };
            let cause = Cause {
                faults,
                ..Cause::of(stage, Fault::NoVerdict)
            };
            let before = self.state.clone();
            for event in self.state.found_unwell(&subject, &cause) {
                self.record(&event);
                if self.may_be_cut() {
                    return;
                }
            }
            self.excuses_what_is_shared(&up, &before);
            self.go_back();
            self.run_the_hook();
        }
    }

    fn bless(&mut self, up: &Up) {
        let WhenHealthy::Bless(subject) = self.state.when_healthy() else {
            return;
        };
        let is_proven = self.state.standing(&subject) == Standing::Proven;
        let by = self.started_by(&subject);
        let is_by_kexec = matches!(by, StartedBy::NotTheLoader { .. }) || self.state.is_by_kexec();
        if !is_proven && is_by_kexec {
            self.record(&Event::Healthy {
                subject,
                baseline: Baseline::default(),
            });
            return;
        }
        self.expect(is_proven || up.by_loader, || {
            format!("{subject:?} is blessed, and this boot was not the loader's")
        });
        self.automatic = 0;
        self.record(&Event::Proven {
            subject: subject.clone(),
            baseline: Baseline::default(),
        });
        if self.may_be_cut() {
            return;
        }
        self.carry();
        self.mend();
    }

    pub(super) fn second_chance(&mut self) {
        let Some(subject) = self.state.second_chance().cloned() else {
            return;
        };
        self.record(&Event::Selected {
            subject: subject.clone(),
            by: Some(By::Suspicion),
        });
        if !self.may_be_cut() && self.carry_with(Counter::Anew) {
            self.record(&Event::Armed {
                subject,
                places: None,
            });
        }
    }

    /// All payload is read, and mended from the store. What boots next, and what it falls back to, has its entry.
    pub(super) fn mend(&mut self) {
        if self.read_only {
            return;
        }
        for generation in &mut self.generations {
            generation.rotten = false;
        }
        for subject in [self.state.selected.clone(), self.state.last_good().cloned()]
            .into_iter()
            .flatten()
        {
            if let Some(at) = self.generation(&subject) {
                self.write_entry(at);
            }
        }
        self.carry();
    }

    pub(super) fn go_back(&mut self) {
        self.is_judged();
        match self.state.when_unhealthy() {
            WhenUnhealthy::FallBack { from, to } => {
                if let Some(event) = self.state.left_without_a_verdict(&from) {
                    self.record(&event);
                }
                let to = self.state.selected.clone().unwrap_or(to);
                // Between the entries that say so and what they start, which is mended then: `docs/limits.md`.
                if !self.is_broken(&to) && self.may_be_cut() {
                    return;
                }
                self.leave(from, to);
            }
            WhenUnhealthy::GoOn { from, to } => {
                self.record(&State::goes_on(&to));
                self.leave(from, to);
            }
            WhenUnhealthy::TryAgain { running } => self.leave(running.clone(), running),
            WhenUnhealthy::StayUp(_) => {
                if self.state.degraded.is_none() {
                    let subject = self.state.running().cloned().unwrap();
                    let cause = Cause::of(Stage::Begun, Fault::NoVerdict);
                    self.record(&Event::Degraded { subject, cause });
                }
                self.carry();
                self.mend();
                self.run_the_hook();
            }
        }
    }

    /// It cannot be started: it is damaged, or has no entry.
    fn is_broken(&self, one: &Subject) -> bool {
        let at = self.generation(one);
        at.is_some_and(|at| self.generations[at].rotten)
            || self.boot.files_of(&stem_of(one)).next().is_none()
    }

    fn leave(&mut self, from: Subject, to: Subject) {
        // What is gone to can be started, and what comes after it, or all is mended before a reboot is asked for.
        let good = self.state.last_good().cloned();
        if self.is_broken(&to) || good.is_some_and(|good| self.is_broken(&good)) {
            self.mend();
        }
        if !self.carry() {
            let stem = stem_of(&to);
            let found = self.boot.files_of(&stem).next();
            let file = found.map(|(name, _)| name.clone());
            // Releases differ in what an id is.
            self.variables.one_shot = file.map(|file| {
                if self.is_new() {
                    format!("{stem}.conf")
                } else {
                    file
                }
            });
        }
        if self.may_be_cut() {
            return;
        }
        self.record(&Event::Rebooting { from, to });
        self.evidence = Evidence::default();
        self.end_on_record(Way::Reboot);
        self.power_on();
    }

    /// Whoever judges dies.
    pub(super) fn dies(&mut self, up: &Up) {
        let subject = self.generations[up.at].subject.clone();
        say!(self, "the assessor dies");
        let is_proven = self.state.standing(&subject) == Standing::Proven;
        let reboots = self.told.reboots;
        self.go_back();
        let rebooted = self.told.reboots > reboots;
        self.expect(!(is_proven && rebooted), || {
            "what is proven is rebooted because the agent died".to_owned()
        });
    }

    /// What was wrong is gone, and whoever watches sees it.
    pub(super) fn recovers(&mut self) {
        let Some(up) = self.up() else { return };
        if self.faults(up.at).is_empty() {
            say!(self, "what was wrong is gone");
            self.assess();
        }
    }

    pub(super) fn end_on_record(&mut self, way: Way) {
        let boot = self.id.clone();
        let gives_back = self.state.gives_back(&boot, way, false);
        self.record(&Event::Ended {
            boot,
            way,
            failed: false,
        });
        if gives_back {
            self.told.given_back += 1;
            self.carry_with(Counter::OneMore);
        }
    }

    pub(super) fn end(&mut self, way: Way) {
        say!(self, "somebody asks for {way:?}");
        self.end_on_record(way);
        self.evidence = Evidence::default();
        match way {
            Way::PowerOff => self.machine = Machine::Off,
            Way::SoftReboot => {
                let Some(up) = self.up() else { return };
                self.id.push_str("+1");
                self.evidence.same_kernel = true;
                self.machine = Machine::Up(Up {
                    is_judged: false,
                    ..up
                });
                self.begin();
            }
            _ => self.power_on(),
        }
    }

    pub(super) fn kexec(&mut self) {
        let at = self.random.below(self.generations.len());
        say!(self, "somebody starts generation {} by kexec", at + 1);
        self.end_on_record(Way::Kexec);
        self.evidence = Evidence::default();
        self.kexec_into(at);
    }

    /// The hook that is due, once for each incident.
    pub(super) fn run_the_hook(&mut self) {
        let Some(closing) = self.state.closing() else {
            return;
        };
        let hook = closing.hook;
        let is_right = match hook {
            Hook::OnProven | Hook::OnFallback => self.state.degraded.is_none(),
            Hook::OnDegraded => self.state.degraded.is_some(),
        };
        self.expect(is_right, || format!("{hook} is run, and that is not so"));
        if self.may_be_cut() {
            return;
        }
        let trouble = None;
        self.record(&Event::Hooked { hook, trouble });
        self.expect(self.state.closing().is_none(), || {
            format!("{hook} is due again")
        });
    }
}

/// Names of an entry, whatever its counter.
trait Named {
    fn starts(&self, stem: &str) -> bool;
}

impl Named for str {
    fn starts(&self, stem: &str) -> bool {
        self.strip_prefix(stem)
            .is_some_and(|rest| rest.starts_with('+') || rest.starts_with('.'))
    }
}
