//! What is wrong now, and what is to be known, each with what to do. Pure.

use systemd_boot_model::EndlessMenu;

use super::loader::Loader;
use super::{Matter, Status};
use crate::report::label::{HEALTHY_TRIAL, StateLabel, not_selected};
use crate::report::print::local;
use crate::report::remedy;
use crate::state::fault::Fault;
use crate::state::{REBOOTS_IN_A_ROW, Subject};
use crate::store::ledger;

/// What is wrong, the most important first. `starts_nothing` is why the loader would start nothing.
pub(super) fn wrong(status: &Status<'_>, starts_nothing: Option<&str>) -> Vec<Matter> {
    let mut all: Vec<Matter> = starts_nothing.map(Matter::of).into_iter().collect();
    if let Some(cause) = status.degraded {
        let unit = cause.faults.iter().find_map(|fault| fault.unit());
        let look = unit.map_or_else(String::new, |unit| {
            format!(", and `systemctl status {unit}`")
        });
        all.push(Matter::new(
            format!("what runs is not well: {}", cause.summary),
            format!("`lastgood why` tells more{look}"),
        ));
    }
    if status.state == Some(StateLabel::Rejected) {
        all.push(Matter::new(
            "what runs was rejected",
            "`lastgood why` tells more; `systemctl reboot` starts what boots next",
        ));
    }
    all.extend(status.lost_record.iter().map(|line| Matter::of(line)));
    all.extend(status.volatile_state.iter().map(|line| Matter::of(line)));
    all.extend(status.lost_stand_in.iter().map(|line| Matter::of(line)));
    if let Some(what) = status.bound_by {
        let path = ledger::PATH;
        all.push(Matter::new(
            format!(
                "{path}, {what}: a newer lastgood wrote it, so that this one removes nothing, judges nothing and reboots for \
                 nothing"
            ),
            ledger::RELEASE,
        ));
    }
    let overrides = status.overrides.iter();
    all.extend(overrides.map(|one| Matter::of(&one.to_string())));
    // What a variable does is among the overrides.
    if let Some(menu @ EndlessMenu::Conf(_)) = &status.waits_at_menu {
        all.push(Matter::of(&remedy::endless_menu(menu)));
    }
    all.extend(status.warnings.iter().map(|line| Matter::of(line)));
    all
}

/// What is to be known and is not wrong. `unknown_next` is why nobody can say what boots next.
pub(super) fn notes(status: &Status<'_>, unknown_next: Option<&str>) -> Vec<Matter> {
    let mut all = Vec::new();
    if let Some(why) = unknown_next {
        all.push(Matter::of(&format!(
            "what boots next cannot be told: {why}"
        )));
    }
    if let Some(switch) = &status.live_switch {
        let what = switch.generation.map_or_else(
            || switch.toplevel.display().to_string(),
            |id| format!("generation {id}"),
        );
        all.push(if switch.waits {
            let until = switch
                .confirm_by
                .map_or_else(String::new, |by| format!(" until {}", local(by)));
            Matter::new(
                format!("the live switch to {what} waits to be confirmed{until}"),
                "`lastgood confirm` keeps it; without that it is undone",
            )
        } else {
            Matter::new(
                format!("a live switch to {what} is under way, or was cut off"),
                "`journalctl -u lastgood-switch.service` shows how far it is",
            )
        });
    }
    if let Some(hook) = status.hook_due {
        all.push(Matter::new(
            format!(
                "the hook {hook} is due and was not run yet; the next boot runs it at the latest"
            ),
            "`journalctl -b -u 'lastgood-hook-*'` shows whether it runs now",
        ));
    }
    if let Some(left) = status.watched_for {
        all.push(Matter::new(
            format!("what runs is proven, and is watched for {left} s more"),
            "`journalctl -fu lastgood-probation.service` shows what comes of it",
        ));
    }
    all.extend(unwell(&status.unwell));
    if status.state == Some(StateLabel::Trial) && status.healthy_trial != status.running {
        all.push(Matter::new(
            "what runs is on trial, and comes to a verdict by itself",
            "`journalctl -fu lastgood-assess.service` shows what it waits for",
        ));
    }
    if let Some(trial) = status.healthy_trial {
        let id = &trial.generation;
        all.push(Matter::of(&format!("generation {id} was {HEALTHY_TRIAL}")));
    }
    all.extend(not_yet(status));
    if let Some(ahead) = &status.profile_ahead {
        all.push(match &status.ahead_unbootable {
            Some(why) => Matter::new(
                format!(
                    "{} is at generation {}, which cannot be booted: {why}",
                    ahead.generation.profile(),
                    ahead.generation
                ),
                "build it anew",
            ),
            None => Matter::of(&not_selected(ahead)),
        });
    }
    if status.selected.is_none() && status.lost_record.is_none() {
        all.push(Matter::new(
            "no generation is selected",
            "`lastgood install` selects what the system profile points at; `lastgood doctor` says what is missing before",
        ));
    }
    if status.other_systems_entries > 0 {
        let text = format!(
            "{} entries of another system's lastgood are on $BOOT, or of ours before its record was lost: they stay",
            status.other_systems_entries
        );
        all.push(Matter { text, todo: None });
    }
    if status.automatic_reboots > 0 {
        let reboots = match status.automatic_reboots {
            1 => "1 automatic reboot".to_owned(),
            count => format!("{count} automatic reboots"),
        };
        let text =
            format!("{reboots} in a row; after {REBOOTS_IN_A_ROW} the machine stays up as it is");
        all.push(Matter { text, todo: None });
    }
    all
}

/// What is selected and boots next, and what that risks: nothing of ours runs before its kernel does.
fn not_yet(status: &Status<'_>) -> Vec<Matter> {
    let selected = status.selected.filter(|selected| {
        status.running != Some(*selected) && status.next_boot.as_ref() == Some(&selected.generation)
    });
    let Some(Subject { generation: id, .. }) = selected else {
        return Vec::new();
    };
    let mut all = vec![Matter::new(
        format!("generation {id} is selected and does not run yet"),
        "`systemctl reboot` starts it",
    )];
    let next = status.after_failures.first();
    let is_trial = next.is_some_and(|next| next.state == Some(StateLabel::Trial));
    let risk = status.loader.as_ref().and_then(Loader::risk);
    all.extend(
        risk.filter(|_| is_trial)
            .map(|(text, todo)| Matter::new(text, todo)),
    );
    all
}

/// What was found not well and is held against no generation: no target of the boot wants it, it is only wanted, or the
/// last good generation had it too.
fn unwell(faults: &[&Fault]) -> Option<Matter> {
    const SHOWN: usize = 3;
    let first = faults.first()?;
    let names: Vec<String> = faults.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = match faults.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = format!(
        "not well when this generation was proven, and not held against it: {}{more}",
        names.join(", ")
    );
    Some(match first.unit() {
        Some(unit) => Matter::new(text, format!("`systemctl status {unit}` tells more")),
        None => Matter { text, todo: None },
    })
}

/// That the operator has masked a unit of the closure: `by` a file, or a word of the kernel's command line.
pub(super) fn masked(unit: &str, by: &str) -> Matter {
    let todo = match by {
        by if by.starts_with("/run/") => {
            format!("`systemctl unmask --runtime {unit}` gives it back")
        }
        by if by.starts_with('/') => format!("`systemctl unmask {unit}` gives it back"),
        _ => "without that word the next boot has it".to_owned(),
    };
    let text = format!("{unit} of the closure is not in effect: it is masked by {by}");
    Matter::new(text, todo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_unit_comes_with_what_unmasks_it() {
        for (by, todo) in [
            (
                "/etc/systemd/system/a.service",
                "`systemctl unmask a.service`",
            ),
            (
                "/run/systemd/system/a.service",
                "`systemctl unmask --runtime a.service`",
            ),
            ("systemd.mask=a.service", "without that word"),
        ] {
            let matter = masked("a.service", by);
            let words = format!("a.service of the closure is not in effect: it is masked by {by}");
            assert_eq!(matter.text, words);
            assert!(matter.todo.unwrap_or_default().starts_with(todo), "{by}");
        }
    }

    #[test]
    fn what_is_not_well_and_not_held_against_anybody_is_told() {
        let faults =
            ["a", "b", "c", "d", "e"].map(|name| Fault::of_unit(&format!("{name}.service")));
        let all: Vec<&Fault> = faults.iter().collect();
        let told = |count: usize| unwell(&all[..count]).map(|matter| matter.text);
        assert_eq!(told(0), None);
        assert!(
            told(2)
                .unwrap()
                .ends_with("against it: a.service, b.service")
        );
        assert!(
            told(5)
                .unwrap()
                .ends_with("a.service, b.service, c.service and 2 more")
        );
    }

    #[test]
    fn a_line_is_parted_where_it_begins_to_say_what_to_do() {
        let matter = Matter::of("a; b is so; `c` mends it");
        assert_eq!(matter, Matter::new("a; b is so", "`c` mends it"));
        assert_eq!(Matter::of("a").todo, None);
    }
}
