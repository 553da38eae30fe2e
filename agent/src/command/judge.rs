//! `lastgood good` and `lastgood bad`: the operator's own verdict; and `lastgood hold`, which only stays an automatic one.

use std::io::Write;

use boot_entries::{GenerationId, Root};

use crate::error::Error;
use crate::operation::judge::{self, Judged};
use crate::operation::{close, hold};
use crate::report::line::one_line;
use crate::report::print::print;

pub(super) fn good(
    root: &Root,
    id: Option<&GenerationId>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let judged = judge::accept(root, id)?;
    let line = format!("generation {} is proven\n", judged.subject.generation);
    print(out, &line)?;
    close::close(root);
    ended(judged)
}

pub(super) fn bad(
    root: &Root,
    id: Option<&GenerationId>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let judged = judge::reject(root, id)?;
    let rest = judged.back_to.as_ref().map_or_else(String::new, |to| {
        format!(
            "; it still runs: `systemctl reboot` goes back to generation {}",
            to.generation
        )
    });
    let id = &judged.subject.generation;
    print(out, &format!("generation {id} is rejected{rest}\n"))?;
    close::close(root);
    ended(judged)
}

pub(super) fn hold(root: &Root, out: &mut impl Write) -> Result<(), Error> {
    let back_to = hold::hold(root)?;
    let rest = back_to.map_or_else(String::new, |to| {
        format!(
            "; what runs was found bad, and `systemctl reboot` goes back to generation {}",
            to.generation
        )
    });
    let line = format!("this boot is held: no automatic reboot ends it{rest}\n");
    Ok(print(out, &line)?)
}

/// All that was not done is told, the most important as how the command ended.
fn ended(judged: Judged) -> Result<(), Error> {
    let mut errors = judged.errors.into_iter();
    let first = errors.next();
    for error in errors {
        tracing::error!("{}", one_line(&error));
    }
    first.map_or(Ok(()), Err)
}
