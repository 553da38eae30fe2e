use super::*;

fn at(columns: u16) -> Style {
    Style::of(&Surroundings {
        is_terminal: true,
        term: Some(OsStr::new("xterm")),
        no_color: Some(OsStr::new("1")),
        columns: Some(columns),
    })
}

fn row(cells: &[&str]) -> Line {
    Line::Row(cells.iter().map(|text| Cell::from(*text)).collect())
}

/// All combinations.
#[test]
fn colour_is_for_terminals_that_have_it_and_people_who_want_it() {
    for is_terminal in [false, true] {
        for no_color in [None, Some(""), Some("1"), Some("0")] {
            for term in [None, Some("dumb"), Some("xterm-256color")] {
                let style = Style::of(&Surroundings {
                    is_terminal,
                    no_color: no_color.map(OsStr::new),
                    term: term.map(OsStr::new),
                    columns: Some(80),
                });
                let is_wanted = no_color.is_none_or(str::is_empty);
                let has_it = term == Some("xterm-256color");
                let expected = is_terminal && is_wanted && has_it;
                assert_eq!(
                    style.colour, expected,
                    "{is_terminal} {no_color:?} {term:?}"
                );
                assert_eq!(style.width, is_terminal.then_some(80));
                let painted = style.paint(Tone::Bad, "no");
                assert_eq!(painted.contains('\x1b'), expected);
                assert!(painted.contains("no"));
            }
        }
    }
    assert_eq!(at(0).width, None, "a terminal that does not know");
}

#[test]
fn columns_line_up_and_in_a_pipe_no_line_is_broken() {
    let long = "word ".repeat(100);
    let plain = Style::default();
    assert_eq!(
        plain.table(&[row(&["a", "bb"]), row(&["ccc", ""])], &[]),
        "a    bb\nccc\n"
    );
    assert_eq!(plain.table(&[row(&["a", &long])], &[0]).lines().count(), 1);
}

#[test]
fn the_last_column_is_broken_beside_the_others_or_below_them() {
    let lines = [
        row(&[
            "running",
            "generation 3 is well and has been for a long time",
        ]),
        Line::Note("a note".into()),
    ];
    assert_eq!(
        at(40).table(&lines, &[]),
        "running  generation 3 is well and has\n         been for a long time\n    a note\n"
    );
    assert_eq!(
        at(30).table(&lines, &[]),
        "running\n    generation 3 is well and\n    has been for a long time\n    a note\n"
    );
}

#[test]
fn what_is_least_needed_goes_first() {
    let lines = [row(&["one", "two", "three", "four"])];
    for (columns, shown) in [(21, "one  two  three  four\n"), (20, "one  three  four\n")] {
        assert_eq!(at(columns).table(&lines, &[1, 2]), shown);
    }
    let lines = [row(&["one", "two two two", "three", "four four"])];
    assert_eq!(at(20).table(&lines, &[1, 2]), "one  four four\n");
}

/// Every width: nothing is lost, nothing is broken that is there to be copied, and what can be broken fits.
#[test]
fn nothing_is_lost_or_broken_at_any_width() {
    let path = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-web-25.05";
    let text =
        format!("see {path} and `lastgood verify --repair`, or `lastgood why 47`: it says more");
    for room in 1..120 {
        let lines = wrapped(&text, room);
        assert_eq!(lines.join(" "), text);
        assert!(lines.iter().any(|line| line.contains(path)), "{room}");
        let command = "`lastgood verify --repair`,";
        if room >= command.len() {
            assert!(
                lines.iter().any(|line| line.contains(command)),
                "{room}: {lines:?}"
            );
        }
        for line in &lines {
            assert!(
                line.chars().count() <= room || !line.contains(' '),
                "{room}: {line}"
            );
        }
    }
    assert_eq!(wrapped("", 3), [""]);
    assert_eq!(wrapped("an `open quote", 4), ["an", "`open", "quote"]);
}

#[test]
fn nothing_that_others_wrote_moves_a_cursor() {
    let shown = Style::default().table(&[row(&["a\x1b[2J", "b\nc\r"])], &[]);
    assert!(!shown.trim_end().contains(char::is_control), "{shown:?}");
}
