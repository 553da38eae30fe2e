//! The closure is put in place: `/etc` and units, then the firewall.

use boot_entries::{Root, durable};

use super::attempt;
use crate::activation::firewall::{Outcome, Refusal};
use crate::activation::{self, Done};
use crate::config::{self, Config};
use crate::error::Error;
use crate::host::FIREWALLED;
use crate::report::line::one_line;
use crate::state::Event;
use crate::state::cause::Stage;
use crate::system::command_line;

pub(super) fn activate(root: &Root) -> Result<(), Error> {
    let Some(closure) = command_line::closure(root)? else {
        tracing::info!("nothing to activate: this boot is no generation's");
        return Ok(());
    };
    let closure_shown = closure.display();
    match activation::activate(root, &closure)? {
        Done::Linked(changes) => tracing::info!("activated: {closure_shown} ({changes} changes)"),
        Done::Checked => tracing::info!("activated by NixOS: {closure_shown}"),
    }
    reached(root, Stage::Activated);
    Ok(())
}

pub(super) fn firewall(root: &Root) -> Result<(), Error> {
    let Some(closure) = command_line::closure(root)? else {
        tracing::info!("no firewall to load: this boot is no generation's");
        return Ok(());
    };
    // Defaults will not do here: they name no ruleset, and the machine would be open (A8).
    let (ports, outcome) = match config::read(root, &closure) {
        Ok(config) => {
            let outcome = activation::firewall(root, &closure, &config.firewall)?;
            (config.firewall.management_ports, outcome)
        }
        Err(error) => {
            let ports = Config::default().firewall.management_ports;
            let path = closure.join(config::PATH);
            let why = Refusal::Unknown(format!("{}: {error}", path.display()));
            let outcome = activation::firewall::close(&ports, why)?;
            (ports, outcome)
        }
    };
    match outcome {
        Outcome::NotAsked => {
            tracing::info!("no firewall of ours: the closure names no ruleset");
            Ok(())
        }
        Outcome::Loaded(path) => {
            mark(root);
            tracing::info!("firewalled: {}", path.display());
            reached(root, Stage::Firewalled);
            Ok(())
        }
        Outcome::Closed(why) => Err(Error::Refused(format!(
            "{why}; the machine is closed but for TCP ports {ports:?}"
        ))),
    }
}

/// Tells the unit that the ruleset is in the kernel, should this program die before it can say so by its exit status: the
/// unit would close a machine that is well.
fn mark(root: &Root) {
    let marked = root
        .place(FIREWALLED)
        .map(|path| durable::put_text("", &path));
    match marked {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("{}", one_line(&error)),
        Err(error) => tracing::warn!("cannot make {FIREWALLED}: {error}"),
    }
}

/// Records how far the boot is. That this cannot be written (a full disk) is the agent's own trouble: were the step to
/// fail for it, a generation that is in place would count as not being so, and the firewall's unit would close a machine
/// whose firewall is loaded (A8).
fn reached(root: &Root, stage: Stage) {
    let recorded =
        attempt::session(root).and_then(|mut session| session.record(&Event::Reached { stage }));
    if let Err(error) = recorded {
        tracing::error!("cannot record the stage {stage:?}: {}", one_line(&error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_record_that_cannot_be_written_does_not_undo_the_activation() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        // Nobody can open a directory as a lock.
        for directory in ["proc", "nix/store/1/etc", "var/lib/lastgood/lock"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        let mut cmdline = std::fs::File::create(root.join("proc/cmdline")).unwrap();
        cmdline.write_all(b"init=/nix/store/1/init").unwrap();
        activate(&root).unwrap();
        assert!(root.join("/etc/static").is_symlink());
    }
}
