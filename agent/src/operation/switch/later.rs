//! Units that were still on their way when a switch ended are judged again: by a unit of its own, so that the next switch
//! need not wait for it. What comes of it is in the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use boot_entries::Root;

use super::checks::Held;
use super::dead_man;
use super::judge::{self, Standard};
use super::listeners::Expected;
use super::said::Speaker;
use super::walk::Troubles;
use crate::config;
use crate::error::Error;
use crate::session::Session;
use crate::switch::plan::Intent;
use crate::system::manager::{self, Manager, Mode, Setting, Verb};

/// The unit that looks.
const WATCHER: &str = "lastgood-later.service";

/// Has these units looked at until they have come to something.
///
/// # Errors
/// When PID 1 does not take it.
pub(super) fn start(manager: &mut Manager, units: &BTreeSet<String>) -> Result<(), Error> {
    // What an earlier switch has left waiting is another one's business by now.
    manager.enqueue(Verb::Stop, &[WATCHER], Mode::Replace)?;
    let mut words = vec![dead_man::program()?, "step".to_owned(), "later".to_owned()];
    words.extend(units.iter().cloned());
    let text = |text: &str| Setting::Text(text.to_owned());
    let settings = [
        (
            "Description",
            text("Look again at what a live switch has left on its way"),
        ),
        ("Type", text("exec")),
        ("ExecStart", Setting::Commands(vec![words])),
        ("CollectMode", text("inactive-or-failed")),
    ];
    manager.start_transient(WATCHER, Mode::Fail, &settings, &[])?;
    Ok(())
}

/// Looks at `units` until they are up, or are not, or the deadline of an assessment is over.
///
/// # Errors
/// Those that are not up, and why.
pub fn later(root: &Root, units: &[String]) -> Result<(), Error> {
    let active = super::asked::active(&Session::look(root)?.view)?;
    let deadline: Duration = config::read_or_default(root, &active)
        .health
        .deadline_sec
        .into();
    let intended: BTreeMap<String, Intent> = units
        .iter()
        .map(|unit| (unit.clone(), Intent::Up))
        .collect();
    let standard = Standard {
        required: BTreeSet::new(),
        checks: Held::default(),
        ..Standard::of(root, &active)
    };
    let mut manager = Manager::system(manager::PATIENCE)?;
    let judged = judge::watch(
        root,
        (&mut manager, &mut Speaker::silent()),
        (&intended, &Troubles::default()),
        (&standard, &Expected::default()),
        Instant::now() + deadline,
    )?;
    let lines = judged.lines();
    if lines.is_empty() {
        tracing::info!("up by now: {}", units.join(", "));
        return Ok(());
    }
    Err(Error::Refused(format!(
        "not well after the live switch: {}; `systemctl status` of them tells more, and nothing is undone for it",
        lines.join("; ")
    )))
}
