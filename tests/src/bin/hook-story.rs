//! What the container ring has run as a hook: the agent's own runner, on the machine. Arguments: the hook, and the incident.
//! Prints what became of it.

use anyhow::{Context as _, Result, bail};
use boot_entries::{GenerationId, Root};
use lastgood::operation::hooks::{self, Call};
use lastgood::state::Subject;
use lastgood::state::cause::{Cause, Stage};
use lastgood::state::fault::Fault;
use lastgood::state::incident::Hook;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [hook, incident] = &arguments[..] else {
        bail!("usage: hook-story HOOK INCIDENT")
    };
    let mut hooks = Hook::ALL.into_iter();
    let call = Call {
        hook: hooks
            .find(|one| one.name() == hook)
            .context("no such hook")?,
        incident: incident.clone(),
        subject: Subject {
            generation: GenerationId::system(1),
            toplevel: "/nix/store/1".into(),
        },
        cause: Some(Cause::of(Stage::Services, Fault::of_unit("a.service"))),
    };
    let outcome = hooks::run(&Root::new("/"), &call)?;
    let words = match outcome.trouble() {
        None => format!("{outcome:?}"),
        Some(why) => format!("Badly: {why}"),
    };
    std::io::Write::write_all(&mut std::io::stdout(), format!("{words}\n").as_bytes())?;
    Ok(())
}
