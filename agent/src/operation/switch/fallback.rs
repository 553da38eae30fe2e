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
use super::missed::{self, Down};
use super::said::Speaker;
use super::walk::Walk;
use super::{place, words};
use crate::config;
use crate::error::Error;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::Subject;
use crate::state::fault::Fault;
use crate::switch::plan::{Plan, plan, plan_with};
use crate::switch::situation::{Requests, Situation};
use crate::system::manager::{self, Manager, Wanted};

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
    match try_to(session, from, to) {
        Ok(()) => true,
        Err(why) => {
            tracing::error!("going back takes a reboot: {why}");
            false
        }
    }
}

fn try_to(session: &Session, from: &Subject, to: &Subject) -> Result<(), String> {
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
    let standard = Standard::of(root, &to.toplevel);
    let restart = missed(session, &mut manager, from, &situation, &standard.required)?;
    let planned = anew(&situation, restart);
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

/// The plan, with what is to be started anew.
fn anew(situation: &Situation, restart: BTreeSet<String>) -> Plan {
    let before = plan(situation);
    let requests = Requests {
        restart,
        reload: BTreeSet::new(),
    };
    let mut planned = plan_with(situation, &requests);
    let steps = planned.up.iter_mut().chain(&mut planned.last);
    for step in steps {
        if requests.restart.contains(&step.unit) && !before.touches(&step.unit) {
            "it failed in this boot, or never came up".clone_into(&mut step.why);
        }
    }
    planned
}

/// What is to be started anew although its unit is the same in both closures.
fn missed(
    session: &Session,
    manager: &mut Manager,
    from: &Subject,
    situation: &Situation,
    required: &BTreeSet<String>,
) -> Result<BTreeSet<String>, String> {
    const PULLS: [&str; 4] = ["Wants", "Requires", "Requisite", "BindsTo"];
    const SINCE: &str = "InactiveExitTimestampMonotonic";
    let state = session.state();
    let units = |faults: &mut dyn Iterator<Item = &Fault>| -> BTreeSet<String> {
        let names = faults.filter_map(|fault| match fault {
            Fault::Unit(name) => Some(name.clone()),
            _ => None,
        });
        names.collect()
    };
    let rejection = state.rejected.get(&from.toplevel);
    let blames = units(&mut rejection.iter().flat_map(|one| &one.cause.faults));
    let known = units(&mut state.baseline().iter().flat_map(|one| &one.failing));
    let names: Vec<String> = missed::candidates(situation, required)
        .into_iter()
        .collect();
    let wanted: Vec<Wanted<'_>> = PULLS.into_iter().chain([SINCE]).map(Wanted::unit).collect();
    let answers = manager
        .properties(&names, &wanted)
        .map_err(|error| one_line(&error))?;
    let down = names.into_iter().zip(answers).filter_map(|(name, answer)| {
        let answer = answer.ok()?;
        let pulls = PULLS.iter().flat_map(|key| answer.names(key));
        let down = Down {
            since: answer.number(SINCE)?,
            pulls: pulls.map(str::to_owned).collect(),
        };
        Some((name, down))
    });
    let down: BTreeMap<String, Down> = down.collect();
    Ok(missed::missed(
        situation,
        &down,
        &blames,
        (required, &known),
    ))
}
