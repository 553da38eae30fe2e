//! Back to the last good generation without a reboot: the shortest way, where it is safe.
//!
//! What was rejected is demoted by then, on disk. So nothing here can make it worse: whatever does not end well ends in the
//! reboot that would have come at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::asked;
use super::fit;
use super::judge::{self, Standard};
use super::listeners::Expected;
use super::live::{self, Way};
use super::said::Speaker;
use super::walk::Walk;
use super::{place, words};
use crate::config;
use crate::error::Error;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::Subject;
use crate::switch::plan::plan;
use crate::system::manager::{self, Manager};

/// How long the jobs of one phase may take. A reboot is not much slower.
const PHASE: Duration = Duration::from_mins(1);

/// Goes back from `from` to `to` without a reboot, if `from` allows it and only a boot could not do more. False: it takes
/// a reboot.
pub(in crate::operation) fn fall_back_live(
    session: &mut Session,
    from: &Subject,
    to: &Subject,
) -> bool {
    let root = &session.view.root;
    // What systemd read early in this boot may still be another generation's (invariant A11).
    if !root.is_live()
        || !config::read_or_default(root, &from.toplevel).fallback.live
        || !session.state().late.is_empty()
    {
        return false;
    }
    match try_to(session, to) {
        Ok(()) => true,
        Err(why) => {
            tracing::error!("going back takes a reboot: {why}");
            false
        }
    }
}

fn try_to(session: &Session, to: &Subject) -> Result<(), String> {
    let told = |error: Error| one_line(&error);
    let root = &session.view.root;
    let needs = fit::needs_reboot(root, &to.toplevel).map_err(told)?;
    if needs.is_needed() {
        return Err(needs.words());
    }
    let active = asked::active(&session.view).map_err(told)?;
    let mut manager = Manager::system(manager::PATIENCE).map_err(|error| one_line(&error))?;
    let mut speaker = Speaker::silent();
    let way = Way {
        from: &active,
        to: &to.toplevel,
    };
    let situation = live::look(root, &mut manager, way, &BTreeSet::new(), None).map_err(told)?;
    let planned = plan(&situation);
    if planned.reexecute.is_some() {
        return Err("systemd itself is another one".to_owned());
    }
    words::plan(&planned, &mut speaker);
    let mut walk = Walk {
        manager: &mut manager,
        speaker: &mut speaker,
        until: Instant::now() + PHASE,
        troubles: BTreeMap::new(),
    };
    walk.stop(&planned).map_err(told)?;
    place::put(root, &to.toplevel, &BTreeMap::new(), walk.speaker)
        .map_err(|problems| problems.join("; "))?;
    walk.until = Instant::now() + PHASE;
    walk.reload(&planned).map_err(told)?;
    walk.up(&planned).map_err(told)?;
    place::firewall_of_unit(root, &to.toplevel)?;
    let troubles = std::mem::take(&mut walk.troubles);
    let standard = Standard::of(root, &to.toplevel);
    let judged = judge::watch(
        &mut manager,
        &mut speaker,
        (&planned.intended, &troubles),
        (&standard, &Expected::default()),
        Instant::now() + PHASE,
    )
    .map_err(told)?;
    match judged.lines().into_iter().next() {
        Some(why) => Err(why),
        None => Ok(()),
    }
}
