//! One machine with many services, as NixOS lays it out, and who switches it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lastgood::state::baseline::Baseline;
use lastgood::state::{Event, Subject};
use lastgood_tests::container::{Boot, Container};
use lastgood_tests::debian::Debian;
use lastgood_tests::scenario::in_container;
use lastgood_tests::switching::{Closure, is_nixos};

use super::times::{Pair, timed};
use super::{Arguments, gap};
use crate::output;

/// How long one switch may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// For so long a closure of these has our command look on after everything is up. The peer does not.
const SETTLE: Duration = Duration::from_secs(1);

/// Who switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Us,
    Peer,
}

/// What differs between the first closure and another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changed {
    Nothing,
    One,
    All,
    Page,
}

impl Changed {
    const ALL: [Self; 4] = [Self::Nothing, Self::One, Self::All, Self::Page];

    /// Its generation.
    pub(super) fn number(self) -> usize {
        match self {
            Self::Nothing => 2,
            Self::One => 3,
            Self::All => 4,
            Self::Page => 5,
        }
    }

    /// A closure with so many services. None: the first one.
    fn closure(changed: Option<Self>, units: usize) -> Closure {
        let page = if changed == Some(Self::Page) {
            "two"
        } else {
            "one"
        };
        let mut closure = Closure::new()
            .file("etc/nginx/www/index.html", format!("<p>{page}</p>\n"))
            .file(
                "etc/systemd/system/nginx.service.d/page.conf",
                format!("[Service]\nEnvironment=PAGE={page}\n"),
            )
            .file("etc/rig", format!("{changed:?}\n"));
        for number in 0..units {
            let is_changed = match changed {
                Some(Self::All) => true,
                Some(Self::One) => number == 0,
                _ => false,
            };
            let mark = if is_changed { "two" } else { "one" };
            closure = closure.wanted(
                &format!("unit-{number:03}.service"),
                format!(
                    "[Unit]\nDescription=Service {number}\nAfter=network.target\n[Service]\nEnvironment=MARK={mark}\n\
                     ExecStart=/bin/sleep infinity\n"
                ),
            );
        }
        closure
    }
}

/// The machine, and what was laid on it.
pub(super) struct Bench<'a> {
    pub(super) server: &'a Container,
    subjects: &'a [Subject],
}

impl Bench<'_> {
    /// Has `who` switch to generation `number`; gives how long the command took.
    pub(super) fn switch(&self, who: Who, number: usize) -> Result<Duration> {
        let subject = self.subjects.get(number.saturating_sub(1));
        let toplevel = subject.context("no such generation")?.toplevel.display();
        let command = match who {
            Who::Us => format!("lastgood --quiet test {toplevel}"),
            Who::Peer => format!(
                "env OUT={toplevel} TOPLEVEL={toplevel} DISTRO_ID=nixos INSTALL_BOOTLOADER=/bin/true \
                 PRE_SWITCH_CHECK=/bin/true SYSTEMD=/usr LOCALE_ARCHIVE= /rig/peer test"
            ),
        };
        let begun = Instant::now();
        let ended = self.server.run_longer(&command, PATIENCE)?;
        let took = begun.elapsed();
        ensure!(ended.status == 0, "{command}: {ended:?}");
        let current = self.server.run_ok("readlink -f /run/current-system")?;
        ensure!(current == toplevel.to_string(), "{who:?} left {current}");
        Ok(took)
    }

    /// Forward and back in turns, by whoever is there.
    fn pair(&self, changed: Changed, times: usize, with_peer: bool) -> Result<Pair> {
        let mut pair = Pair::default();
        for _ in 0..times {
            for number in [changed.number(), 1] {
                pair.ours.add(self.switch(Who::Us, number)?);
            }
            if with_peer {
                for number in [changed.number(), 1] {
                    pair.peers.add(self.switch(Who::Peer, number)?);
                }
            }
        }
        Ok(pair)
    }

    fn command(&self, command: &str) -> Result<Duration> {
        let begun = Instant::now();
        self.server.run_ok(command)?;
        Ok(begun.elapsed())
    }
}

/// Boots it, and prints the table.
pub(super) fn run(debian: Debian, arguments: &Arguments, peer: Option<&Path>) -> Result<()> {
    in_container("bench-switch", debian, |server| {
        is_nixos(server)?;
        let changes = [None].into_iter().chain(Changed::ALL.map(Some));
        let mut subjects = Vec::new();
        for (number, changed) in (1..).zip(changes) {
            // The peer asks logind who is there, and stops a mount that is masked.
            let closure = Changed::closure(changed, arguments.units)
                .for_nixos(server)?
                .without_unit("systemd-logind.service")
                .without_unit("dev-mqueue.mount")
                .with_units_apart(server)?;
            subjects.push(closure.lay(server, number)?);
        }
        if let Some(peer) = peer {
            server.program("/rig/peer", std::fs::read(peer)?)?;
        }
        server.past(&Event::Proven {
            subject: subjects.first().context("no closure")?.clone(),
            baseline: Baseline::default(),
        })?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for("healthy")?;
        server.run_longer("systemctl is-system-running --wait", PATIENCE)?;
        // Without a boot partition that one is tried again and again, which the peer takes for a failure.
        server.run_ok(
            "systemctl start systemd-logind.service; systemctl stop lastgood-bless.service; systemctl reset-failed",
        )?;
        let bench = Bench {
            server,
            subjects: &subjects,
        };
        table(&bench, debian, arguments, peer.is_some())?;
        server.power_off()
    })
}

fn table(bench: &Bench, debian: Debian, arguments: &Arguments, with_peer: bool) -> Result<()> {
    let Arguments { units, times, .. } = arguments;
    let systemd = bench.server.run_ok("systemctl --version | head -1")?;
    output::line(&format!(
        "\n{}, {systemd}: {units} services; median and least of {}",
        debian.name(),
        times * 2
    ));
    let entering = timed(*times, || bench.command("true"))?;
    let reload = timed(*times, || bench.command("systemctl daemon-reload"))?;
    let restart = timed(*times, || {
        bench.command("systemctl restart unit-000.service")
    })?;
    output::line(&Pair::header());
    for (case, ours) in [
        ("(entering the machine)", entering),
        ("(systemctl daemon-reload)", reload),
        ("(systemctl restart of one)", restart),
    ] {
        let pair = Pair {
            ours,
            ..Pair::default()
        };
        output::line(&pair.line(case));
    }
    for (case, changed) in [
        ("nothing changed", Changed::Nothing),
        ("one service changed", Changed::One),
        ("all changed", Changed::All),
    ] {
        let pair = bench.pair(changed, *times, with_peer)?;
        output::line(&pair.line(case));
        if changed != Changed::Nothing {
            output::line(&pair.sooner(SETTLE).line("  less the second of watching"));
        }
    }
    gap::run(bench, *times, with_peer)
}
