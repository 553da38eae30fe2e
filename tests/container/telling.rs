//! What is told of a machine outside of the ledger, by real journald, login and PID 1: the catalogue, the line at login,
//! and hooks.

use anyhow::Result;
use lastgood::state::Standing;
use lastgood_tests::container::{Boot, Container, Ended};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

use crate::{BROKEN_NGINX, proven, selected};

on_each_debian! {
    a_fallback_is_told_at_login_and_explained_in_the_journal,
    a_hook_runs_once_in_a_boot_and_ends_at_its_deadline,
}

fn a_fallback_is_told_at_login_and_explained_in_the_journal(debian: Debian) -> Result<()> {
    in_container("container-told", debian, |server| {
        let good = proven(server, 1, &[])?;
        selected(server, 2, &[BROKEN_NGINX])?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);

        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        assert_eq!(server.state()?.standing(&good), Standing::Proven);
        // Debian's own rules for PAM, as they are.
        let login =
            "(sleep 1; echo exit; sleep 1) | timeout 20 script -qc 'login -f root' /dev/null";
        // How the shell ends is not looked at: what it is greeted with is.
        let shown = match debian {
            Debian::Twelve => server.run(login)?.stdout,
            // Its login shows nothing where it has no terminal of its own: what it would read is looked at.
            Debian::Thirteen | Debian::Sid => server.run_ok("cat /run/motd.d/lastgood")?,
        };
        assert!(
            shown.contains("lastgood: this machine fell back from generation 2 to generation 1: "),
            "{shown}"
        );
        server.run_ok("journalctl --update-catalog")?;
        let explained = server.run_ok("journalctl --no-pager --catalog LASTGOOD_EVENT=rejected")?;
        for words in [
            "Subject: Generation 2 is rejected",
            "    lastgood why 2",
            "Documentation: man:lastgood(8)",
        ] {
            assert!(explained.contains(words), "{words}: {explained}");
        }
        // Each message about an event has a text, and each field in it a value.
        let all =
            server.run_ok("journalctl --no-pager --catalog -t lastgood LASTGOOD_GENERATION=2")?;
        assert!(!all.contains("generation LASTGOOD_GENERATION"), "{all}");
        server.power_off()
    })
}

/// Writes down what it was told; then as its first word says.
const HOOK: &str = "\
#!/bin/sh
{ echo run; env | grep ^LASTGOOD_ | sort; cat; } >>/run/hook.log
echo \"told to the journal\"
[ ! -e /run/hook-sleeps ] || { setsid sleep 4321 & touch /run/hook-asleep; sleep 4321; }
exit $(cat /run/hook-status 2>/dev/null || echo 0)
";
const CONFIG: &str = "\
[health]
required-units = [\"nginx.service\"]
settle-sec = 1
[hooks]
on-proven = \"hook\"
on-fallback = \"/usr/local/bin/hook\"
on-degraded = \"hook\"
deadline-sec = 3
";

fn hook(server: &Container, hook: &str, incident: &str) -> Result<String> {
    let said = server.run_ok(&format!("/rig/hook-story {hook} {incident}"))?;
    Ok(said.trim().to_owned())
}

fn count(server: &Container, what: &str) -> Result<String> {
    let said = server.run_ok(&format!("{what} | wc -l"))?;
    Ok(said.trim().to_owned())
}

fn a_hook_runs_once_in_a_boot_and_ends_at_its_deadline(debian: Debian) -> Result<()> {
    in_container("container-hooks", debian, |server| {
        let subject = selected(server, 1, &[("etc/lastgood/lastgood.toml", CONFIG)])?;
        let inside = subject.toplevel.join("hook").display().to_string();
        server.program(&inside, HOOK)?;
        server.program("/usr/local/bin/hook", HOOK)?;
        let story = std::fs::read(env!("CARGO_BIN_EXE_hook-story"))?;
        server.program("/rig/hook-story", story)?;
        server.start(Boot::Counted(1))?;
        server.wait_for(Fact::Proven(1))?;
        // The agent's own, once.
        server.wait_for("hooked: on-proven was run")?;
        assert_eq!(count(server, "grep -x run /run/hook.log")?, "1");
        server.run_ok("rm -f /run/hook.log; systemctl reset-failed")?;

        assert_eq!(hook(server, "on-fallback", "first")?, "Well");
        let told = server.run_ok("cat /run/hook.log")?;
        for words in [
            "LASTGOOD_EVENT=on-fallback",
            "LASTGOOD_INCIDENT=first",
            "LASTGOOD_GENERATION=1",
            "LASTGOOD_FAULTS=unit:a.service",
            r#"{"version":1,"event":"on-fallback","incident":"first","#,
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        let journal = server.run_ok("journalctl --no-pager -o cat -u lastgood-hook-first")?;
        assert!(journal.contains("told to the journal"), "{journal}");
        // Once for an incident, whoever asks again.
        assert_eq!(hook(server, "on-fallback", "first")?, "Well");
        assert_eq!(count(server, "grep -x run /run/hook.log")?, "1");

        server.run_ok("echo 3 >/run/hook-status")?;
        let said = hook(server, "on-proven", "second")?;
        assert_eq!(
            said,
            "Badly: it ended with status 3; `journalctl -b -u lastgood-hook-second.service` shows what it wrote"
        );
        assert_eq!(hook(server, "on-proven", "second")?, said);
        assert_eq!(count(server, "grep -x run /run/hook.log")?, "2");

        // Whoever waits is killed: the hook goes on, and the next one learns how it ended.
        server.run_ok("rm /run/hook-status; touch /run/hook-sleeps")?;
        server.run_ok(
            "/rig/hook-story on-degraded third & p=$!; until [ -e /run/hook-asleep ]; do sleep 0.1; done; kill -9 $p || true",
        )?;
        let said = hook(server, "on-degraded", "third")?;
        assert!(
            said.starts_with("Badly: it had not ended after 3 s; "),
            "{said}"
        );
        assert_eq!(count(server, "grep -x run /run/hook.log")?, "3");
        assert_eq!(
            count(server, "grep -lsxz 432[1] /proc/[0-9]*/cmdline")?,
            "0"
        );

        // None of it is the generation's fault.
        assert_eq!(server.state()?.standing(&subject), Standing::Proven);
        server.power_off()
    })
}
