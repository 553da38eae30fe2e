//! What to do about a fault: where to look, and what mends it most often. Pure.
//!
//! Every fault has an answer, also one that only a newer agent knows.

use crate::state::cause::UnitFailure;
use crate::state::fault::Fault;

/// What to do about a fault of a generation that runs, or ran. `detail` is what is known about its unit.
///
/// It ends without a full stop. What is in backticks is to be typed.
#[must_use]
pub fn what_to_do(fault: &Fault, detail: Option<&UnitFailure>) -> String {
    match fault {
        Fault::Unit(name) => unit(name, detail),
        Fault::Activation => activation(detail),
        Fault::Snippet(name) => format!(
            "mend what `system.activationScripts.{name}` does in the configuration; what it wrote is in `journalctl -b -1 -t stage-2-init`"
        ),
        Fault::Units => "`lastgood check-config` and `lastgood install --dry-run` name units that cannot be linked; if they name \
                         none, look for a full or read-only /run"
            .to_owned(),
        Fault::Firewall => "mend the ruleset: `nft --check --file RULESET` gives line and column; on NixOS look at the unit that \
                            loads it"
            .to_owned(),
        Fault::TriesUsedUp => "nothing of it is on record, so look for the crash itself: `ls /var/lib/systemd/pstore /sys/fs/pstore` \
                               for a panic, the machine's console, its power. If it never came to lastgood, look at what is \
                               new in kernel, initrd and parameters"
            .to_owned(),
        Fault::NotCounted => "see whether the loader can write to its partition: `findmnt /boot`, `journalctl -k -g FAT-fs`, then \
                              `lastgood verify --repair`"
            .to_owned(),
        Fault::NoVerdict => "the trouble is lastgood's own, or the machine was too busy for it: `journalctl -b -1 -u lastgood-assess` \
                             shows how it ended"
            .to_owned(),
        Fault::NoAnswer => "PID 1 hung or was too busy: `journalctl -b -1 _PID=1` shows what it did last; a larger [health] \
                            deadline-sec gives it more time"
            .to_owned(),
        Fault::Operator => "somebody ran `lastgood bad`; ask them, or take it back with `lastgood good NUMBER`".to_owned(),
        other => by_key(&other.key()),
    }
}

/// By what a unit's result says.
fn unit(name: &str, detail: Option<&UnitFailure>) -> String {
    let result = detail.map_or("", |detail| detail.result.as_str());
    let status = detail.and_then(|detail| detail.exit_status);
    let look = format!("`journalctl -u {name}` has all it wrote");
    match (result, status) {
        ("not-found" | "bad-setting" | "error", _) => format!(
            "the closure does not have {name}, or systemd cannot read it: build it in, or correct [health] required-units; \
             `systemd-analyze verify {name}` names a mistake"
        ),
        ("masked", _) => {
            format!("somebody has masked {name}: `systemctl unmask {name}` gives it back")
        }
        ("start-limit-hit", _) => format!(
            "it died again and again until systemd gave up: its first death tells why, and {look}"
        ),
        ("timeout", _) => format!(
            "it did not come up in time: if it needs longer, raise its TimeoutStartSec= and [health] deadline-sec; if it waits for \
             something, {look}"
        ),
        ("watchdog", _) => format!("it stopped answering its watchdog (WatchdogSec=): {look}"),
        ("oom-kill", _) => format!(
            "the kernel took its memory: see `journalctl -k -g oom` and its MemoryMax=, then {look}"
        ),
        ("resources", _) => format!(
            "systemd could not start it at all: a full disk, too few file handles, a missing directory; {look}"
        ),
        ("dependency", _) => format!(
            "something it needs failed: `systemctl list-dependencies {name}` shows what, and that is what to mend"
        ),
        ("exec-condition" | "condition", _) => {
            format!(
                "a condition in the unit does not hold on this machine: `systemctl cat {name}` shows which"
            )
        }
        (_, Some(200..=245)) if result == "exit-code" => format!(
            "systemd could not set it up: exit status {} says what (systemd.exec(5), \"Process exit codes\"); a user, directory or \
             program that is missing, most often",
            status.unwrap_or_default()
        ),
        ("exit-code" | "signal" | "core-dump", _) => {
            format!("mend what its last lines say; {look}")
        }
        (waits, _) if waits.contains("activating") || waits.contains("start") => format!(
            "it was still on its way: `systemctl list-jobs` shows what waits for what while it runs, and {look}; if it only needs \
             longer, raise [health] deadline-sec"
        ),
        _ => look,
    }
}

fn activation(detail: Option<&UnitFailure>) -> String {
    let lines = detail.map_or(&[][..], |detail| &detail.log);
    let says = |word: &str| lines.iter().any(|line| line.contains(word));
    if says("not ours") || says("is in the way") {
        return "move the file that its lines name out of the way, or leave it out of the closure; then `systemctl restart \
                lastgood-activate` puts the rest in place"
            .to_owned();
    }
    "its lines name the file or the script that failed: mend that in the closure; `journalctl -u lastgood-activate` has all of \
     them"
        .to_owned()
}

/// What other agents, and other parts of this one, call what they find: a word, and often a name after a colon.
fn by_key(key: &str) -> String {
    let (kind, name) = key.split_once(':').unwrap_or((key, ""));
    match (kind, name) {
        ("check", name) => format!(
            "run what [health] asks for under the name {name:?} by hand on the machine, as root: it says what it misses"
        ),
        ("listener", name) => format!(
            "nobody listens on {name} any more, and the last good generation did: `ss -tlnp` shows who listens; if that is meant, \
             `lastgood good NUMBER` accepts it"
        ),
        ("route", _) => "there is no default route: `ip route`, `networkctl status` and the unit that sets the network up tell why"
            .to_owned(),
        ("resolvers", _) => "no name is resolved: see /etc/resolv.conf, and whether the servers in it answer".to_owned(),
        ("mount", name) => format!(
            "{name} is not mounted: `systemctl status '{name}'`, `journalctl -b -g mount` and fstab tell why"
        ),
        ("kernel", "panic") => "the kernel's last words are in /var/lib/systemd/pstore or /sys/fs/pstore, if they were kept; else on \
                                the machine's console; look at what is new in kernel, initrd, modules and parameters"
            .to_owned(),
        ("kernel", "watchdog") => "the machine hung until its watchdog fired: `journalctl -b -1 -e` ends where it hung; look at disks, \
                                   drivers and memory"
            .to_owned(),
        _ => format!(
            "this lastgood does not know {key:?}, which a newer one wrote: ask that one (`lastgood why`), or look for the key in its \
             manual"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(result: &str, exit_status: Option<i32>) -> UnitFailure {
        UnitFailure {
            unit: "a.service".to_owned(),
            result: result.to_owned(),
            exit_status,
            log: Vec::new(),
        }
    }

    /// Whoever reads it knows where to look, whatever it was.
    #[test]
    fn every_fault_has_an_answer_of_its_own() {
        let mut told = std::collections::BTreeSet::new();
        for (key, words) in [
            ("activation", "journalctl -u lastgood-activate"),
            ("snippet:users", "system.activationScripts.users"),
            ("units", "lastgood check-config"),
            ("firewall", "nft --check --file"),
            ("loader:tries-used-up", "/sys/fs/pstore"),
            ("loader:not-counted", "findmnt /boot"),
            ("agent:no-verdict", "-u lastgood-assess"),
            ("systemd:no-answer", "_PID=1"),
            ("operator", "lastgood good"),
            ("check:api", "\"api\""),
            ("listener:0.0.0.0:22", "on 0.0.0.0:22 any more"),
            ("route", "ip route"),
            ("resolvers", "/etc/resolv.conf"),
            ("mount:/srv", "/srv is not mounted"),
            ("kernel:panic", "pstore"),
            ("kernel:watchdog", "until its watchdog fired"),
            ("from-the-future:x", "\"from-the-future:x\""),
        ] {
            let line = what_to_do(&Fault::from_key(key), None);
            assert!(line.contains(words), "{key}: {line}");
            assert!(
                !line.ends_with('.') && !line.contains('\n'),
                "{key}: {line}"
            );
            assert!(told.insert(line), "{key} is told as another one");
        }
    }

    #[test]
    fn what_a_unit_died_of_decides_what_to_do() {
        let fault = Fault::of_unit("a.service");
        for (result, status, words) in [
            ("exit-code", Some(1), "mend what its last lines say"),
            ("exit-code", Some(203), "exit status 203 says what"),
            ("signal", Some(11), "mend what its last lines say"),
            ("start-limit-hit", Some(1), "until systemd gave up"),
            ("timeout", None, "TimeoutStartSec="),
            ("not-found", None, "[health] required-units"),
            ("masked", None, "`systemctl unmask a.service`"),
            ("oom-kill", Some(9), "MemoryMax="),
            ("watchdog", Some(6), "WatchdogSec="),
            ("dependency", None, "list-dependencies a.service"),
            ("activating", None, "systemctl list-jobs"),
            ("of another systemd", None, "`journalctl -u a.service`"),
        ] {
            let line = what_to_do(&fault, Some(&failed(result, status)));
            assert!(line.contains(words), "{result}: {line}");
        }
    }
}
