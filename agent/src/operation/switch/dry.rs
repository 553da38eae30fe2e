//! What a switch would do to the running machine.

use std::path::{Path, PathBuf};

use boot_entries::Root;

use super::asked::{self, Asked};
use super::live::{self, Way};
use super::nixos::{self, Script};
use super::request::Request;
use super::users::{self, OfUser};
use super::{reexecution, requests};
use crate::error::Error;
use crate::host::{self, Kind};
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::Subject;
use crate::switch::plan::Plan;
use crate::switch::situation::Requests;
use crate::switch::words::Line;
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
    /// What somebody should know before: files of units that cannot be read.
    pub problems: Vec<String>,
    /// What would be done to units before the closure's own script has asked for more.
    pub at_first: Plan,
    /// What the closure's own `dry-activate` has to say (NixOS).
    pub said: Vec<String>,
    /// All that would be done to units.
    pub plan: Plan,
    /// What would be done to units of users.
    pub users: Vec<OfUser>,
}

impl Dry {
    /// Its lines, in the order in which the real run says them: what is done, and what is wrong.
    #[must_use]
    pub fn lines(&self) -> Vec<Result<String, String>> {
        let of_plan = |lines: Vec<Line>| -> Vec<Result<String, String>> {
            lines.iter().map(|line| Ok(line.dry())).collect()
        };
        let needs_reboot = self.needs_reboot.iter();
        let of_users = self.users.iter().map(|of| match &of.plan {
            Ok(plan) => of_plan(plan.lines_of_user(of.user)),
            Err(error) => vec![Err(format!(
                "units of user {} would stay as they are: {}",
                of.user,
                one_line(error)
            ))],
        });
        [
            self.problems.iter().cloned().map(Err).collect(),
            needs_reboot
                .map(|words| Ok(format!("a reboot would be needed for the rest: {words}")))
                .collect(),
            of_plan(self.at_first.lines()),
            self.said.iter().cloned().map(Ok).collect(),
            of_plan(self.plan.more_lines(&self.at_first)),
            of_users.flatten().collect(),
        ]
        .concat()
    }
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
    let at_first = live::planned(root, &mut manager, &mut situation, &Requests::default())?;
    let said = by_script(root, &asked.after, request)?;
    let planned = live::planned(
        root,
        &mut manager,
        &mut situation,
        &requests::take_dry(root),
    )?;
    if planned.reexecute.is_some() {
        reexecution::check_mounts(root)?;
    }
    Ok(Dry {
        users: users::look(root, &asked.before, &asked.after),
        toplevel: asked.after,
        subject: asked.subject,
        needs_reboot: asked
            .needs_reboot
            .is_needed()
            .then(|| asked.needs_reboot.words()),
        problems: [situation.old.problems, situation.new.problems].concat(),
        at_first,
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
