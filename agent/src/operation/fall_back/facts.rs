//! What the ladder is made from, as this machine has it.

use std::collections::BTreeSet;

use crate::config::Fallback;
use crate::host::{self, Kind, NEXT_ROOT, TRIED};
use crate::operation::switch::needs_reboot;
use crate::report::line::one_line;
use crate::state::Subject;
use crate::state::ladder::{Facts, Obstacle, Rung};
use crate::store::handover::Tried;
use crate::view::View;

/// The facts about going back to `to`. `soft_reboots`: what systemd counts, if it does; `has_kexec`: a kernel can be loaded.
pub(super) fn facts(
    view: &View,
    asked: &Fallback,
    to: &Subject,
    soft_reboots: Option<u64>,
    has_kexec: bool,
) -> Facts {
    let root = &view.root;
    let allowed = [
        (Rung::SoftReboot, asked.soft_reboot),
        (Rung::Kexec, asked.kexec),
    ];
    let is_next_root = root
        .join(NEXT_ROOT)
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some());
    let is_other_start = needs_reboot(root, &to.toplevel).map_or_else(
        |error| {
            tracing::error!("{}", one_line(&error));
            true
        },
        |needs| needs.is_needed(),
    );
    let is_plain = host::kind(root).is_ok_and(|kind| kind == Kind::Plain);
    let obstacles = [
        (Obstacle::Late, !view.state.late.is_empty()),
        (Obstacle::OtherStart, is_other_start),
        (Obstacle::NixOs, !is_plain),
        (Obstacle::NotCounted, soft_reboots.is_none()),
        (Obstacle::NextRoot, is_next_root),
        (Obstacle::NoKexec, !has_kexec),
    ];
    Facts {
        allowed: chosen(allowed),
        tried: tried(view),
        obstacles: chosen(obstacles),
    }
}

fn chosen<T: Ord>(all: impl IntoIterator<Item = (T, bool)>) -> BTreeSet<T> {
    let chosen = all.into_iter().filter(|(_, is)| *is);
    chosen.map(|(one, _)| one).collect()
}

/// What cannot be read was all tried: the longest way is the safe one.
fn tried(view: &View) -> BTreeSet<Rung> {
    let Some(boot) = view.this_boot() else {
        return Rung::ALL.into();
    };
    match Tried::read(&view.root, &boot.id) {
        Ok(tried) => tried.rungs,
        Err(error) => {
            tracing::error!("{TRIED}: {}", one_line(&error));
            Rung::ALL.into()
        }
    }
}
