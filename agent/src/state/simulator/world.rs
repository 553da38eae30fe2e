//! The machine, its generations, and what may happen to them.

use boot_entries::GenerationId;
use boot_entries::name::stem_of;
use boot_entries::observe::BootFiles;
use systemd_boot_model::{LoaderVariables, ReleaseRange};

use super::super::cause::Stage;
use super::super::reset::{Evidence, Way};
use super::super::{By, Event, Standing, State, Subject};
use super::random::Random;

/// So many generations a history has at most.
const GENERATIONS: usize = 6;
/// What is told of a history that went wrong.
const TOLD: usize = 60;

/// What becomes of a generation that is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    Good,
    /// A unit of its own fails.
    Bad,
    /// A unit of its own flaps, some time after it was proven.
    Flaps,
    /// The first, and it does not come as far as its services.
    Unreachable,
    /// The kernel panics before the agent runs.
    Panics,
    /// It hangs, and somebody or a watchdog resets it.
    Hangs,
    /// No loader can start it.
    CannotStart,
}

#[derive(Debug, Clone)]
pub(super) struct Generation {
    pub(super) subject: Subject,
    pub(super) nature: Nature,
    /// Its payload is damaged: it cannot be started until that is mended.
    pub(super) rotten: bool,
    /// It was found good at some time, or somebody said so.
    pub(super) was_good: bool,
}

/// What the machine is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Machine {
    Off,
    /// The firmware waits for a key.
    Prompt,
    Up(Up),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Up {
    pub(super) at: usize,
    pub(super) by_loader: bool,
    /// The loader counted this boot.
    pub(super) counted: bool,
    /// A verdict was come to, or given up.
    pub(super) is_judged: bool,
}

/// What has happened, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    pub(super) boots: u64,
    pub(super) proven: u64,
    pub(super) rejected: u64,
    pub(super) reboots: u64,
    pub(super) excused: u64,
    pub(super) second_chances: u64,
    pub(super) last_resorts: u64,
    pub(super) degraded: u64,
    pub(super) given_back: u64,
    /// Boots that were left as soon as they began: the verdict on them was on record.
    pub(super) left_at_once: u64,
    pub(super) hooks: u64,
    pub(super) prompts: u64,
    pub(super) stale: u64,
    pub(super) demoted: u64,
    pub(super) unsteady: u64,
    pub(super) steady: u64,
    pub(super) rests: u64,
    pub(super) served: u64,
}

impl Told {
    fn all(&self) -> [u64; 18] {
        [
            self.boots,
            self.proven,
            self.rejected,
            self.reboots,
            self.excused,
            self.second_chances,
            self.last_resorts,
            self.degraded,
            self.given_back,
            self.left_at_once,
            self.hooks,
            self.prompts,
            self.stale,
            self.demoted,
            self.unsteady,
            self.steady,
            self.rests,
            self.served,
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.boots += other.boots;
        self.proven += other.proven;
        self.rejected += other.rejected;
        self.reboots += other.reboots;
        self.excused += other.excused;
        self.second_chances += other.second_chances;
        self.last_resorts += other.last_resorts;
        self.degraded += other.degraded;
        self.given_back += other.given_back;
        self.left_at_once += other.left_at_once;
        self.hooks += other.hooks;
        self.prompts += other.prompts;
        self.stale += other.stale;
        self.demoted += other.demoted;
        self.unsteady += other.unsteady;
        self.steady += other.steady;
        self.rests += other.rests;
        self.served += other.served;
    }

    pub(super) fn is_varied(&self) -> bool {
        self.all().iter().all(|count| *count > 0)
    }
}

#[allow(
    clippy::struct_excessive_bools,
    reason = "each is something that is so or not in the world, and any of them come together"
)]
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) random: Random,
    pub(super) generations: Vec<Generation>,
    pub(super) machine: Machine,
    pub(super) state: State,
    pub(super) boot: BootFiles,
    pub(super) release: ReleaseRange,
    pub(super) variables: LoaderVariables,
    pub(super) read_only: bool,
    /// What every generation suffers from.
    pub(super) outside: bool,
    /// What the next boot finds of the one before.
    pub(super) evidence: Evidence,
    pub(super) number: u64,
    /// The id of the boot that runs.
    pub(super) id: String,
    /// Automatic reboots since somebody did something, or something was found well.
    pub(super) automatic: u32,
    /// What was demoted, ever.
    pub(super) demoted: std::collections::BTreeSet<std::path::PathBuf>,
    /// So many were since somebody selected something, or something was steady.
    pub(super) breaches: u32,
    /// Nothing happens by chance any more.
    pub(super) is_still: bool,
    /// The hook that is due has been due since before: it must not be run twice.
    /// Whether the story is told: that takes longer than what happens in it.
    pub(super) tells: bool,
    pub(super) story: Vec<String>,
    pub(super) wrong: Vec<String>,
    pub(super) told: Told,
}

impl World {
    pub(super) fn new(mut random: Random, tells: bool) -> Self {
        let releases = [ReleaseRange::V252, ReleaseRange::V257, ReleaseRange::V260_2];
        let release = random.pick(&releases);
        let mut world = Self {
            random,
            generations: Vec::new(),
            machine: Machine::Off,
            state: State::default(),
            boot: BootFiles::default(),
            release,
            variables: LoaderVariables::default(),
            read_only: false,
            outside: false,
            evidence: Evidence::default(),
            number: 0,
            id: String::new(),
            automatic: 0,
            demoted: std::collections::BTreeSet::new(),
            breaches: 0,
            is_still: false,
            tells,
            story: Vec::new(),
            wrong: Vec::new(),
            told: Told::default(),
        };
        // A machine that somebody has set up: one generation that works.
        world.is_still = true;
        world.build(Nature::Good);
        world.install(0);
        world.power_on();
        world.assess();
        world.is_still = false;
        world
    }

    pub(super) fn say(&mut self, what: String) {
        if self.story.len() >= TOLD {
            self.story.remove(0);
        }
        self.story.push(what);
    }

    pub(super) fn expect(&mut self, holds: bool, what: impl Fn() -> String) {
        if !holds {
            let what = what();
            say!(self, "WRONG: {what}");
            self.wrong.push(what);
        }
    }

    pub(super) fn may(&mut self, percent: usize) -> bool {
        !self.is_still && self.random.chance(percent)
    }

    pub(super) fn generation(&self, subject: &Subject) -> Option<usize> {
        self.generations
            .iter()
            .position(|one| one.subject.toplevel == subject.toplevel)
    }

    fn build(&mut self, nature: Nature) {
        let number = self.generations.len() as u64 + 1;
        self.generations.push(Generation {
            subject: Subject {
                generation: GenerationId::system(number),
                toplevel: format!("/nix/store/{number}").into(),
            },
            nature,
            rotten: false,
            was_good: false,
        });
        say!(self, "generation {number} is built: {nature:?}");
    }

    /// One thing happens.
    pub(super) fn step(&mut self) {
        match self.machine.clone() {
            Machine::Off => self.power_on(),
            Machine::Prompt => {
                say!(self, "somebody presses the reset button");
                self.power_on();
            }
            Machine::Up(up) if !up.is_judged => self.before_a_verdict(&up),
            Machine::Up(_) => self.after_a_verdict(),
        }
    }

    fn before_a_verdict(&mut self, up: &Up) {
        match self.random.below(20) {
            0 => self.cut("the power fails"),
            1 => self.end(Way::Reboot),
            2 => self.end(Way::PowerOff),
            3 => self.end(Way::SoftReboot),
            4 => self.kexec(),
            5 => self.dies(up),
            6 => self.outside = !self.outside,
            _ => self.assess(),
        }
    }

    fn after_a_verdict(&mut self) {
        match self.random.below(30) {
            0 => self.cut("the power fails"),
            1..=5 => self.end(Way::Reboot),
            6 => self.end(Way::PowerOff),
            7 => self.end(Way::SoftReboot),
            8 => self.kexec(),
            9..=11 => self.outside = !self.outside,
            12 if self.random.chance(30) && self.generations.iter().all(|one| !one.rotten) => {
                self.read_only = !self.read_only;
                say!(self, "the boot partition is read-only: {}", self.read_only);
            }
            13 => self.rot(),
            14 if self.random.chance(20) => self.decays(),
            15 => self.operator_says(),
            16 => self.chooses_at_the_menu(),
            17 if self.state.degraded.is_some() => self.recovers(),
            18..=22 if self.is_watched() => self.is_in_probation(),
            _ => self.is_given_another(),
        }
    }

    fn is_given_another(&mut self) {
        if self.generations.len() < GENERATIONS {
            let natures = [
                Nature::Good,
                Nature::Good,
                Nature::Good,
                Nature::Bad,
                Nature::Flaps,
                Nature::Flaps,
                Nature::Unreachable,
                Nature::Panics,
                Nature::Hangs,
                Nature::CannotStart,
            ];
            let nature = self.random.pick(&natures);
            self.build(nature);
            self.install(self.generations.len() - 1);
        } else {
            let at = self.random.below(self.generations.len());
            self.install(at);
        }
    }

    fn rot(&mut self) {
        // One at a time, and neither the last good one's nor that of what runs: the entries may still say that it is proven. No
        // loader starts that then, and nothing that is not running helps.
        let at = self.random.below(self.generations.len());
        if self.up().is_some_and(|up| up.at == at) {
            return;
        }
        let good = self
            .state
            .last_good()
            .and_then(|good| self.generation(good));
        if self.read_only || good == Some(at) || self.generations.iter().any(|one| one.rotten) {
            return;
        }
        say!(self, "the payload of generation {} is damaged", at + 1);
        self.generations[at].rotten = true;
    }

    /// What worked does not any more: its data is another one's, or its disk is dying.
    fn decays(&mut self) {
        let at = self.random.below(self.generations.len());
        if self.generations[at].nature == Nature::Good {
            say!(self, "generation {} does not work any more", at + 1);
            self.generations[at].nature = Nature::Unreachable;
        }
    }

    fn operator_says(&mut self) {
        let at = self.random.below(self.generations.len());
        let subject = self.generations[at].subject.clone();
        if self.random.chance(50) {
            if self.generations[at].nature != Nature::Good {
                return;
            }
            self.generations[at].was_good = true;
            self.automatic = 0;
            self.record(&Event::Proven {
                subject,
                baseline: super::super::Baseline::default(),
            });
            self.carry();
            self.mend();
        } else if self
            .state
            .proven
            .iter()
            .any(|good| good.subject.toplevel != subject.toplevel)
        {
            let cause = super::super::Cause::of(
                super::super::Stage::Proven,
                super::super::fault::Fault::Operator,
            );
            self.record(&Event::Rejected { subject, cause });
            self.carry();
            self.mend();
        }
    }

    /// Nothing happens any more but what must. The machine comes to rest.
    pub(super) fn comes_to_rest(mut self) -> Self {
        self.is_still = true;
        let good = self
            .state
            .last_good()
            .and_then(|good| self.generation(good));
        let good = good.map(|at| &self.generations[at]);
        // Nothing speaks against its being served.
        let is_hopeful = good.is_some_and(|good| good.nature == Nature::Good && !good.rotten)
            && self.state.reboots == 0
            && !self.outside
            && !self.read_only
            && self.state.degraded.is_none();
        for _ in 0..16 {
            match self.machine.clone() {
                Machine::Off | Machine::Prompt => self.power_on(),
                Machine::Up(up) if !up.is_judged => self.assess(),
                Machine::Up(_) if self.is_watched() => self.is_in_probation(),
                Machine::Up(_) => break,
            }
        }
        let up = match &self.machine {
            Machine::Up(up) if up.is_judged => Some(up.clone()),
            _ => None,
        };
        let is_served = self.is_served();
        // A trial that never reaches the agent, on a disk that became read-only after it was armed: the loader starts it
        // for ever, and nothing of ours runs.
        let is_uncounted = self.read_only;
        // Nothing is proven, and what was asked for at last cannot be started, or hangs: nothing says what would be better.
        let is_stranded = self.state.proven.is_empty();
        self.expect(up.is_some() || is_uncounted || is_stranded, || {
            "the machine does not come to rest".to_owned()
        });
        let may_stay = self.stays_although_it_flaps();
        self.expect(!is_hopeful || is_served || may_stay, || {
            "nothing speaks against it, and the machine is not served".to_owned()
        });
        self
    }

    /// Whether it is up, and all is well.
    pub(super) fn is_served(&self) -> bool {
        matches!(&self.machine, Machine::Up(up) if up.is_judged) && self.state.degraded.is_none()
    }

    /// Something is recorded, after what must hold for it was looked at.
    pub(super) fn record(&mut self, event: &Event) {
        let before = self.state.clone();
        self.look_at(event, &before);
        say!(self, "  {}", super::agent::line(event));
        self.state = before.after(event);
    }

    fn look_at(&mut self, event: &Event, before: &State) {
        match event {
            Event::Proven { subject, .. } => {
                self.told.proven += 1;
                let was_good = self
                    .generation(subject)
                    .is_some_and(|at| self.generations[at].was_good);
                self.expect(was_good, || {
                    format!("{subject:?} is blessed, and was never good")
                });
            }
            Event::Rejected { subject, cause } => {
                self.told.rejected += 1;
                let is_outside = cause
                    .faults
                    .iter()
                    .all(|fault| fault.key() == super::agent::OUTSIDE);
                let was_proven = before.standing(subject) == Standing::Proven;
                // What is outside and looks like its own costs no more than one way back.
                let is_breach = cause.stage == Stage::Probation;
                if is_breach {
                    self.is_demoted(subject, before);
                }
                let is_outside = is_outside && !is_breach;
                self.expect(!(is_outside && was_proven), || {
                    format!("{subject:?} was proven, and is rejected for what comes from outside")
                });
            }
            Event::Rebooting { from, to } => {
                self.told.reboots += 1;
                // Where nothing can be written, and nothing is there, nobody can do anything about it.
                let has_entry = self.boot.files_of(&stem_of(to)).next().is_some();
                let is_back = from != to && has_entry && self.comes_next(from);
                self.expect(!is_back, || {
                    format!("{from:?} is left, and the loader would start it again")
                });
                self.automatic += 1;
                let automatic = self.automatic;
                self.expect(automatic <= super::super::REBOOTS_IN_A_ROW, || {
                    format!("{automatic} automatic reboots in a row")
                });
            }
            Event::Excused { .. } => self.told.excused += 1,
            Event::Degraded { cause, .. } => {
                self.told.degraded += 1;
                self.told.unsteady += u64::from(cause.stage == Stage::Probation);
            }
            Event::Steady { .. } => {
                self.told.steady += 1;
                self.breaches = 0;
            }
            Event::Selected { by, .. } => match by {
                Some(By::Suspicion) => self.told.second_chances += 1,
                Some(By::LastResort) => self.told.last_resorts += 1,
                None => {}
            },
            Event::Hooked { .. } => self.told.hooks += 1,
            _ => {}
        }
    }
}
