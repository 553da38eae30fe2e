//! The managers of users: they have units of the closure, too. Each costs a bounded wait at most, and never the switch.

use std::path::Path;
use std::time::{Duration, Instant};

use boot_entries::Root;

use super::live;
use super::said::Speaker;
use super::walk::asked;
use crate::report::line::one_line;
use crate::switch::plan::{Plan, plan};
use crate::switch::set;
use crate::switch::situation::{Home, Situation, State};
use crate::switch::units;
use crate::system::manager::{Asked, Error, JobId, Manager, Reason, Verb};

/// Where users have what is theirs at run time.
const USERS: &str = "/run/user";
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long those of all users may take together.
pub(super) const PATIENCE_OF_ALL: Duration = Duration::from_secs(30);

/// What a switch would do to the units of one user.
#[derive(Debug)]
pub struct OfUser {
    /// The user's id.
    pub user: u32,
    /// What would be done, or why nothing would: the manager does not answer.
    pub plan: Result<Plan, Error>,
}

/// What would be done to the units of all users that have a manager.
pub(super) fn look(root: &Root, from: &Path, to: &Path) -> Vec<OfUser> {
    let users = with_manager(root).into_iter();
    users
        .map(|user| OfUser {
            user,
            plan: planned(root, from, to, user).map(|(_, plan)| plan),
        })
        .collect()
}

/// Has the managers of all users that have one take over the units of `to`.
///
/// Those who have not had their turn by `until` are left alone.
pub(super) fn switch(root: &Root, from: &Path, to: &Path, speaker: &mut Speaker, until: Instant) {
    for user in with_manager(root) {
        if Instant::now() >= until {
            speaker.warn(format!(
                "units of user {user} are as they were: the managers of others have used up the time"
            ));
            continue;
        }
        let (manager, planned) = match planned(root, from, to, user) {
            Ok(both) => both,
            Err(error) => {
                speaker.warn(format!(
                    "units of user {user} are as they were: {}",
                    one_line(&error)
                ));
                continue;
            }
        };
        if let Err(error) = of_user(manager, &planned, user, (speaker, until)) {
            speaker.warn(format!(
                "units of user {user} did not all come to what the closure has: {}",
                one_line(&error)
            ));
        }
    }
}

/// The users that have a manager, or had one a moment ago.
fn with_manager(root: &Root) -> Vec<u32> {
    let entries = std::fs::read_dir(root.join(USERS)).into_iter().flatten();
    let mut users: Vec<u32> = entries
        .flatten()
        .filter(|entry| {
            entry
                .path()
                .join("systemd/private")
                .symlink_metadata()
                .is_ok()
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    users.sort_unstable();
    users
}

/// Asks a user's manager, and plans.
fn planned(root: &Root, from: &Path, to: &Path, user: u32) -> Result<(Manager, Plan), Error> {
    let mut manager = Manager::user(user, PATIENCE)?;
    let mut old = units::list(root, from, Home::User);
    let mut new = units::list(root, to, Home::User);
    let listed = manager.units()?;
    let states = listed
        .iter()
        .map(|unit| {
            let state = State {
                fragment: format!("/etc/systemd/user/{}", unit.name),
                ..live::of_listed(unit)
            };
            (unit.name.clone(), state)
        })
        .collect();
    let files = set::to_read(&old, &new, &states, &std::collections::BTreeSet::new());
    units::load(root, &mut old, &files);
    units::load(root, &mut new, &files);
    let planned = plan(&Situation {
        old,
        new,
        states,
        home: Home::User,
        ..Situation::default()
    });
    Ok((manager, planned))
}

fn of_user(
    mut manager: Manager,
    planned: &Plan,
    user: u32,
    (speaker, until): (&mut Speaker, Instant),
) -> Result<(), Error> {
    for line in planned.lines_of_user(user) {
        speaker.line(line.real());
    }
    let stops: Vec<Asked<'_>> = planned
        .stop
        .keys()
        .map(|unit| Asked::new(Verb::Stop, unit))
        .collect();
    let stopping = asked_for(&mut manager, &stops, user, speaker)?;
    // A start that overtakes a stop would leave the old process where it is. What takes longer is not waited for.
    let until = until.min(Instant::now() + PATIENCE);
    manager.wait(&stopping, until, &mut |_| {})?;
    manager.reload_within(PATIENCE)?;
    let reloads = planned
        .reload
        .keys()
        .map(|unit| Asked::new(Verb::ReloadOrTryRestart, unit));
    let brought = planned.up.iter().chain(&planned.last).map(asked);
    let jobs: Vec<Asked<'_>> = reloads.chain(brought).collect();
    asked_for(&mut manager, &jobs, user, speaker)?;
    Ok(())
}

/// Asks for these, and says what is refused. What is gone is down.
fn asked_for(
    manager: &mut Manager,
    jobs: &[Asked<'_>],
    user: u32,
    speaker: &mut Speaker,
) -> Result<Vec<JobId>, Error> {
    let mut ids = Vec::new();
    for (job, answer) in jobs.iter().zip(manager.enqueue_each(jobs)?) {
        match answer {
            Ok(id) => ids.push(id),
            Err(refusal) if job.verb == Verb::Stop && refusal.reason() == Reason::NoSuchUnit => {}
            Err(refusal) => {
                speaker.warn(format!("{} of user {user}: {refusal}", job.unit));
            }
        }
    }
    Ok(ids)
}
