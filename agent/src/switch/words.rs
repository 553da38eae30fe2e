//! The lines that say what a plan does.

use super::plan::{Job, Plan, Reasons, Step};

/// One line about one unit. The dry run and the real run are made of the same ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The word of a dry run: "would stop".
    pub would: &'static str,
    /// The word of the real run: "stopping".
    pub doing: &'static str,
    /// The unit, or the swap device.
    pub unit: String,
    /// Why.
    pub why: String,
}

impl Line {
    fn new((would, doing): (&'static str, &'static str), unit: &str, why: &str) -> Self {
        let (unit, why) = (unit.to_owned(), why.to_owned());
        Self {
            would,
            doing,
            unit,
            why,
        }
    }

    /// The line of a dry run.
    #[must_use]
    pub fn dry(&self) -> String {
        format!("{} {}: {}", self.would, self.unit, self.why)
    }

    /// The line of the real run.
    #[must_use]
    pub fn real(&self) -> String {
        format!("{} {}: {}", self.doing, self.unit, self.why)
    }
}

/// What PID 1 is called in a line.
const SYSTEMD: &str = "systemd";

const STOP: (&str, &str) = ("would stop", "stopping");
const START: (&str, &str) = ("would start", "starting");
const RESTART: (&str, &str) = ("would restart", "restarting");
const RELOAD: (&str, &str) = ("would reload", "reloading");

impl Plan {
    /// The lines about units of a user, whose manager reads its files again in any case.
    #[must_use]
    pub fn lines_of_user(&self, user: u32) -> Vec<Line> {
        let lines = self.lines().into_iter();
        let of_units = lines.filter(|line| line.unit != SYSTEMD);
        of_units
            .map(|line| Line {
                unit: format!("{} of user {user}", line.unit),
                ..line
            })
            .collect()
    }

    /// The lines that the plan had not before the closure's script asked for more.
    #[must_use]
    pub fn more_lines(&self, before: &Self) -> Vec<Line> {
        let known = before.lines();
        let mut lines = self.lines();
        lines.retain(|line| !known.contains(line));
        lines
    }

    /// All lines, in the order in which things happen, those of one phase by the names of their units. What is only told
    /// comes at the end.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let of = |words, units: &Reasons| -> Vec<Line> {
            let lines = units.iter();
            lines
                .map(|(unit, why)| Line::new(words, unit, why))
                .collect()
        };
        let systemd = |words, why: &str| vec![Line::new(words, SYSTEMD, why)];
        let reexecute = self.reexecute.as_deref();
        let reactivate = self.reactivate.as_deref();
        [
            of(STOP, &self.stop),
            of(("would take down", "taking down"), &self.disturbed),
            of(("would swap off", "swapping off"), &self.swap_off),
            of(("would NOT restart", "NOT restarting"), &self.skipped),
            of(("would wait for", "waiting for"), &self.hold_back),
            reexecute.map_or_else(Vec::new, |why| systemd(RESTART, why)),
            systemd(RELOAD, "units may have changed"),
            reactivate.map_or_else(Vec::new, |unit| {
                vec![Line::new(RESTART, unit, "what hangs on it runs again")]
            }),
            of(RELOAD, &self.reload),
            self.up.iter().map(of_step).collect(),
            self.last.iter().map(of_step).collect(),
            of(("is shadowed:", "is shadowed:"), &self.shadowed),
            of(("was failing:", "was failing:"), &self.failing_before),
        ]
        .concat()
    }
}

fn of_step(step: &Step) -> Line {
    let words = match step.job {
        Job::Stop => STOP,
        Job::Start | Job::StartAlone => START,
        Job::Restart => RESTART,
    };
    Line::new(words, &step.unit, &step.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Plan {
        let reasons = |unit: &str, why: &str| Reasons::from([(unit.to_owned(), why.to_owned())]);
        let step = |unit: &str, job| Step {
            unit: unit.to_owned(),
            job,
            why: "w".to_owned(),
        };
        Plan {
            stop: reasons("a.service", "it is gone"),
            swap_off: reasons("/swapfile", "it is gone from fstab"),
            hold_back: reasons("h.service", "h"),
            reexecute: Some("another systemd".to_owned()),
            reactivate: Some("sysinit-reactivation.target".to_owned()),
            reload: reasons("r.service", "r"),
            up: vec![
                step("b.service", Job::Restart),
                step("c.service", Job::Start),
                step("t.target", Job::StartAlone),
            ],
            last: vec![step("sshd.service", Job::Restart)],
            skipped: reasons("n.service", "X-RestartIfChanged=false"),
            disturbed: reasons("d.service", "it hangs on a.service, which is stopped"),
            shadowed: reasons("s.service", "s"),
            failing_before: reasons("f.service", "f"),
            ..Plan::default()
        }
    }

    #[test]
    fn the_dry_run_and_the_real_run_say_the_same_line_by_line() {
        let lines = whole().lines();
        let dry: Vec<String> = lines.iter().map(Line::dry).collect();
        let real: Vec<String> = lines.iter().map(Line::real).collect();
        assert_eq!(
            dry,
            [
                "would stop a.service: it is gone",
                "would take down d.service: it hangs on a.service, which is stopped",
                "would swap off /swapfile: it is gone from fstab",
                "would NOT restart n.service: X-RestartIfChanged=false",
                "would wait for h.service: h",
                "would restart systemd: another systemd",
                "would reload systemd: units may have changed",
                "would restart sysinit-reactivation.target: what hangs on it runs again",
                "would reload r.service: r",
                "would restart b.service: w",
                "would start c.service: w",
                "would start t.target: w",
                "would restart sshd.service: w",
                "is shadowed: s.service: s",
                "was failing: f.service: f",
            ]
        );
        assert_eq!(real.len(), dry.len());
        assert_eq!(real[0], "stopping a.service: it is gone");
        assert_eq!(
            real[3],
            "NOT restarting n.service: X-RestartIfChanged=false"
        );
    }

    #[test]
    fn a_users_lines_say_whose_they_are_and_nothing_of_the_reload() {
        let lines = whole().lines_of_user(1000);
        let said: Vec<String> = lines.iter().map(Line::dry).collect();
        assert_eq!(said[0], "would stop a.service of user 1000: it is gone");
        assert!(
            !said.iter().any(|line| line.contains("systemd")),
            "{said:?}"
        );
        assert_eq!(Plan::default().lines_of_user(1000), []);
    }

    #[test]
    fn what_a_script_asks_for_is_said_after_the_rest() {
        let before = Plan {
            reload: Reasons::new(),
            ..whole()
        };
        let more = whole().more_lines(&before);
        let said: Vec<String> = more.iter().map(Line::real).collect();
        assert_eq!(said, ["reloading r.service: r"]);
        assert_eq!(whole().more_lines(&whole()), []);
    }

    #[test]
    fn the_json_can_be_read_again() -> Result<(), serde_json::Error> {
        let text = serde_json::to_string(&whole())?;
        for key in [
            "\"swapOff\"",
            "\"holdBack\"",
            "\"failingBefore\"",
            "\"startAlone\"",
        ] {
            assert!(text.contains(key), "{key} in {text}");
        }
        assert_eq!(serde_json::from_str::<Plan>(&text)?, whole());
        // A plan that an older agent has written down lacks a key.
        assert_eq!(serde_json::from_str::<Plan>("{}")?, Plan::default());
        Ok(())
    }
}
