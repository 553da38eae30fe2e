//! `lastgood(8)`, from the definition of the command line.

use clap::{Arg, Command, CommandFactory as _};
use lastgood::cli::Cli;

use super::page::Page;

/// Files that people look for.
const FILES: [(&str, &str); 4] = [
    (
        "/var/lib/lastgood/ledger.jsonl",
        "What happened, one JSON object a line.",
    ),
    (
        "/var/lib/lastgood/logs/",
        "What failed units wrote, for those who may read the journal.",
    ),
    (
        "$BOOT/loader/entries/lastgood-*.conf",
        "The entries of generations.",
    ),
    (
        "TOPLEVEL/etc/lastgood/lastgood.toml",
        "What a closure asks for, see lastgood.toml(5).",
    ),
];

/// The manual page.
pub(super) fn page() -> String {
    let mut all = Cli::command();
    all.build();
    let mut page = Page::new("lastgood", 8, "System Administration");
    page.section("NAME");
    page.words("lastgood - boot the newest generation that works");
    page.section("SYNOPSIS");
    page.words("lastgood [--root DIR] [-v|-q] COMMAND");
    page.section("DESCRIPTION");
    page.text(
        "lastgood writes a systemd-boot entry for each generation of a machine, puts the closure that was booted in place, \
         watches the machine until it is found healthy or not, and goes back to the last good generation by itself when it is \
         not. Its units do all of that in each boot. The commands are for people and scripts.",
    );
    page.section("OPTIONS");
    for option in all.get_arguments().filter(|option| !option.is_hide_set()) {
        argument(&mut page, option);
    }
    page.section("COMMANDS");
    for command in all.get_subcommands().filter(|one| shown(one)) {
        subcommand(&mut page, command);
    }
    page.section("GENERATIONS");
    page.text(
        "A generation is NUMBER (of the system profile, as in 47), PROFILE:NUMBER (test:3), or either with /SPECIALISATION \
         (47/debug).",
    );
    page.section("EXIT STATUS");
    for (status, what) in [
        ("0", "Done."),
        (
            "1",
            "Refused or failed. The line on standard error says what, where, why, and what to do.",
        ),
        ("2", "What was typed is no command."),
    ] {
        page.item(status);
        page.text(what);
    }
    page.section("ENVIRONMENT");
    page.item("NO_COLOR");
    page.text("If it is set and not empty, nothing is coloured. Output that goes to no terminal never is.");
    page.section("FILES");
    for (path, what) in FILES {
        page.item(path);
        page.text(what);
    }
    page.section("SEE ALSO");
    page.words("lastgood.toml(5), bootctl(1), systemd-boot(7), journalctl(1), nix-env(1)");
    page.done()
}

/// `help` is clap's own, and says nothing that this page does not.
fn shown(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

fn subcommand(page: &mut Page, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    page.part(&usage);
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let mut paragraphs = about.split("\n\n");
    page.text(paragraphs.next().unwrap_or_default());
    for paragraph in paragraphs {
        page.paragraph(paragraph);
    }
    let own = |argument: &&Arg| !argument.is_hide_set() && !argument.is_global_set();
    let own = command.get_arguments().filter(own);
    for argument in own.filter(|argument| argument.get_id() != "help") {
        self::argument(page, argument);
    }
    let after = command.get_after_long_help().map(ToString::to_string);
    let after = after.unwrap_or_default();
    let (example, status) = after.split_once("\n\n").unwrap_or((&after, ""));
    if let Some(lines) = example.strip_prefix("Example:\n") {
        page.paragraph("Example:");
        let lines: Vec<&str> = lines.lines().map(str::trim_start).collect();
        page.literal(&lines.join("\n"));
    }
    page.paragraph(&status.lines().collect::<Vec<_>>().join(" "));
}

fn argument(page: &mut Page, argument: &Arg) {
    let mut names = Vec::new();
    names.extend(argument.get_short().map(|short| format!("-{short}")));
    names.extend(argument.get_long().map(|long| format!("--{long}")));
    let mut title = vec![names.join(", ")];
    if argument.is_positional() || argument.get_action().takes_values() {
        let values = argument.get_value_names().unwrap_or_default();
        title.extend(values.iter().map(ToString::to_string));
    }
    page.item(title.join(" ").trim_start());
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut paragraphs = help.split("\n\n");
    page.text(paragraphs.next().unwrap_or_default());
    for paragraph in paragraphs {
        page.more(paragraph);
    }
    let default = argument.get_default_values().first();
    if let Some(default) = default.filter(|_| argument.get_action().takes_values()) {
        page.more(&format!("Default: {}.", default.to_string_lossy()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_and_each_option_is_in_it() {
        let page = page().replace("\\-", "-");
        let mut all = Cli::command();
        all.build();
        for command in all.get_subcommands().filter(|one| shown(one)) {
            assert!(
                page.contains(&format!("lastgood {}", command.get_name())),
                "{command}"
            );
            for long in command.get_arguments().filter_map(Arg::get_long) {
                assert!(
                    page.contains(&format!("--{long}")) || long == "help",
                    "{command}: {long}"
                );
            }
        }
        assert!(
            !page.contains("stage-2"),
            "the steps of a boot are no commands for people"
        );
    }
}
