//! A healthy verdict becomes the last good generation.

use boot_entries::plan::Counter;
use boot_entries::{Root, closure};

use super::begin;
use super::on_record::OnRecord;
use super::repair;
use crate::error::Error;
use crate::host::PROVEN;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::cause::Stage;
use crate::state::reaction::{NotBlessed, WhenHealthy};
use crate::state::started_by::StartedBy;
use crate::state::{By, Event, Standing, Subject};
use crate::store::handover::{Healthy, mark};

/// What a blessing came to.
#[derive(Debug)]
pub enum Blessed {
    /// This boot is no generation's.
    NotOurs,
    /// It is the last good one now.
    Proven(Subject),
    /// It is healthy, and stays a trial: the loader, which names this entry, has not started it.
    NotByTheLoader(Subject, String),
    /// It is healthy, and stays a trial: files that systemd reads early were another generation's (invariant A11).
    Late(Subject),
    /// It is left as it is, and why.
    Left(NotBlessed),
}

/// Blesses the running generation. Only an assessment of this very boot blesses (invariant A1): not a unit started by
/// hand, not a verdict of before.
///
/// # Errors
/// When there is no such assessment, or the verdict cannot be recorded or carried through.
pub fn bless(root: &Root) -> Result<Blessed, Error> {
    let mut session = begin::session(root)?;
    let boot = session.view.this_boot();
    let Some(boot) = boot.filter(|boot| boot.running.is_some()) else {
        return Ok(Blessed::NotOurs);
    };
    let Some(healthy) = Healthy::read(root)?.filter(|healthy| healthy.boot == boot.id) else {
        return Err(Error::Refused(
            "nothing is blessed: no assessment has found this boot healthy; `lastgood good` accepts it without one".to_owned(),
        ));
    };
    let subject = match session.state().when_healthy() {
        WhenHealthy::Bless(subject) => subject,
        WhenHealthy::Leave(why) => return Ok(Blessed::Left(why)),
    };
    let by = session.view.started_by(&subject.toplevel);
    let named = match by {
        StartedBy::NotTheLoader { named } => Some(named),
        // It was the loader's once, and is a kexec's now.
        _ if session.state().is_by_kexec() => session.view.variables.selected.clone(),
        _ => None,
    };
    if session.state().standing(&subject) != Standing::Proven
        && let Some(named) = named
    {
        record_healthy(&mut session, &subject, healthy)?;
        mark(root, PROVEN)?;
        mend(&session);
        return Ok(Blessed::NotByTheLoader(subject, named));
    }
    if session.state().standing(&subject) != Standing::Proven && !session.state().late.is_empty() {
        record_healthy(&mut session, &subject, healthy)?;
        mark(root, PROVEN)?;
        mend(&session);
        return Ok(Blessed::Late(subject));
    }
    let on_record = on_record(&mut session, &subject, healthy)?;
    // From here on the boot is no trial any more: an emergency mode is then the operator's.
    mark(root, PROVEN)?;
    let carried = on_record.carry_through(&session);
    for error in [carried.profile, carried.roots]
        .into_iter()
        .filter_map(Result::err)
    {
        tracing::warn!("{}", one_line(&error));
    }
    carried.entries?;
    mend(&session);
    Ok(Blessed::Proven(subject))
}

/// What went back for something that is gone now is tried again at the next boot, if it can still be booted. Nothing is
/// rebooted for it. It comes after the end of the incident, because it is a new one.
///
/// # Errors
/// When the machine cannot be read.
pub fn second_chance(root: &Root) -> Result<(), Error> {
    let mut session = begin::session(root)?;
    if let Some(subject) = session.state().second_chance().cloned() {
        let is_there = session.view.lists(&subject);
        if is_there && closure::examine(root, &subject.toplevel).is_ok() {
            arm_again(&mut session, subject);
        }
    }
    Ok(())
}

fn arm_again(session: &mut Session, subject: Subject) {
    let selected = Event::Selected {
        subject: subject.clone(),
        by: Some(By::Suspicion),
    };
    if let Err(error) = session.record(&selected) {
        tracing::error!("{}", one_line(&error));
        return;
    }
    let carried = OnRecord::counting(Counter::Anew).carry_through(session);
    let is_armed = carried.entries.is_ok();
    carried.tell();
    let armed = Event::Armed {
        subject,
        places: None,
    };
    if is_armed && let Err(error) = session.record(&armed) {
        tracing::error!("{}", one_line(&error));
    }
}

/// What a boot needs is read and mended at every boot.
fn mend(session: &Session) {
    if let Err(error) = repair::repair(session) {
        tracing::warn!("{}", one_line(&error));
    }
    let good = session.state().last_good();
    if let Some((good, why)) =
        good.and_then(|good| Some((good, session.view.why_not_started(good)?)))
    {
        tracing::error!(
            "generation {}, the last good one, cannot be started, because {why}",
            good.generation
        );
    }
}

/// Once for each boot.
fn record_healthy(
    session: &mut Session,
    subject: &Subject,
    Healthy { boot, baseline }: Healthy,
) -> Result<(), Error> {
    let known = session.state().healthy.as_ref();
    if known.is_some_and(|known| known.subject == *subject && known.boot.as_ref() == Some(&boot)) {
        return Ok(());
    }
    let subject = subject.clone();
    session.record(&Event::Healthy { subject, baseline })
}

/// A second attempt at what follows is no second verdict. The operator's own one is none of that: it knows no baseline.
fn on_record(
    session: &mut Session,
    subject: &Subject,
    healthy: Healthy,
) -> Result<OnRecord, Error> {
    // What is degraded, and found healthy now, is proven anew: that ends it.
    let is_on_record = session.state().baseline() == Some(&healthy.baseline)
        && session.state().degraded.is_none()
        && session
            .view
            .this_boot()
            .is_some_and(|boot| boot.stage == Stage::Proven);
    if is_on_record {
        return Ok(OnRecord::already());
    }
    OnRecord::proven(session, subject.clone(), healthy.baseline)
}
