//! The closure is put in place: `/etc` and units, then the firewall.

use boot_entries::Root;

use crate::cause::Stage;
use crate::error::Error;
use crate::machine::Event;
use crate::session::Session;
use crate::{activation, config, running};

pub(super) fn activate(root: &Root) -> Result<(), Error> {
    let Some(closure) = running::closure(root)? else {
        tracing::info!("nothing to activate: this boot is no generation's");
        return Ok(());
    };
    activation::activate(root, &closure)?;
    tracing::info!("activated: {}", closure.display());
    reached(root, Stage::Activated)
}

pub(super) fn firewall(root: &Root) -> Result<(), Error> {
    let Some(closure) = running::closure(root)? else {
        tracing::info!("no firewall to load: this boot is no generation's");
        return Ok(());
    };
    let config = config::read_or_default(root, &closure);
    activation::firewall(root, &closure, &config.firewall)?;
    reached(root, Stage::Firewalled)
}

fn reached(root: &Root, stage: Stage) -> Result<(), Error> {
    Session::open(root)?.record(&Event::Reached { stage })
}
