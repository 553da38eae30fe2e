//! Back to the last good generation.
//!
//! Started when the assessment fails: with a verdict, or without one because the assessor crashed or ran out of time. What
//! was found bad is demoted first, on disk. Then the [ladder](crate::state::ladder) is gone down: live here, every other
//! rung by [`go_down`], in a unit of its own ([`unit`]) that may wait for those who are there ([`waiting`]).

mod facts;
mod file_systems;
mod kexec;
mod limited;
mod unit;
mod waiting;
mod way;

use boot_entries::Root;

use super::begin;
use super::on_record::{Carried, OnRecord};
use super::{repair, switch};
use crate::entries::once;
use crate::error::Error;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::cause::{Cause, Stage};
use crate::state::fault::Fault;
use crate::state::reaction::NoFallback;
use crate::state::{Event, State, Subject, WhenUnhealthy};

pub use way::{go_down, reboot_now};

/// Falls back from the running generation, if that is what the verdict asks for.
///
/// # Errors
/// When the verdict or the reboot cannot be recorded, or systemd refuses to reboot.
pub fn fall_back(root: &Root) -> Result<(), Error> {
    go_back(begin::session(root)?, None)
}

/// Goes back, with the verdict that is `on_record` already, if there is one.
pub(super) fn go_back(mut session: Session, on_record: Option<OnRecord>) -> Result<(), Error> {
    let (from, to) = match session.state().when_unhealthy() {
        WhenUnhealthy::FallBack { from, to } => (from, to),
        WhenUnhealthy::TryAgain { .. } => {
            // Nothing is judged: this boot was not of this generation alone.
            let is_after_the_start = on_record.is_none();
            let carried = on_record.map_or_else(Carried::nothing, |on_record| {
                on_record.carry_through(&session).tell()
            });
            return unit::leave(session, &carried, is_after_the_start);
        }
        WhenUnhealthy::GoOn { from, to } => return go_on(session, &from, &to, on_record.is_none()),
        WhenUnhealthy::StayUp(why) => {
            tracing::error!("staying up: {why}; `lastgood status` tells more");
            match on_record {
                Some(on_record) => {
                    on_record.carry_through(&session).tell();
                }
                None => without_a_verdict(&mut session, why),
            }
            // Blessing does this on a machine that is well: what a boot needs is read and mended at every boot.
            if session.view.running().is_some()
                && session.state().bound_by.is_none()
                && let Err(error) = repair::repair(&session)
            {
                tracing::error!("{}", one_line(&error));
            }
            return Ok(());
        }
    };
    // A boot that has just begun has found its verdict on record: nothing of it is up yet.
    let is_after_the_start = on_record.is_none();
    let on_record = match on_record {
        Some(on_record) => on_record,
        None => reject(&mut session, &from)?,
    };
    // Somebody may have selected yet another one while this one was judged.
    let to = session.state().selected.clone().unwrap_or(to);
    // Neither a broken profile link nor a read-only $BOOT may keep the machine in a state known to be bad: the loader's
    // counter falls by itself, and the next boot tries again. What is to be repaired can wait for the next boot, but for what
    // that one starts (`way`), and no mirror may keep this one waiting.
    tracing::error!(
        "going back from generation {} to generation {}",
        from.generation,
        to.generation
    );
    let in_entries = on_record.going_back(&from, &to).write_entries(&session);
    if !in_entries.is_written()
        && let Err(error) = once::ask(&session.view, &to)
    {
        tracing::error!("{}", one_line(&error));
    }
    let carried = in_entries.go_on(&session).tell();
    // Before the services are up there is nothing to go back to: the jobs of this boot are the other generation's.
    let rejection = session.state().rejected.get(&from.toplevel);
    let is_up = is_after_the_start
        && rejection.is_some_and(|rejection| rejection.cause.stage >= Stage::Services);
    let boot = session.state().boot_id().to_owned();
    let is_held = waiting::held(&session.view.root, &boot).is_some();
    if is_up && !is_held && switch::fall_back_live(&mut session, &from, &to) {
        return session.record(&Event::FellBack { from, to });
    }
    unit::leave(session, &carried, is_after_the_start)
}

/// Puts on record that nobody can tell how this boot is, where nobody has: an assessor that dies leaves no word.
fn without_a_verdict(session: &mut Session, why: NoFallback) {
    let is_ours = matches!(
        why,
        NoFallback::NothingProven
            | NoFallback::IsLastGood
            | NoFallback::NobodyLooked
            | NoFallback::NothingBetter
            | NoFallback::TooManyReboots
    );
    let Some(subject) = session.view.running().filter(|_| is_ours).cloned() else {
        return;
    };
    let boot = session.view.this_boot();
    let has_one = boot.is_some_and(|boot| boot.stage == Stage::Proven);
    if session.state().degraded.is_some() || has_one {
        return;
    }
    let stage = session.view.this_boot().map(|boot| boot.stage);
    let cause = Cause::of(stage.unwrap_or(Stage::Begun), Fault::NoVerdict);
    if let Err(error) = session.record(&Event::Degraded { subject, cause }) {
        tracing::error!("{}", one_line(&error));
    }
}

/// Leaves what is proven and not well for another one that is proven. What is left is not rejected.
fn go_on(
    mut session: Session,
    from: &Subject,
    to: &Subject,
    is_after_the_start: bool,
) -> Result<(), Error> {
    tracing::error!(
        "going on from generation {} to generation {}: it is proven, and is not well now",
        from.generation,
        to.generation
    );
    session.record(&State::goes_on(to))?;
    let in_entries = OnRecord::already().write_entries(&session);
    if !in_entries.is_written()
        && let Err(error) = once::ask(&session.view, to)
    {
        tracing::error!("{}", one_line(&error));
    }
    let carried = in_entries.go_on(&session).tell();
    unit::go_on(session, &carried, is_after_the_start)
}

/// The verdict on `from`: that of the assessment, or that there is none.
fn reject(session: &mut Session, from: &Subject) -> Result<OnRecord, Error> {
    match session.state().left_without_a_verdict(from) {
        Some(Event::Rejected { subject, cause }) => OnRecord::rejected(session, subject, cause),
        _ => Ok(OnRecord::already()),
    }
}
