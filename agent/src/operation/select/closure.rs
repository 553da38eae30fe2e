//! What a closure must be like to be booted on this host: said before it costs a boot.

use std::path::Path;

use boot_entries::Root;

use super::readiness::is_plain;
use crate::activation::firewall::{self, Refusal};
use crate::activation::generator::known::{self, Standing};
use crate::activation::generator::together::{self, Circle};
use crate::activation::{generator, script};
use crate::config;
use crate::error::Error;
use crate::host::{self, Kind};
use crate::operation::check as checks;
use crate::report::line::one_line;
use crate::state::incident::Hook;

/// Checks the closure `toplevel`. One that is trusted, because it was proven or because the operator insists, is only warned
/// of where a boot would find out.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(root: &Root, toplevel: &Path, is_trusted: bool) -> Result<(), Error> {
    check_config(root, toplevel)?;
    check_firewall(root, toplevel)?;
    let lenient = |checked: Result<(), Error>| match checked {
        Err(error) if is_trusted => {
            tracing::warn!("{}", one_line(&error));
            Ok(())
        }
        checked => checked,
    };
    lenient(check_script(root, toplevel))?;
    lenient(check_checks(root, toplevel))?;
    lenient(check_hooks(root, toplevel))?;
    lenient(check_units(root, toplevel))?;
    lenient(check_required(root, toplevel))?;
    lenient(check_order(root, toplevel))
}

/// A configuration with a mistake is refused here, where somebody can mend it.
fn check_config(root: &Root, toplevel: &Path) -> Result<(), Error> {
    let path = toplevel.join(config::PATH);
    config::check(root, toplevel).map_err(|error| {
        Error::Refused(format!(
            "{}: {error}; mend it and build the generation again",
            path.display()
        ))
    })
}

/// A firewall that the next boot could not load is refused here: it would cost that boot.
fn check_firewall(root: &Root, toplevel: &Path) -> Result<(), Error> {
    let config = config::read_or_default(root, toplevel);
    firewall::check(root, toplevel, &config.firewall).map_err(|refusal| {
        let advice = match refusal {
            // It says what to do by itself.
            Refusal::NoNft(_) => "",
            _ => "; mend it and build the generation again",
        };
        Error::Refused(format!("{refusal}{advice}"))
    })
}

/// A script that could not be run would cost a boot.
fn check_script(root: &Root, toplevel: &Path) -> Result<(), Error> {
    let config = config::read_or_default(root, toplevel);
    script::check(root, toplevel, &config.activation).map_err(|unfit| {
        Error::Refused(format!(
            "[activation] script: {unfit}; mend it and build the generation again"
        ))
    })
}

/// A check whose program is not there would cost a boot.
fn check_checks(root: &Root, toplevel: &Path) -> Result<(), Error> {
    let checks = config::read_or_default(root, toplevel).health.checks;
    checks::check(root, toplevel, &checks)
        .map_err(|why| Error::Refused(format!("{why}; mend it and build the generation again")))
}

/// A hook that cannot be run is found out when something waits for it: a lock that is never given back.
fn check_hooks(root: &Root, toplevel: &Path) -> Result<(), Error> {
    let hooks = config::read_or_default(root, toplevel).hooks;
    for hook in Hook::ALL {
        let Some(program) = hooks.program(hook) else {
            continue;
        };
        script::check_program(root, &toplevel.join(program)).map_err(|unfit| {
            Error::Refused(format!(
                "[hooks] {hook}: {unfit}; mend it and build the generation again"
            ))
        })?;
    }
    Ok(())
}

/// Whether all units of the closure can be linked. On NixOS nobody links them.
///
/// # Errors
/// The units that cannot: a boot without them is never healthy.
fn check_units(root: &Root, toplevel: &Path) -> Result<(), Error> {
    if !is_plain(root) {
        return Ok(());
    }
    generator::units_of(root, toplevel)
        .map(drop)
        .map_err(|problems| {
            Error::Refused(format!(
                "{}: a boot without a unit of its closure is never healthy; mend it and build the generation again",
                problems.join("; ")
            ))
        })
}

/// A required unit that there is nowhere would be waited for until the deadline. On NixOS the closure has all units.
fn check_required(root: &Root, toplevel: &Path) -> Result<(), Error> {
    let Ok(kind) = host::kind(root) else {
        return Ok(());
    };
    let required = config::read_or_default(root, toplevel)
        .health
        .required_units;
    for name in required.iter().map(|name| host::full_name(name)) {
        let why = match known::standing(root, toplevel, &name, kind == Kind::Plain) {
            Standing::Maybe => continue,
            Standing::Masked => "the closure masks it",
            Standing::Nowhere if kind == Kind::Plain => "neither the closure nor this host has it",
            Standing::Nowhere => "the closure does not have it",
        };
        return Err(Error::Refused(format!(
            "{}: required-units names {name}, and {why} ({}): no boot would be healthy; mend it and build the generation again",
            toplevel.join(config::PATH).display(),
            known::place(&name),
        )));
    }
    Ok(())
}

/// Whether the closure's units and the host's can be started in one order. On NixOS the closure has them all. In a tree
/// there is no host whose units they would meet.
///
/// # Errors
/// Those that wait for each other: systemd leaves one of them out, and says so nowhere but in the journal.
fn check_order(root: &Root, toplevel: &Path) -> Result<(), Error> {
    if !root.is_live() || !is_plain(root) {
        return Ok(());
    }
    let circles = match together::circles(root, toplevel) {
        Ok(circles) => circles,
        Err(error) => {
            tracing::warn!(
                "whether units of {} wait for each other is not known: {}",
                toplevel.display(),
                one_line(&error)
            );
            return Ok(());
        }
    };
    let told: Vec<String> = circles.iter().map(in_words).collect();
    if told.is_empty() {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "units wait for each other: {}; systemd would leave one of them out; take an After= or Before= out of the closure's \
         and build the generation again",
        told.join("; ")
    )))
}

fn in_words(circle: &Circle) -> String {
    let names: Vec<&str> = circle.iter().map(String::as_str).collect();
    names.join(", ")
}
