//! What a switch would do to the running machine.

use std::path::{Path, PathBuf};

use boot_entries::Root;

use super::asked::{self, Asked};
use super::live::{self, Way};
use super::nixos::{self, Script};
use super::request::Request;
use super::{reexecution, requests};
use crate::error::Error;
use crate::host::{self, Kind};
use crate::session::Session;
use crate::state::Subject;
use crate::switch::plan::Plan;
use crate::system::manager::{self, Manager};

/// What a switch would do.
#[derive(Debug)]
pub struct Dry {
    /// The closure.
    pub toplevel: PathBuf,
    /// Which generation that is. None: no profile names it.
    pub subject: Option<Subject>,
    /// What only a boot puts in place, in half a sentence. None: nothing.
    pub needs_reboot: Option<String>,
    /// What the closure's own `dry-activate` has to say (NixOS).
    pub said: Vec<String>,
    /// What would be done to units.
    pub plan: Plan,
}

/// Says what a switch would do, and changes nothing.
///
/// # Errors
/// When it would be refused.
pub fn dry_activate(root: &Root, request: &Request) -> Result<Dry, Error> {
    super::live_only(root)?;
    let mut session = Session::look(root)?;
    super::refuse_while_one_is_open(&session)?;
    let asked = Asked::of(&mut session, request)?;
    asked.check_closure(root)?;
    let mut manager = Manager::system(manager::PATIENCE)?;
    asked::is_judged(&mut manager)?;
    let way = Way {
        from: &asked.before,
        to: &asked.after,
    };
    let carriers = request.session.iter().cloned().collect();
    let mut situation = live::look(root, &mut manager, way, &carriers, None)?;
    let said = by_script(root, &asked.after, request)?;
    let planned = live::planned(&mut manager, &mut situation, &requests::take_dry(root))?;
    if planned.reexecute.is_some() {
        reexecution::check_mounts(root)?;
    }
    Ok(Dry {
        toplevel: asked.after,
        subject: asked.subject,
        needs_reboot: asked
            .needs_reboot
            .is_needed()
            .then(|| asked.needs_reboot.words()),
        said,
        plan: planned,
    })
}

/// What the closure's own script says that its `activate` would do. That it fails is said, and refuses nothing.
fn by_script(root: &Root, closure: &Path, request: &Request) -> Result<Vec<String>, Error> {
    if host::kind(root)? != Kind::NixOs {
        return Ok(Vec::new());
    }
    let spoken = nixos::run(closure, Script::DryActivate, &request.environment)?;
    Ok(spoken.lines.into_iter().chain(spoken.failure).collect())
}
