//! Boots and tries: how far a boot got, how it ended, and whether it was a try. Pure.

use boot_entries::name::TRIES;

use super::cause::Stage;
use super::reset::{How, Reset, Way};
use super::{Standing, State, Subject, same_closure};

/// So many tries are given back between two selections, at most: a machine that somebody reboots again and again must
/// come to a verdict.
pub const GIVEN_BACK: u32 = 3;

/// A boot, as far as it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRecord {
    /// The kernel's boot id.
    pub id: String,
    /// What runs.
    pub running: Option<Subject>,
    /// The furthest stage.
    pub stage: Stage,
    /// How the boot before it ended.
    pub reset: Option<Reset>,
    /// How it ended itself, in order.
    pub ended: Option<Way>,
    /// lastgood was about to reboot it.
    pub is_left: bool,
    /// Its kernel was started in the place of another one.
    pub by_kexec: bool,
}

/// How the boots of what is tried came to their ends without a verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends {
    /// So many just ended.
    pub lost: u32,
    /// So many tries were given back.
    pub given_back: u32,
    /// The latest that nobody asked for.
    pub latest: Option<Reset>,
}

impl State {
    pub(super) fn began(&mut self, boot: &str, running: Option<&Subject>, reset: Option<&Reset>) {
        if let Some(reset) = reset {
            self.one_ended(reset);
        }
        self.degraded = None;
        // Not before there is a verdict in this boot.
        self.due = None;
        self.late.clear();
        if let Some(running) = running {
            self.reached(running, Stage::Begun);
            // It could not run if its entry had not been written.
            let is_selected = self.selected.as_ref() == Some(running);
            self.armed |= is_selected;
            // What the machine falls back to is no trial, however often it begins. And what user space does by itself
            // is no try.
            let is_same_boot = reset.is_some_and(|reset| reset.how == How::SoftReboot)
                || self.is_same_kernel(boot);
            if is_selected && !is_same_boot && !same_closure(self.last_good(), running) {
                // One more than it may have is too many, however many more.
                self.attempts = self.attempts.saturating_add(1).min(TRIES + 1);
            }
        }
        // Whoever came back from it without lastgood, by a reboot of their own or a power cut, has come back all the same.
        let before = self.boot.as_ref().and_then(|boot| boot.running.as_ref());
        if let (Some(before), Some(running)) = (before, running)
            && self.fallen_from.is_none()
            && self.rejected.contains_key(&before.toplevel)
            && same_closure(self.last_good(), running)
        {
            self.fallen_from = Some(before.clone());
        }
        let by_kexec = reset.is_some_and(|reset| match reset.how {
            How::Kexec => true,
            How::SoftReboot => self.is_by_kexec(),
            _ => false,
        });
        self.boot = Some(BootRecord {
            by_kexec,
            id: boot.to_owned(),
            running: running.cloned(),
            stage: Stage::Begun,
            reset: reset.cloned(),
            ended: None,
            is_left: false,
        });
    }

    /// Whether `boot` is of the kernel that runs since the latest boot: a soft-reboot adds a number to its id.
    fn is_same_kernel(&self, boot: &str) -> bool {
        let kernel = |id: &str| id.split('+').next().unwrap_or_default().to_owned();
        let known = self.boot.as_ref();
        known.is_some_and(|known| known.id != boot && kernel(&known.id) == kernel(boot))
    }

    /// A boot came to its end, the one that is on record or one that never came as far as that.
    fn one_ended(&mut self, reset: &Reset) {
        let Some(selected) = self.selected.clone() else {
            return;
        };
        if self.standing(&selected) != Standing::Trial {
            return;
        }
        let before = self.boot.as_ref();
        let is_whole = before.is_some_and(|boot| boot.ended.is_some() || boot.is_left);
        let was_its = before.is_some_and(|boot| boot.running.as_ref() == Some(&selected));
        match reset.how {
            How::Lost if was_its => {
                self.ends.lost = self.ends.lost.saturating_add(1);
                self.ends.latest = Some(reset.clone());
            }
            How::Panic | How::Watchdog if was_its || is_whole => {
                self.ends.latest = Some(reset.clone());
                if let Some(stage) = reset.stage
                    && !was_its
                {
                    self.reached(&selected, stage);
                }
            }
            _ => {}
        }
    }

    /// Whether another kernel was started in the place of the one before, as far as the boot on record tells. The loader's
    /// variables may name what runs all the same: it was started by the loader once, and by kexec now.
    #[must_use]
    pub fn is_by_kexec(&self) -> bool {
        self.boot.as_ref().is_some_and(|boot| boot.by_kexec)
    }

    /// The boot on record comes to its end in order. Whoever asks for that before there is a verdict gives the try back.
    pub(super) fn ended(&mut self, boot: &str, way: Way, failed: bool) {
        let gives_back = self.gives_back(boot, way, failed);
        if let Some(record) = self.boot.as_mut().filter(|record| record.id == boot) {
            record.ended = Some(way);
        }
        if gives_back {
            self.attempts = self.attempts.saturating_sub(1);
            self.ends.given_back = self.ends.given_back.saturating_add(1);
        }
    }

    /// Whether a boot that comes to its end in order now gives its try back: nobody has come to a verdict on it, or was
    /// about to. What user space does by itself is no end of a try.
    #[must_use]
    pub fn gives_back(&self, boot: &str, way: Way, failed: bool) -> bool {
        let record = self.boot.as_ref().filter(|record| record.id == boot);
        let Some(running) = record.and_then(|record| record.running.as_ref()) else {
            return false;
        };
        record.is_some_and(|record| record.ended.is_none() && !record.is_left)
            && !failed
            && way != Way::SoftReboot
            && self.selected.as_ref() == Some(running)
            && self.standing(running) == Standing::Trial
            && self.degraded.is_none()
            && self
                .healthy
                .as_ref()
                .is_none_or(|one| one.boot.as_deref() != Some(boot))
            && self.attempts > 0
            && self.ends.given_back < GIVEN_BACK
            && self.bound_by.is_none()
    }

    /// A boot of something not yet judged got this far.
    pub(super) fn reached(&mut self, subject: &Subject, stage: Stage) {
        if matches!(self.standing(subject), Standing::Untested | Standing::Trial) {
            let furthest = self
                .furthest
                .entry(subject.toplevel.clone())
                .or_insert(stage);
            *furthest = (*furthest).max(stage);
        }
    }
}
