use super::*;
use systemd_boot_model::Partition;

const SECOND: Duration = Duration::from_secs(1);

fn text(path: &str, length: usize) -> Step {
    Step::Text {
        text: "x".repeat(length),
        on: Partition::Boot,
        path: path.to_owned(),
    }
}

fn read(bytes: u64) -> Progress<'static> {
    let path = Path::new("/nix/store/abc-linux/bzImage");
    Progress::Read { path, bytes }
}

fn of(audience: Audience) -> Reading {
    Reading {
        audience,
        generations: 100,
        ..Reading::default()
    }
}

#[test]
fn a_reader_is_told_once_and_only_of_long_work() {
    let mut reading = of(Audience::Reader);
    let times = (0..5000).map(Duration::from_millis);
    let said: Vec<_> = times
        .filter_map(|now| Some((now, reading.heard(now, &read(1))?)))
        .collect();
    let line = "reading payload of 100 generations".to_owned();
    assert_eq!(said, [(SECOND, Say::Line(line))]);
    assert_eq!(of(Audience::Nobody).heard(SECOND * 9, &read(1)), None);
}

#[test]
fn a_terminal_is_rewritten_ten_times_a_second_and_not_at_once() {
    let mut reading = of(Audience::Terminal);
    let times = (0..2000).map(Duration::from_millis);
    let mut said = times.filter_map(|now| reading.heard(now, &read(1024 * 1024)));
    let line = "401 MiB read, reading /nix/store/abc-linux/bzImage".to_owned();
    assert_eq!(said.next(), Some(Say::Rewrite(line)));
    assert_eq!(said.count(), 15);
}

#[test]
fn steps_are_lines_for_a_reader_and_a_percentage_on_a_terminal() {
    let steps = [text("a", 10), text("b", 0), text("c", 30)];
    let remove = Step::Remove {
        on: Partition::Esp,
        path: "d".to_owned(),
    };
    let told = |audience| -> Vec<Say> {
        let mut writing = Writing::new(audience, steps.iter().chain([&remove]));
        let all = steps.iter().chain([&remove]).zip(1..);
        all.filter_map(|(step, at)| writing.heard(SECOND * at, &Progress::Step(step)))
            .collect()
    };
    let lines = ["1/4 write a", "2/4 write b", "3/4 write c", "4/4 remove d"];
    assert_eq!(
        told(Audience::Reader),
        lines.map(|line| Say::Line(line.to_owned()))
    );
    let lines = [
        " 25% writing a",
        " 25% writing b",
        "100% writing c",
        "100% removing d",
    ];
    assert_eq!(
        told(Audience::Terminal),
        lines.map(|line| Say::Rewrite(line.to_owned()))
    );
}

#[test]
fn a_copy_goes_on_within_its_step() {
    let mut writing = Writing {
        audience: Audience::Terminal,
        total: 1000,
        count: 1,
        doing: "copying EFI/lastgood/x-initrd".to_owned(),
        ..Writing::default()
    };
    let mut percent =
        |second: u32, bytes| writing.heard(SECOND * second, &Progress::Copied { bytes });
    let line = |percent: &str| {
        Some(Say::Rewrite(format!(
            "{percent}% copying EFI/lastgood/x-initrd"
        )))
    };
    assert_eq!(percent(1, 9), line("  0"));
    assert_eq!(percent(2, 501), line(" 51"));
    assert_eq!(percent(3, 9999), line("100"), "more than was promised");
}

#[test]
fn removals_alone_have_no_percentage() {
    let mut writing = Writing {
        audience: Audience::Terminal,
        ..Writing::default()
    };
    let remove = Step::Remove {
        on: Partition::Boot,
        path: "old".to_owned(),
    };
    let said = writing.heard(SECOND, &Progress::Step(&remove));
    assert_eq!(said, Some(Say::Rewrite("removing old".to_owned())));
}

/// A line that wraps, or moves the cursor, is a line that nothing clears.
#[test]
fn whatever_a_file_is_called_it_is_one_line_that_fits() {
    let mut reading = of(Audience::Terminal);
    for name in ["/\x1b[2J\n\r\tü", &"ä/".repeat(500), "/", ""] {
        let path = Path::new(name);
        let line = reading.line(path);
        assert!(line.chars().count() <= WIDTH, "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    reading.bytes = u64::MAX;
    let long = format!("/nix/store/{}/initrd", "x".repeat(100));
    assert!(reading.line(Path::new(&long)).ends_with("x/initrd"));
}
