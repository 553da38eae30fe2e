//! What comes in while one ruleset takes the place of another: packets come all the time.

use super::*;

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sends packets that no ruleset lets in while one is loaded after the other. How many came in, and how many were sent.
fn came_in(loads: u32, load: impl Fn(&Namespace, u32) -> Outcome) -> (u64, u64) {
    let cable = Cable::new();
    let loads_one = |number| {
        let outcome = load(&cable.machine, number);
        assert!(matches!(outcome, Outcome::Loaded(_)), "{outcome:?}");
    };
    loads_one(0);
    let witness = "table ip witness { chain x { type filter hook input priority 10; udp dport 9 counter; }; }";
    cable.machine.run(witness).unwrap();
    let done = AtomicBool::new(false);
    let flood = || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let mut sent = 0;
        while !done.load(Ordering::Relaxed) {
            socket.send_to(&[0], "192.0.2.1:9").unwrap();
            sent += 1;
        }
        sent
    };
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| cable.world.within(flood));
        (1..=loads).for_each(loads_one);
        done.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    assert!(sent > 10_000, "{sent}");
    let listed = cable
        .machine
        .nft(&["list", "table", "ip", "witness"])
        .unwrap();
    let (_, counted) = listed.split_once("counter packets ").unwrap();
    let counted = counted.split(' ').next().unwrap();
    (counted.parse().unwrap(), sent)
}

/// With two transactions an eighth of them came in. With one it is none, but for what is under way in the very moment
/// in which the kernel takes the new chains.
#[test]
fn two_rulesets_leave_no_gap_between_them() {
    let (tree, root) = tree(GOOD);
    let path = tree.path().join("nix/store/a-nixos/etc/nftables.conf");
    let (came_in, sent) = came_in(30, |machine, number| {
        let ruleset = format!(
            "table inet ours {{ chain input {{ type filter hook input priority 0; udp dport 9 drop comment \"{number}\"; }}; }}\n"
        );
        boot_entries::durable::put_text(&ruleset, &path).unwrap();
        load_from(machine, &root, &config(&[22])).unwrap()
    });
    assert!(came_in * 1000 < sent, "{came_in} of {sent}");
}

/// Their chains drop by their last rule, and not by their policy alone, for which the kernel takes its time.
#[test]
fn rules_leave_no_gap_at_all() {
    let (_tree, root) = tree(GOOD);
    let (came_in, sent) = came_in(60, |machine, number| {
        let text = format!("[firewall]\nenable = true\nallowed-tcp-ports = [{number}]\n");
        let firewall = config::Config::parse(&text).unwrap().firewall;
        load_from(machine, &root, &firewall).unwrap()
    });
    assert_eq!(came_in, 0, "of {sent}");
}
