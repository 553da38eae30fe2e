//! The operator's own verdict: `lastgood good` and `lastgood bad`.

use boot_entries::{GenerationId, Root, closure};

use super::on_record::OnRecord;
use super::{last_resort, repair};
use crate::error::Error;
use crate::host::PROVEN;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::Subject;
use crate::state::cause::{Cause, Stage};
use crate::state::fault::Fault;
use crate::store::handover::mark;

/// A verdict that is on record, and what could not be done for it.
#[derive(Debug)]
pub struct Judged {
    /// Who was judged.
    pub subject: Subject,
    /// What the machine goes back to at its next boot, where a rejected generation still runs.
    pub back_to: Option<Subject>,
    /// What was not done, the most important first. All that could be done was.
    pub errors: Vec<Error>,
}

/// Accepts `id` as proven, or what runs.
///
/// # Errors
/// When it cannot be booted, or nothing can be recorded: then nothing has changed.
pub fn accept(root: &Root, id: Option<&GenerationId>) -> Result<Judged, Error> {
    let (mut session, subject) = open(root, id, "good")?;
    if let Err(why) = closure::examine(root, &subject.toplevel) {
        return Err(Error::Refused(format!(
            "generation {} cannot be booted: {why}; accept another one",
            subject.generation
        )));
    }
    // Nobody measured anything: what was fine under the last good generation counts as fine under this one.
    let baseline = session.state().baseline().cloned().unwrap_or_default();
    let on_record = OnRecord::proven(&mut session, subject.clone(), baseline)?;
    // From here on an emergency mode is the operator's, as after a blessing.
    if root.is_live() && session.view.running() == Some(&subject) {
        if let Err(error) = mark(root, PROVEN) {
            tracing::warn!("{}", one_line(&error));
        }
        last_resort::give_back(root);
    }
    Ok(Judged {
        errors: carry_through(on_record, &session),
        subject,
        back_to: None,
    })
}

/// Rejects `id`, or what runs.
///
/// # Errors
/// When nothing else is proven, or nothing can be recorded: then nothing has changed.
pub fn reject(root: &Root, id: Option<&GenerationId>) -> Result<Judged, Error> {
    let (mut session, subject) = open(root, id, "bad")?;
    let proven = &session.state().proven;
    if !proven
        .iter()
        .any(|good| good.subject.toplevel != subject.toplevel)
    {
        return Err(Error::Refused(format!(
            "generation {} is not rejected: no other generation is proven that the machine could fall back to; accept one \
             first with `lastgood good NUMBER`",
            subject.generation
        )));
    }
    let stage = session.state().furthest.get(&subject.toplevel).copied();
    let cause = Cause::of(stage.unwrap_or(Stage::Proven), Fault::Operator);
    let on_record = OnRecord::rejected(&mut session, subject.clone(), cause)?;
    let errors = carry_through(on_record, &session);
    let runs = session.view.running() == Some(&subject);
    let back_to = session.state().last_good().filter(|_| runs).cloned();
    Ok(Judged {
        subject,
        back_to,
        errors,
    })
}

/// What cannot be written in one place is, in the others; and what a verdict leaves to be repaired is repaired.
fn carry_through(on_record: OnRecord, session: &Session) -> Vec<Error> {
    let mut errors: Vec<Error> = on_record.carry_through(session).errors().collect();
    errors.extend(repair::repair(session).err());
    errors
}

/// The right to judge, and what is judged: what is named, or what runs.
fn open(
    root: &Root,
    id: Option<&GenerationId>,
    command: &str,
) -> Result<(Session, Subject), Error> {
    let session = Session::open(root)?;
    let subject = match (id, session.view.running()) {
        (Some(id), _) => session.view.subject(id)?,
        (None, Some(running)) => running.clone(),
        (None, None) => {
            return Err(Error::Refused(format!(
                "what runs is no generation; name one, as in `lastgood {command} 3`"
            )));
        }
    };
    Ok((session, subject))
}
