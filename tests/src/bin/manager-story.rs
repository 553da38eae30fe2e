//! What the container ring says to a real systemd: the agent's own client, beside it in its process namespace (systemd
//! answers nobody whose process it cannot see). Arguments: the root of the container, and which story.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lastgood::system::manager::{
    Error, JobId, JobResult, Manager, Mode, PATIENCE, Reason, Refusal, SYSTEM, Setting, Signal,
    Verb, Wanted,
};

const SOON: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, story] = &arguments[..] else {
        bail!("usage: manager-story ROOT STORY")
    };
    let connect = |socket: &str| Manager::at(&format!("{root}{socket}"), PATIENCE);
    let mut manager = connect(SYSTEM)?;
    match story.as_str() {
        "refusals" => refusals(&mut manager),
        "properties" => properties(&mut manager),
        "results" => results(&mut manager),
        "together" => together(&mut manager),
        "reexecute" => reexecute(&mut manager),
        "signals" => signals(&mut manager),
        "user" => user(&mut connect("/run/user/1234/systemd/private")?),
        "slow-generator" => slow_generator(&mut manager, || {
            Manager::at(&format!("{root}{SYSTEM}"), Duration::from_millis(500))
        }),
        story => bail!("no story {story}"),
    }
}

/// Each "no" is about one name, and says which.
fn refusals(manager: &mut Manager) -> Result<()> {
    let due = [
        ("rig-up.service", Verb::Start, None),
        ("rig-missing.service", Verb::Start, Some(Reason::NoSuchUnit)),
        ("rig-missing.service", Verb::Stop, Some(Reason::NoSuchUnit)),
        ("rig-masked.service", Verb::Start, Some(Reason::Masked)),
        ("rig-broken.service", Verb::Start, Some(Reason::Unusable)),
        ("rig-empty.service", Verb::Start, Some(Reason::Unusable)),
        (
            "rig-refuses.service",
            Verb::Start,
            Some(Reason::OnlyByDependency),
        ),
        ("rig-cycle-a.service", Verb::Start, Some(Reason::Cyclic)),
        ("rig-torn.target", Verb::Start, Some(Reason::Conflicting)),
        ("rig-up.service", Verb::Reload, Some(Reason::NotApplicable)),
        ("bogus", Verb::Start, Some(Reason::InvalidArguments)),
        (
            "getty@.service",
            Verb::Start,
            Some(Reason::InvalidArguments),
        ),
        (
            "rig-up.service\0x",
            Verb::Stop,
            Some(Reason::InvalidArguments),
        ),
        ("", Verb::Restart, Some(Reason::InvalidArguments)),
    ];
    for (unit, verb, reason) in due {
        let [good, answer] = manager
            .enqueue(verb, &["rig-other.service", unit], Mode::Replace)?
            .try_into()
            .map_err(|answers| anyhow::anyhow!("{answers:?}"))?;
        ensure!(verb == Verb::Reload || good.is_ok(), "{unit}: {good:?}");
        let found = answer.as_ref().err().map(Refusal::reason);
        ensure!(found == reason, "{verb:?} {unit}: {answer:?}");
    }
    let reset = manager.reset_failed("rig-missing.service");
    let Err(Error::Refused { refusal, .. }) = reset else {
        bail!("{reset:?}")
    };
    ensure!(refusal.reason() == Reason::NoSuchUnit, "{refusal}");
    // After all of that the connection lives.
    manager.kill("rig-up.service", 10)?;
    Ok(())
}

/// One question, whatever is among the names; and the same as `systemctl` prints.
fn properties(manager: &mut Manager) -> Result<()> {
    let units = [
        "bogus",
        "rig-fails.service",
        "rig-missing.service",
        "-.slice",
    ];
    let failed = done(manager, Verb::Start, "rig-fails.service")?;
    ensure!(failed == JobResult::Failed, "{failed:?}");
    let wanted = [
        Wanted::unit("LoadState"),
        Wanted::unit("ActiveState"),
        Wanted::unit("Names"),
        Wanted::unit("NoSuchThing"),
        Wanted::unit("InvocationID"),
        Wanted::unit("ConditionTimestampMonotonic"),
        Wanted::kind("Result"),
        Wanted::kind("NRestarts"),
        Wanted::kind("ExecMainStatus"),
        Wanted::kind("ExecStartPre"),
        Wanted::kind("RemainAfterExit"),
    ];
    let found = manager.properties(&units, &wanted)?;
    let [bogus, fails, missing, slice] = &found[..] else {
        bail!("{found:?}")
    };
    ensure!(bogus.is_err(), "{bogus:?}");
    let fails = fails.as_ref().map_err(Clone::clone)?;
    ensure!(fails.text("ActiveState") == "failed", "{fails:?}");
    ensure!(fails.text("Result") == "exit-code", "{fails:?}");
    ensure!(fails.number("NRestarts") == Some(0), "{fails:?}");
    ensure!(fails.flag("RemainAfterExit") == Some(false), "{fails:?}");
    ensure!(fails.names("Names").eq(["rig-fails.service"]), "{fails:?}");
    ensure!(fails.get("NoSuchThing").is_none(), "{fails:?}");
    ensure!(fails.id("InvocationID").len() == 32, "{fails:?}");
    ensure!(
        fails.number("ConditionTimestampMonotonic") > Some(0),
        "{fails:?}"
    );
    let commands: Vec<_> = fails.commands("ExecStartPre").collect();
    let [command] = &commands[..] else {
        bail!("{fails:?}")
    };
    ensure!(
        command.program == "/bin/sh" && !command.ignored,
        "{command:?}"
    );
    ensure!(
        command.arguments == ["/bin/sh", "-c", "exit 4"],
        "{command:?}"
    );
    ensure!(format!("{:?}", command.end) == "Exited(4)", "{command:?}");
    let missing = missing.as_ref().map_err(Clone::clone)?;
    ensure!(missing.text("LoadState") == "not-found", "{missing:?}");
    let slice = slice.as_ref().map_err(Clone::clone)?;
    ensure!(slice.text("ActiveState") == "active", "{slice:?}");
    ensure!(slice.get("Result").is_none(), "{slice:?}");
    let listed = manager.units()?;
    let row = listed.iter().find(|unit| unit.name == "rig-fails.service");
    let row = row.context("it is not listed")?;
    ensure!(
        (row.load.as_str(), row.active.as_str()) == ("loaded", "failed"),
        "{row:?}"
    );
    Ok(())
}

fn done(manager: &mut Manager, verb: Verb, unit: &str) -> Result<JobResult> {
    let answers = manager.enqueue(verb, &[unit], Mode::Replace)?;
    let id = answers.into_iter().next().context("no answer")??;
    let mut results = manager.wait(&[id], Instant::now() + SOON, &mut |_| ())?;
    results.remove(&id).context("no result")
}

/// How jobs end, also those that are over before they are named.
fn results(manager: &mut Manager) -> Result<()> {
    let due = [
        (Verb::Start, "rig-up.service", JobResult::Done),
        // Nothing is left to do: over at once.
        (Verb::Start, "rig-up.service", JobResult::Done),
        (Verb::Start, "rig-fails.service", JobResult::Failed),
        (
            Verb::Start,
            "rig-needs-fails.service",
            JobResult::Dependency,
        ),
        (
            Verb::Start,
            "rig-asserts.service",
            JobResult::Other("assert".to_owned()),
        ),
        (Verb::Start, "rig-conditional.service", JobResult::Done),
        (Verb::Start, "rig-late.service", JobResult::Timeout),
        (Verb::Restart, "rig-up.service", JobResult::Done),
        (Verb::Stop, "rig-up.service", JobResult::Done),
        (Verb::TryRestart, "rig-up.service", JobResult::Done),
    ];
    for _ in 0..20 {
        for (verb, unit, result) in due
            .clone()
            .into_iter()
            .filter(|due| due.1 != "rig-late.service")
        {
            let found = done(manager, verb, unit)?;
            ensure!(found == result, "{verb:?} {unit}: {found:?}");
            if result == JobResult::Failed {
                manager.reset_failed(unit)?;
            }
        }
    }
    let found = done(manager, Verb::Start, "rig-late.service")?;
    ensure!(found == JobResult::Timeout, "{found:?}");
    // One job for two who ask, and another who changes his mind.
    let slow = ["rig-slow.service"];
    let first = manager.enqueue(Verb::Start, &slow, Mode::Replace)?;
    let second = manager.enqueue(Verb::Start, &slow, Mode::Replace)?;
    ensure!(first == second, "{first:?} {second:?}");
    let started = manager
        .enqueue(Verb::Start, &slow, Mode::Replace)?
        .remove(0)?;
    let stopped = manager
        .enqueue(Verb::Stop, &slow, Mode::Replace)?
        .remove(0)?;
    let until = Instant::now() + SOON;
    let found = manager.wait(&[started, stopped], until, &mut |_| ())?;
    ensure!(
        found.get(&started) == Some(&JobResult::Canceled),
        "{found:?}"
    );
    ensure!(found.get(&stopped) == Some(&JobResult::Done), "{found:?}");
    // A unit that is made for this.
    let program = ["/bin/sh", "-c", "exit 3"].map(str::to_owned).to_vec();
    let settings = [
        ("Type", Setting::Text("oneshot".to_owned())),
        ("ExecStart", Setting::Commands(vec![program])),
        (
            "After",
            Setting::Texts(vec!["rig-other.service".to_owned()]),
        ),
        ("RemainAfterExit", Setting::Flag(true)),
        ("TimeoutStartUSec", Setting::Number(5_000_000)),
    ];
    let id = manager.start_transient("rig-made.service", Mode::Fail, &settings, &[])?;
    let found = manager.wait(&[id], Instant::now() + SOON, &mut |_| ())?;
    ensure!(found.get(&id) == Some(&JobResult::Failed), "{found:?}");
    manager.reset_failed("rig-made.service")?;
    Ok(())
}

/// `Requisite=` and `After=` hold among what is started together, in either order of the names.
fn together(manager: &mut Manager) -> Result<()> {
    let chain: Vec<String> = (0..100).map(|n| format!("rig-chain@{n}.service")).collect();
    let pair = ["rig-a.service", "rig-b.service"]
        .map(str::to_owned)
        .to_vec();
    let turned = |units: &Vec<String>| units.iter().rev().cloned().collect::<Vec<_>>();
    for units in [pair.clone(), turned(&pair), chain.clone(), turned(&chain)] {
        let together = manager.start_together(&units)?;
        ensure!(together.refused.is_empty(), "{:?}", together.refused);
        let ids: Vec<JobId> = together.jobs.into_iter().collect();
        let results = manager.wait(&ids, Instant::now() + SOON, &mut |_| ())?;
        let words: BTreeSet<String> = results.values().map(|word| format!("{word:?}")).collect();
        ensure!(words == BTreeSet::from(["Done".to_owned()]), "{results:?}");
        let found = manager.properties(&units, &[Wanted::unit("ActiveState")])?;
        for (unit, properties) in units.iter().zip(found) {
            let properties = properties?;
            ensure!(
                properties.text("ActiveState") == "active",
                "{unit}: {properties:?}"
            );
        }
        let stops = manager.enqueue(Verb::Stop, &units, Mode::Replace)?;
        let ids: Vec<JobId> = stops.into_iter().collect::<Result<_, _>>()?;
        manager.wait(&ids, Instant::now() + SOON, &mut |_| ())?;
    }
    // One that cannot be started does not keep the others from it.
    let units = ["rig-a.service", "rig-missing.service", "rig-b.service"];
    let together = manager.start_together(&units)?;
    let refused: Vec<&String> = together.refused.keys().collect();
    ensure!(refused == ["rig-missing.service"], "{refused:?}");
    let ids: Vec<JobId> = together.jobs.into_iter().collect();
    let results = manager.wait(&ids, Instant::now() + SOON, &mut |_| ())?;
    ensure!(
        results.values().all(|word| *word == JobResult::Done),
        "{results:?}"
    );
    Ok(())
}

/// Jobs go on while systemd is executed anew, by us or by somebody else, and their results are heard.
fn reexecute(manager: &mut Manager) -> Result<()> {
    let start = |manager: &mut Manager| -> Result<JobId> {
        let answers = manager.enqueue(Verb::Restart, &["rig-slow.service"], Mode::Replace)?;
        Ok(answers.into_iter().next().context("no answer")??)
    };
    let id = start(manager)?;
    manager.reexecute()?;
    let found = manager.wait(&[id], Instant::now() + SOON, &mut |_| ())?;
    ensure!(found.get(&id) == Some(&JobResult::Done), "{found:?}");

    let id = start(manager)?;
    let mut once = Some(());
    let found = manager.wait(&[id], Instant::now() + SOON, &mut |_| {
        if once.take().is_some() {
            let mut other = std::process::Command::new("kill");
            // What `systemctl daemon-reexec` does, for PID 1 of this namespace.
            other.args(["-s", "TERM", "1"]).status().ok();
        }
    })?;
    ensure!(found.get(&id) == Some(&JobResult::Done), "{found:?}");
    Ok(())
}

/// What is told without having been subscribed to.
fn signals(manager: &mut Manager) -> Result<()> {
    manager.listen();
    let result = done(manager, Verb::Start, "rig-up.service")?;
    ensure!(result == JobResult::Done, "{result:?}");
    let (mut news, mut changed) = (Vec::new(), false);
    while let Some(signal) = manager.signal(Duration::from_millis(300))? {
        if let Signal::Changed { unit } = &signal {
            changed |= unit == "rig-up.service";
        }
        news.push(signal);
    }
    ensure!(changed, "{news:?}");
    let is_new =
        |signal: &Signal| matches!(signal, Signal::JobNew { unit, .. } if unit == "rig-up.service");
    ensure!(news.iter().any(is_new), "{news:?}");
    manager.reload()?;
    let (mut begins, mut ends, mut gone) = (0, 0, 0);
    while let Some(signal) = manager.signal(Duration::from_millis(300))? {
        match signal {
            Signal::Reloading { begins: true } => begins += 1,
            Signal::Reloading { begins: false } => ends += 1,
            Signal::UnitRemoved { .. } => gone += 1,
            _ => {}
        }
    }
    ensure!((begins, ends) == (1, 1), "{begins} {ends}");
    ensure!(gone > 50, "{gone}");
    Ok(())
}

/// A user's manager lets root in, and answers alike.
fn user(manager: &mut Manager) -> Result<()> {
    let units = manager.units()?;
    ensure!(
        units.iter().any(|unit| unit.name == "default.target"),
        "{units:?}"
    );
    manager.reload()?;
    manager.reexecute()?;
    let own = manager.own_properties(&["Version", "NoSuchThing"])?;
    ensure!(!own.text("Version").is_empty(), "{own:?}");
    ensure!(own.get("NoSuchThing").is_none(), "{own:?}");
    Ok(())
}

/// A reload may take longer than any other answer; meanwhile nobody is answered.
fn slow_generator(
    manager: &mut Manager,
    impatient: impl FnOnce() -> Result<Manager, Error> + Send,
) -> Result<()> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| -> Result<()> {
            // The generator has begun by then.
            std::thread::sleep(Duration::from_secs(1));
            let answer = impatient().and_then(|mut manager| manager.jobs());
            ensure!(matches!(answer, Err(Error::Late { .. })), "{answer:?}");
            Ok(())
        });
        manager.reload()?;
        ensure!(
            began.elapsed() > Duration::from_secs(3),
            "{:?}",
            began.elapsed()
        );
        other
            .join()
            .map_err(|_panic| anyhow::anyhow!("it panicked"))?
    })
}
