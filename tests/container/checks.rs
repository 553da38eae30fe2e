//! Declared checks: run on the machine that was booted, each in a unit of its own, and part of the verdict.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lastgood::state::fault::Fault;
use lastgood::state::{Event, Standing};
use lastgood_tests::container::{Boot, Container, Ended};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;
use lastgood_tests::schema::Schema;

use crate::{NO_BOOT, proven, rejection, selected};

on_each_debian! {
    each_kind_of_check_looks_at_the_machine,
    a_required_check_that_fails_rejects_with_its_output,
    a_check_that_hangs_is_ended_with_all_that_it_has_started,
    a_wanted_check_only_tells,
    a_check_that_passes_at_the_third_try_proves,
    a_check_that_the_last_good_one_fails_too_rejects_nothing,
    a_check_that_cannot_be_run_is_refused_before_a_boot,
    a_switch_whose_check_fails_is_undone,
    checks_are_tried_by_hand,
}

/// The configuration of a closure that also checks this.
fn config(checks: &str) -> String {
    format!(
        "[health]\nrequired-units = [\"nginx.service\"]\nsettle-sec = 1\ndeadline-sec = 25\n\n\
         [firewall]\nruleset = \"etc/nftables.conf\"\n\n{checks}"
    )
}

/// How long a switch may take.
const SWITCH: Duration = Duration::from_mins(1);

/// The file that has it.
const FILE: &str = "etc/lastgood/lastgood.toml";

/// A check that runs a script.
fn script(name: &str, script: &str, more: &str) -> String {
    format!("[health.checks.{name}]\nexec = [\"/bin/sh\", \"-c\", '''{script}''']\n{more}\n")
}

/// No unit of a check is left.
fn nothing_is_left(server: &Container) -> Result<()> {
    let left = server.run_ok("systemctl list-units --all --no-legend 'lastgood-check-*'")?;
    assert_eq!(left, "");
    Ok(())
}

fn each_kind_of_check_looks_at_the_machine(debian: Debian) -> Result<()> {
    in_container("container-check-kinds", debian, |server| {
        proven(server, 1, &[])?;
        let checks = "\
[health.checks.port]
tcp = \"127.0.0.1:80\"
[health.checks.page]
http = \"http://localhost/\"
body = \"generation 2\"
[health.checks.missing-page]
http = \"http://127.0.0.1/no-such-page\"
status = [404]
[health.checks.unit]
unit = \"nginx\"
[health.checks.name]
resolve = \"localhost\"
[health.checks.root]
mount = \"/\"
writable = true
[health.checks.room]
free-space = \"/var\"
at-least = \"1M\"
[health.checks.program]
exec = [\"test\", \"$HOME is kept\", \"=\", '$HOME is kept']
user = \"nobody\"
[health.checks.closure]
exec = [\"checks/own\"]
[health.checks.not-there]
unit = \"gone\"
wanted = true
[health.checks.no-route]
mount = \"/no/such/place\"
wanted = true
";
        let own = "#!/bin/sh\ncase $PATH in /nix/store/*/sw/bin:*) exit 0 ;; esac\nexit 1\n";
        let subject = selected(server, 2, &[(FILE, &config(checks)), ("checks/own", own)])?;
        server.program(
            subject
                .toplevel
                .join("checks/own")
                .to_str()
                .unwrap_or_default(),
            own,
        )?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Proven(2))?;
        server.wait_for(NO_BOOT)?;
        let baseline = server.state()?.baseline().cloned().unwrap_or_default();
        let failing: Vec<Fault> = baseline.failing.into_iter().collect();
        let wanted = ["no-route", "not-there"].map(|name| Fault::Check(name.to_owned()));
        assert_eq!(failing, wanted);
        for words in [
            "gone.service is not-found",
            "nothing is mounted at /no/such/place",
        ] {
            let told = server.run_ok("journalctl --boot --output=cat --unit='lastgood-check-*'")?;
            assert!(told.contains(words), "{told}");
        }
        nothing_is_left(server)?;
        server.power_off()
    })
}

fn a_required_check_that_fails_rejects_with_its_output(debian: Debian) -> Result<()> {
    in_container("container-check-fails", debian, |server| {
        proven(server, 1, &[])?;
        let check = script(
            "web",
            "echo the answer is 41 >&2; exit 3",
            "retries = 1\ninterval-sec = 1",
        );
        let subject = selected(server, 2, &[(FILE, &config(&check))])?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let cause = rejection(server, &subject)?;
        assert_eq!(cause.faults, [Fault::Check("web".to_owned())]);
        assert_eq!(
            cause.summary,
            "required check web failed 2 times: exit status 3"
        );
        let detail = cause.detail_of(&cause.faults[0]);
        let detail = detail.unwrap_or_else(|| panic!("{cause:?}"));
        assert_eq!(detail.unit, "lastgood-check-web.service");
        assert_eq!(
            (detail.result.as_str(), detail.exit_status),
            ("exit-code", Some(3))
        );
        assert!(
            detail.log.contains(&"the answer is 41".to_owned()),
            "{detail:?}"
        );

        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        let why = server.run_ok("lastgood why 2")?;
        for words in [
            "required check web failed 2 times: exit status 3",
            "check web (check:web)",
            "    | the answer is 41",
        ] {
            assert!(why.contains(words), "{words}: {why}");
        }
        // What a check writes is for those who may read the journal.
        let other = server.run_ok("setpriv --reuid=65534 --clear-groups lastgood why 2")?;
        assert!(!other.contains("the answer is 41"), "{other}");
        server.power_off()
    })
}

fn a_check_that_hangs_is_ended_with_all_that_it_has_started(debian: Debian) -> Result<()> {
    in_container("container-check-hangs", debian, |server| {
        let check = script(
            "slow",
            "trap true TERM; sleep 7001 & setsid sleep 7002 & echo begun; while :; do sleep 7003; done",
            "timeout-sec = 2\nretries = 0",
        );
        proven(server, 1, &[(FILE, &config(&check))])?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Degraded(1))?;
        let cause = server.events()?.into_iter().find_map(|event| match event {
            Event::Degraded { cause, .. } => Some(cause),
            _ => None,
        });
        let cause = cause.unwrap_or_else(|| panic!("no cause"));
        assert_eq!(cause.summary, "required check slow failed: ended after 2 s");
        let detail = cause.detail_of(&Fault::Check("slow".to_owned()));
        let detail = detail.unwrap_or_else(|| panic!("{cause:?}"));
        assert_eq!(detail.result, "timeout");
        assert!(detail.log.contains(&"begun".to_owned()), "{detail:?}");
        let left = server.run("pgrep --full 'sleep 700'")?;
        assert_eq!(left.stdout, "");
        nothing_is_left(server)?;
        server.power_off()
    })
}

fn a_wanted_check_only_tells(debian: Debian) -> Result<()> {
    in_container("container-check-wanted", debian, |server| {
        proven(server, 1, &[])?;
        // The first one hangs, and nobody waits for it.
        let checks = script("backup", "sleep 7004", "wanted = true\ntimeout-sec = 20")
            + &script(
                "mirror",
                "echo no mirror; exit 1",
                "wanted = true\nretries = 0",
            );
        selected(server, 2, &[(FILE, &config(&checks))])?;
        server.start(Boot::Counted(2))?;
        let begun = server.wait_for(Fact::Begun(2))?;
        server.wait_for("check mirror failed: exit status 1")?;
        let proven = server.wait_for(Fact::Proven(2))?;
        let took = proven.at.saturating_sub(begun.at);
        assert!(took.as_secs() < 15, "{took:?}");
        server.wait_for(NO_BOOT)?;
        let left = server.run("pgrep --full 'sleep 7004'")?;
        assert_eq!(left.stdout, "");
        nothing_is_left(server)?;
        server.power_off()
    })
}

fn a_check_that_passes_at_the_third_try_proves(debian: Debian) -> Result<()> {
    in_container("container-check-third", debian, |server| {
        proven(server, 1, &[])?;
        let check = script(
            "late",
            "echo x >> /run/tries; test $(wc -l < /run/tries) -ge 3",
            "retries = 2\ninterval-sec = 1",
        );
        let subject = selected(server, 2, &[(FILE, &config(&check))])?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Proven(2))?;
        server.wait_for(NO_BOOT)?;
        let tries: u32 = server.run_ok("wc -l < /run/tries")?.trim().parse()?;
        assert!(tries >= 3, "{tries}");
        assert_eq!(server.state()?.last_good(), Some(&subject));
        nothing_is_left(server)?;
        server.power_off()
    })
}

/// The name server, say, is down for both.
fn a_check_that_the_last_good_one_fails_too_rejects_nothing(debian: Debian) -> Result<()> {
    in_container("container-check-shared", debian, |server| {
        let check = config(&script(
            "dns",
            "test -e /var/lib/name-server",
            "retries = 0",
        ));
        proven(server, 1, &[(FILE, &check)])?;
        let subject = selected(server, 2, &[(FILE, &check)])?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Degraded(1))?;
        let state = server.state()?;
        assert_ne!(state.standing(&subject), Standing::Rejected);
        assert!(state.rejected.is_empty(), "{:?}", state.rejected);
        server.power_off()
    })
}

fn a_check_that_cannot_be_run_is_refused_before_a_boot(debian: Debian) -> Result<()> {
    in_container("container-check-refused", debian, |server| {
        proven(server, 1, &[])?;
        let refused = [
            (
                "[health.checks.a]\nexec = [\"checks/gone\"]\n",
                "[health.checks.a] exec: /nix/store/",
            ),
            (
                "[health.checks.a]\ntcp = \"localhost:70000\"\n",
                "line 10, column 7: \"70000\" is no port",
            ),
        ];
        for (number, (checks, _)) in (2..).zip(&refused) {
            server.add(number, &[(FILE, &config(checks))])?;
        }
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        for (number, (_, words)) in (2..).zip(refused) {
            let install = format!("lastgood install {number}");
            let check = format!("lastgood check-config /nix/var/nix/profiles/system-{number}-link");
            for command in [install, check] {
                let told = server.run(&command)?;
                assert_eq!(told.status, 1, "{told:?}");
                assert!(told.stderr.contains(words), "{told:?}");
            }
        }
        server.power_off()
    })
}

/// The new closure's checks are run after a switch, and the old one's are not asked again.
fn a_switch_whose_check_fails_is_undone(debian: Debian) -> Result<()> {
    in_container("container-check-switch", debian, |server| {
        let passes = script("fine", "exit 0", "");
        let tells = script(
            "other",
            "echo no other; exit 1",
            "wanted = true\nretries = 0",
        );
        let fails = script(
            "web",
            "echo the answer is 41; exit 3",
            "retries = 1\ninterval-sec = 1",
        );
        let slow = script("slow", "sleep 7005", "timeout-sec = 2\nretries = 0");
        let good = proven(server, 1, &[])?;
        let well = server.add(2, &[(FILE, &config(&(passes + &tells)))])?;
        for (number, check) in [(3, fails), (4, slow)] {
            server.add(number, &[(FILE, &config(&check))])?;
        }
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        server.wait_for(NO_BOOT)?;
        let current = |server: &Container| server.run_ok("readlink -f /run/current-system");
        for (number, words) in [
            (3, "check web failed 2 times: exit status 3"),
            (4, "check slow failed: ended after 2 s"),
        ] {
            let told = server.run_longer(&format!("lastgood test {number}"), SWITCH)?;
            assert_eq!(told.status, 4, "{told:?}");
            assert!(told.stderr.contains(words), "{told:?}");
            assert_eq!(current(server)?, good.toplevel.display().to_string());
            nothing_is_left(server)?;
        }
        let log = server.run_ok("lastgood log")?;
        assert!(log.contains("check web failed 2 times"), "{log}");
        let told = server.run_longer("lastgood test 2", SWITCH)?;
        assert_eq!(told.status, 0, "{told:?}");
        let said = told.stdout + &told.stderr;
        let words = "check other failed: exit status 1; it is wanted only, and held against nobody";
        assert!(said.contains(words), "{said}");
        assert_eq!(current(server)?, well.toplevel.display().to_string());
        nothing_is_left(server)?;
        server.power_off()
    })
}

fn checks_are_tried_by_hand(debian: Debian) -> Result<()> {
    in_container("container-check-by-hand", debian, |server| {
        let checks = "[health.checks.page]\nhttp = \"http://127.0.0.1/\"\n".to_owned()
            + &script(
                "later",
                "echo not yet; test -e /run/now",
                "wanted = true\nretries = 0",
            );
        proven(server, 1, &[(FILE, &config(&checks))])?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        server.wait_for(NO_BOOT)?;
        let table = server.run_ok("lastgood check")?;
        for words in [
            "later  failed (wanted)",
            "exit status 1",
            "| not yet",
            "page   passed",
        ] {
            assert!(table.contains(words), "{words}: {table}");
        }
        let json = |words: &str| -> Result<serde_json::Value> {
            let told = server.run(&format!("lastgood check --json {words}"))?;
            let value = serde_json::from_str(&told.stdout)?;
            Schema::of("check")?.check(&value)?;
            assert_eq!(value["holds"] == true, told.status == 0, "{told:?}");
            Ok(value)
        };
        let all = json("")?;
        assert_eq!(all["holds"], true);
        assert_eq!(all["checks"][0]["passed"], false);
        // The journal may hear of its end before it reads what it wrote.
        let log = all["checks"][0]["log"].as_array().context("no log")?;
        ensure!(log.contains(&"not yet".into()), "{log:?}");
        server.run_ok("touch /run/now")?;
        assert_eq!(json("later")?["checks"][0]["passed"], true);
        server.run_ok("systemctl stop nginx.service")?;
        let told = server.run("lastgood check")?;
        assert_eq!(told.status, 1, "{told:?}");
        assert!(
            told.stderr
                .starts_with("lastgood: check page does not hold; "),
            "{told:?}"
        );
        assert!(
            told.stdout
                .contains("| lastgood: http://127.0.0.1/: 127.0.0.1:80: Connection refused"),
            "{told:?}"
        );
        assert_eq!(json("")?["holds"], false);
        let told = server.run("lastgood check pge")?;
        assert_eq!(told.status, 1);
        assert!(
            told.stderr
                .contains("declares no check pge: there are later, page"),
            "{told:?}"
        );
        nothing_is_left(server)?;
        server.power_off()
    })
}
