//! With real sessions over a cable between two machines, which are network namespaces.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::super::tests::{Cable, Namespace, config as ports, load_in};
use super::super::{Outcome, config};
use super::*;

/// Nothing is open, but for sessions that connection tracking knows.
const SESSIONS_ONLY: &str = "table inet ours { chain input {
    type filter hook input priority 0; policy drop;
    ct state established accept
    ct state invalid counter
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
}; }
";

/// How long no answer means that there is none: the first bytes are sent again after 200 ms, and then later and later.
const SILENCE: Duration = Duration::from_secs(2);

/// The two ends of a session: the machine's, and the world's.
type Ends = (TcpStream, TcpStream);

impl Cable {
    /// Two that talk already, one having called the other at `address`.
    fn session(client: &Namespace, server: &Namespace, address: &str) -> (TcpStream, TcpStream) {
        let listener = server.within(|| TcpListener::bind(address).unwrap());
        let at = listener.local_addr().unwrap();
        let theirs = client.within(|| TcpStream::connect(at).unwrap());
        let (ours, _) = listener.accept().unwrap();
        for end in [&ours, &theirs] {
            end.set_read_timeout(Some(SILENCE)).unwrap();
        }
        (ours, theirs)
    }

    fn inbound(&self, address: &str) -> Ends {
        Self::session(&self.world, &self.machine, address)
    }

    fn outbound(&self, address: &str) -> Ends {
        let (theirs, ours) = Self::session(&self.machine, &self.world, address);
        (ours, theirs)
    }

    fn load(&self, ruleset: &str) -> Outcome {
        load_in(&self.machine, ruleset, &ports(&[22])).unwrap()
    }

    fn tracked(&self) -> usize {
        self.machine
            .sh("cat /proc/sys/net/netfilter/nf_conntrack_count")
            .trim()
            .parse()
            .unwrap()
    }
}

/// Whether the machine hears the world, which speaks first.
fn is_heard((ours, theirs): &mut Ends) -> bool {
    theirs.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    match ours.read_exact(&mut heard) {
        Ok(()) => heard == *b"hello",
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
            false
        }
    }
}

const MUCH: usize = 4 << 20;

/// How much of it arrives.
fn transferred(mut from: &TcpStream, mut to: &TcpStream) -> usize {
    from.set_write_timeout(Some(SILENCE)).unwrap();
    std::thread::scope(|scope| {
        // What does not arrive is counted at the other end.
        scope.spawn(move || drop(from.write_all(&vec![0; MUCH])));
        let mut arrived = 0;
        let mut buffer = vec![0; 1 << 16];
        while arrived < MUCH {
            match to.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => arrived += count,
            }
        }
        arrived
    })
}

#[test]
fn idle_sessions_survive_a_first_load() {
    let cable = Cable::new();
    // Whoever listens on [::] serves IPv4 as well. The address is bound, so that the client knows where to go.
    let mut all = vec![
        cable.inbound("192.0.2.1:8080"),
        cable.inbound("[2001:db8::1]:8080"),
        cable.outbound("192.0.2.2:8080"),
        cable.outbound("[2001:db8::2]:8080"),
    ];
    let listener = cable
        .machine
        .within(|| TcpListener::bind("[::]:8081").unwrap());
    // More than are told at once.
    for _ in 0..3 * AT_ONCE {
        let theirs = cable
            .world
            .within(|| TcpStream::connect("192.0.2.1:8081").unwrap());
        let (ours, _) = listener.accept().unwrap();
        ours.set_read_timeout(Some(SILENCE)).unwrap();
        all.push((ours, theirs));
    }
    assert_eq!(cable.tracked(), 0);
    let outcome = cable.load(SESSIONS_ONLY);
    assert!(matches!(outcome, Outcome::Loaded(_)), "{outcome:?}");
    assert_eq!(cable.tracked(), all.len());
    for ends in &mut all {
        assert!(is_heard(ends), "{ends:?}");
    }
    // Far more than a window that nobody has scaled.
    for (ours, theirs) in &all[..4] {
        assert_eq!(transferred(ours, theirs), MUCH);
        assert_eq!(transferred(theirs, ours), MUCH);
    }
    let listing = cable.machine.sh("nft list ruleset");
    assert!(
        listing.contains("ct state invalid counter packets 0 "),
        "{listing}"
    );
    // The firewall is there all the same.
    let new = cable
        .world
        .within(|| TcpStream::connect_timeout(&"192.0.2.1:8081".parse().unwrap(), SILENCE));
    assert_eq!(new.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[test]
fn new_sessions_have_room_beside_those_that_are_told() {
    let cable = Cable::new();
    let all: Vec<Ends> = (0..2 * AT_ONCE)
        .map(|_| cable.outbound("192.0.2.2:0"))
        .collect();
    let told = cable.machine.within(|| tell(|| Ok(1))).unwrap();
    assert_eq!(
        told,
        Told {
            known: AT_ONCE,
            left: all.len() - AT_ONCE
        }
    );
    assert_eq!(cable.tracked(), AT_ONCE);
    // It is in use now.
    let told = cable.machine.within(|| tell(room)).unwrap();
    assert_eq!(told, Told::default());
    let limit: usize = cable
        .machine
        .sh(&format!("cat {LIMIT_OF_TRACKED}"))
        .trim()
        .parse()
        .unwrap();
    assert_eq!(room().unwrap(), MOST.min(limit / 2));
}

/// A session that one end has closed still is one of the other end.
#[test]
fn half_a_session_survives_too() {
    let cable = Cable::new();
    let mut ends = cable.inbound("192.0.2.1:8080");
    ends.0.shutdown(std::net::Shutdown::Write).unwrap();
    let _loaded = cable.load(SESSIONS_ONLY);
    assert!(is_heard(&mut ends));
}

/// A machine that is closed is closed to those who come, and not to those who are there.
#[test]
fn idle_sessions_survive_a_lockdown() {
    let cable = Cable::new();
    let mut ends = cable.inbound("192.0.2.1:8080");
    let nowhere = config::Firewall::of_ruleset("etc/other.conf".into(), vec![22]);
    let outcome = load_in(&cable.machine, SESSIONS_ONLY, &nowhere).unwrap();
    assert!(matches!(outcome, Outcome::Closed(_)), "{outcome:?}");
    assert!(is_heard(&mut ends));
}

/// Somebody may have taken a session from connection tracking to end it.
#[test]
fn what_it_was_made_to_forget_stays_forgotten() {
    let cable = Cable::new();
    cable.machine.sh("nft 'table ip theirs { chain x { type filter hook input priority 0; ct state new counter; }; }'");
    let mut known = cable.inbound("192.0.2.1:8080");
    let mut forgotten = cable.inbound("192.0.2.1:8081");
    assert_eq!(cable.tracked(), 2);
    let (client, server) = (
        forgotten.1.local_addr().unwrap(),
        forgotten.0.local_addr().unwrap(),
    );
    cable.machine.within(|| {
        // `IPCTNL_MSG_CT_DELETE`
        let delete = message(
            NEW_SESSION | 2,
            ACKNOWLEDGED,
            2,
            0,
            &tuple(1, &client, &server),
        );
        Netlink::open()
            .unwrap()
            .ask(&delete, 1, |answer| answer)
            .unwrap();
    });
    let _loaded = cable.load(SESSIONS_ONLY);
    assert!(is_heard(&mut known));
    assert!(!is_heard(&mut forgotten));
}

/// Lines of a real machine, little-endian.
#[test]
fn sockets_are_read() {
    let texts = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0F02000A:0016 0202000A:8E54 01 00000000:00000000 02:000A7E3C 00000000     0        0 2 2 0 20 4 1 10 -1
   2: 0F02000A:9C40 01020304:01BB 08 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 1 10 -1
   3: 0F02000A:9C41 01020304:01BB 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0
   4: 0F02000A:9C42 01020304:01BB 02 00000000:00000000 01:00000000 00000000     0        0 0 3 0
   5: 0100007F:0016 0100007F:D000 01 x
   6: 0100007F:D000 0100007F:0016 01 x
   7: 0100007F 0100007F:0016 01
   8: ZZ00007F:0001 0100007F:0016 01
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0
   1: 0000000000000000FFFF00000F02000A:1F90 0000000000000000FFFF00000202000A:8E55 01 0
   2: B80D0120000000000000000001000000:1F90 B80D0120000000000000000002000000:8E56 04 0
   3: B80D01200000000000000000:1F90 B80D0120000000000000000002000000:8E56 01 0
";
    let session = |client: &str, server: &str| Session {
        client: client.parse().unwrap(),
        server: server.parse().unwrap(),
    };
    let found: Vec<Session> = sessions(texts).into_iter().collect();
    assert_eq!(
        found,
        [
            session("10.0.2.2:36436", "10.0.2.15:22"),
            session("10.0.2.2:36437", "10.0.2.15:8080"),
            session("10.0.2.15:40000", "4.3.2.1:443"),
            session("127.0.0.1:53248", "127.0.0.1:22"),
            session("[2001:db8::2]:36438", "[2001:db8::1]:8080"),
        ]
    );
}
