//! A booted trial that fails is left without a reboot, where its closure allows that.

use anyhow::{Result, ensure};
use lastgood::state::baseline::Baseline;
use lastgood::state::{Event, Subject};
use lastgood_tests::container::{Boot, Container, Ended, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;
use lastgood_tests::switching::{CONFIG, Closure, is_nixos, traced};

use super::{laid, runs};

on_one_debian! {
    Twelve: a_failed_trial_is_left_without_a_reboot,
    Twelve: what_failed_by_a_file_it_reads_is_up_before_systemd_reads_its_units,
    Thirteen: a_reload_comes_first_where_generators_read_something_else,
    Thirteen: what_cannot_be_left_so_is_left_by_a_reboot,
    Thirteen: the_script_of_a_closure_may_do_all_that_it_does_in_a_boot,
}

/// A good generation, and one whose page's service never comes up.
fn closures(live: &str, further: impl Fn(Closure) -> Closure) -> [Closure; 2] {
    let good = Closure::new()
        .wanted("app.service", traced("app", "one"))
        .file("etc/nginx/www/index.html", "<p>one</p>\n");
    let bad = Closure::new()
        .file("etc/lastgood/lastgood.toml", format!("{CONFIG}{live}"))
        .wanted("app.service", traced("app", "two"))
        .wanted(
            "bad.service",
            "[Service]\nType=oneshot\nExecStart=/bin/false\n",
        )
        .file("etc/nginx/www/index.html", "<p>two</p>\n");
    [good, further(bad)]
}

/// The second closure is booted on trial, and found bad.
fn tried(server: &mut Container, closures: &[Closure]) -> Result<Vec<Subject>> {
    let subjects = laid(server, closures)?;
    let [good, bad] = subjects.as_slice() else {
        anyhow::bail!("two closures")
    };
    server.past(&Event::Proven {
        subject: good.clone(),
        baseline: Baseline::default(),
    })?;
    server.past(&Event::Selected {
        subject: bad.clone(),
        by: None,
    })?;
    server.start(Boot::Counted(2))?;
    server.wait_for(Fact::Rejected(2))?;
    Ok(subjects)
}

fn a_failed_trial_is_left_without_a_reboot(debian: Debian) -> Result<()> {
    in_container("switch-live-fallback", debian, |server| {
        let closures = closures(
            "[fallback]\nlive = true\nsoft-reboot = false\ngrace-sec = 0\n",
            |bad| bad,
        );
        let subjects = tried(server, &closures)?;
        server.wait_for("fell-back: generation 1")?;
        runs(server, &subjects[0])?;
        let page = server.reach(80)?;
        ensure!(page == Reach::Page("<p>one</p>\n".to_owned()), "{page:?}");
        let up = server.run_ok("systemctl is-active app.service")?;
        ensure!(up == "active", "{up}");
        let events = server.events()?;
        let names: Vec<&str> = events.iter().map(Event::name).collect();
        ensure!(!names.contains(&"rebooting"), "{names:?}");
        let why = server.run_ok("lastgood why 2")?;
        ensure!(why.contains("went back without a reboot"), "{why}");
        server.power_off()
    })
}

/// Where the units are the same, nobody waits for a reload that brings nothing: what failed is up again first.
fn what_failed_by_a_file_it_reads_is_up_before_systemd_reads_its_units(
    debian: Debian,
) -> Result<()> {
    starts_and_reloads(
        debian,
        "switch-live-fallback-same-units",
        |closure, _| closure,
        ["Starting", "Finished", "Reloading"],
    )
}

/// What generators make of that may be for what failed.
fn a_reload_comes_first_where_generators_read_something_else(debian: Debian) -> Result<()> {
    starts_and_reloads(
        debian,
        "switch-live-fallback-generators",
        |closure, word| closure.file("etc/default/app", format!("WORD={word}\n")),
        ["Reloading", "Starting", "Finished"],
    )
}

/// A trial fails by a file, is left live, and systemd does this in this order, each of it once.
fn starts_and_reloads(
    debian: Debian,
    name: &str,
    further: impl Fn(Closure, &str) -> Closure,
    order: [&str; 3],
) -> Result<()> {
    in_container(name, debian, |server| {
        let closure = |word: &str| {
            let allowed = "[fallback]\nlive = true\nsoft-reboot = false\ngrace-sec = 0\n";
            let closure = Closure::new()
                .file("etc/lastgood/lastgood.toml", format!("{CONFIG}{allowed}"))
                .file("etc/app.conf", format!("{word}\n"))
                .wanted("app.service", READS);
            further(closure, word)
        };
        let subjects = tried(server, &[closure("good"), closure("bad")])?;
        server.wait_for("fell-back: generation 1")?;
        runs(server, &subjects[0])?;
        let up = server.run_ok("systemctl is-active app.service")?;
        ensure!(up == "active", "{up}");
        let said = server.run_ok("journalctl --boot --output=cat --no-pager _PID=1")?;
        let after = said
            .lines()
            .skip_while(|line| !line.starts_with("Failed to start app.service"));
        // 252 has fewer dots.
        let is_told = |line: &&str| {
            line.starts_with("Starting app.service")
                || line.starts_with("Finished app.service")
                || line.trim_end_matches('.') == "Reloading"
        };
        let told: Vec<&str> = after.filter(is_told).collect();
        let is_so = told.len() == order.len()
            && told
                .iter()
                .zip(order)
                .all(|(line, word)| line.starts_with(word));
        ensure!(is_so, "{told:?}");
        server.power_off()
    })
}

/// Fails where its file is not as it should be.
const READS: &str = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/grep --quiet good /etc/app.conf\n";

/// Another kernel command line is nothing that can be changed while the kernel runs.
fn what_cannot_be_left_so_is_left_by_a_reboot(debian: Debian) -> Result<()> {
    in_container("switch-no-live-fallback", debian, |server| {
        let closures = closures(
            "[fallback]\nlive = true\nsoft-reboot = false\ngrace-sec = 0\n",
            |bad| bad.file("kernel-params", "another=one"),
        );
        tried(server, &closures)?;
        let ended = server.wait_until_ended()?;
        ensure!(ended == Ended::Reboot, "{ended:?}");
        let events = server.events()?;
        let names: Vec<&str> = events.iter().map(Event::name).collect();
        ensure!(names.contains(&"rebooting"), "{names:?}");
        ensure!(!names.contains(&"fell-back"), "{names:?}");
        Ok(())
    })
}

/// NixOS's `activate` makes programs that run as root whoever starts them. Whoever acts upon a verdict may not.
fn the_script_of_a_closure_may_do_all_that_it_does_in_a_boot(debian: Debian) -> Result<()> {
    in_container("switch-live-fallback-nixos", debian, |server| {
        is_nixos(server)?;
        let mut closures = closures(
            "[fallback]\nlive = true\nsoft-reboot = false\ngrace-sec = 0\n",
            |bad| bad,
        );
        for closure in &mut closures {
            *closure = closure
                .clone()
                .for_nixos(server)?
                .activates_also("install -D -m 4755 /bin/true /run/wrappers/true\n");
        }
        let subjects = tried(server, &closures)?;
        server.wait_for("fell-back: generation 1")?;
        runs(server, &subjects[0])?;
        let mode = server.run_ok("stat -c %a /run/wrappers/true")?;
        ensure!(mode == "4755", "{mode}");
        server.power_off()
    })
}
