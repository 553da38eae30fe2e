//! `lastgood good` and `lastgood bad`: the operator's own verdict.

use std::io::Write;

use boot_entries::{GenerationId, Root, closure};

use super::print;
use crate::error::Error;
use crate::session::Session;
use crate::state::cause::{Cause, Stage};
use crate::state::fault::Fault;
use crate::state::{Event, Subject};

pub(super) fn good(
    root: &Root,
    id: Option<&GenerationId>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let (mut session, subject) = open(root, id)?;
    if let Err(why) = closure::examine(root, &subject.toplevel) {
        return Err(Error::Refused(format!(
            "generation {} cannot be booted: {why}; accept another one",
            subject.generation
        )));
    }
    // Nobody measured anything: what was fine under the last good generation counts as fine under this one.
    let baseline = session.state.baseline().cloned().unwrap_or_default();
    session.record(&Event::Proven {
        subject: subject.clone(),
        baseline,
    })?;
    // What cannot be written in one place is, in the others.
    let restated = session.restate();
    let tidied = session.tidy();
    let done = restated.and(tidied);
    print(
        out,
        &format!("generation {} is proven\n", subject.generation),
    )?;
    done
}

pub(super) fn bad(
    root: &Root,
    id: Option<&GenerationId>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let (mut session, subject) = open(root, id)?;
    let others = session
        .state
        .proven
        .iter()
        .filter(|good| good.subject.toplevel != subject.toplevel);
    if others.count() == 0 {
        return Err(Error::Refused(format!(
            "generation {} is not rejected: no other generation is proven that the machine could fall back to; accept one \
             first with `lastgood good NUMBER`",
            subject.generation
        )));
    }
    let stage = session.state.furthest.get(&subject.toplevel).copied();
    let cause = Cause::of(stage.unwrap_or(Stage::Proven), Fault::Operator);
    session.record(&Event::Rejected {
        subject: subject.clone(),
        cause,
    })?;
    let restated = session.restate();
    let repointed = match session.state.last_good() {
        Some(to) => session.repoint_profile(&subject, to),
        None => Ok(()),
    };
    let tidied = session.tidy();
    let done = restated.and(tidied).and(repointed);
    let id = &subject.generation;
    let rest = match session.state.last_good() {
        Some(to) if session.running() == Some(&subject) => {
            format!(
                "; it still runs: `systemctl reboot` goes back to generation {}",
                to.generation
            )
        }
        _ => String::new(),
    };
    print(out, &format!("generation {id} is rejected{rest}\n"))?;
    done
}

/// The right to judge, and what is judged: what is named, or what runs.
fn open(root: &Root, id: Option<&GenerationId>) -> Result<(Session, Subject), Error> {
    let session = Session::open(root)?;
    let subject = match (id, session.running()) {
        (Some(id), _) => session.subject(id)?,
        (None, Some(running)) => running.clone(),
        (None, None) => {
            return Err(Error::Refused(
                "what runs is no generation; name one, as in `lastgood good 3`".to_owned(),
            ));
        }
    };
    Ok((session, subject))
}
