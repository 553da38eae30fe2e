//! What is taken, and what is refused with its place.

use super::*;
use crate::config::Config;

fn checks(text: &str) -> Checks {
    Config::parse(text).unwrap().health.checks
}

fn only(text: &str) -> Check {
    let mut all = checks(&format!("[health.checks.it]\n{text}\n"));
    all.pop_first().unwrap().1.into_inner()
}

#[test]
fn each_kind_is_taken() {
    let address = |host: &str, port| Address {
        host: host.to_owned(),
        port,
    };
    let url = |host: &str, port, authority: &str, path: &str| Url {
        address: address(host, port),
        authority: authority.to_owned(),
        path: path.to_owned(),
    };
    let http = |url| Kind::Http {
        url,
        status: Vec::new(),
        body: None,
    };
    let room = |at_least| Kind::FreeSpace {
        path: "/var".into(),
        at_least,
    };
    for (text, kind) in [
        (
            "exec = [\"bin/check\", \"-x\", \"$A\"]\nuser = \"nobody\"",
            Kind::Exec {
                words: ["bin/check", "-x", "$A"].map(str::to_owned).into(),
                user: Some("nobody".to_owned()),
            },
        ),
        (
            "tcp = \"127.0.0.1:22\"",
            Kind::Tcp(address("127.0.0.1", 22)),
        ),
        ("tcp = \"[::1]:22\"", Kind::Tcp(address("::1", 22))),
        (
            "http = \"http://a.example:8080/x?y#z\"\nstatus = [200, 204]\nbody = \"ok\"",
            Kind::Http {
                url: url("a.example", 8080, "a.example:8080", "/x?y"),
                status: vec![200, 204],
                body: Some("ok".to_owned()),
            },
        ),
        ("http = \"http://a\"", http(url("a", 80, "a", "/"))),
        ("http = \"http://a?q\"", http(url("a", 80, "a", "/?q"))),
        (
            "http = \"http://[::1]/\"",
            http(url("::1", 80, "[::1]", "/")),
        ),
        ("unit = \"nginx\"", Kind::Unit("nginx.service".to_owned())),
        ("default-route = \"ipv4\"", Kind::DefaultRoute(Family::Ipv4)),
        ("default-route = \"any\"", Kind::DefaultRoute(Family::Any)),
        (
            "resolve = \"a.example\"",
            Kind::Resolve("a.example".to_owned()),
        ),
        (
            "mount = \"/srv/\"\nwritable = true",
            Kind::Mount {
                path: "/srv".into(),
                writable: true,
            },
        ),
        (
            "free-space = \"/var\"\nat-least = \"10%\"",
            room(Room::Percent(10)),
        ),
        (
            "free-space = \"/var\"\nat-least = \"2G\"",
            room(Room::Bytes(2 << 30)),
        ),
        ("free-space = \"/var\"\nat-least = 7", room(Room::Bytes(7))),
        ("time-sync = true", Kind::TimeSync),
    ] {
        assert_eq!(only(text).kind, kind, "{text}");
    }
}

#[test]
fn what_is_not_said_of_a_check() {
    let check = only("unit = \"a\"");
    assert_eq!((check.wanted, check.retries), (false, None));
    assert_eq!(check.interval, Duration::from_secs(5));
    assert_eq!(check.start_delay, Duration::ZERO);
    assert_eq!(check.timeout, Duration::from_secs(10));
    let said = only(
        "unit = \"a\"\nwanted = true\nretries = 0\ninterval-sec = 1\nstart-delay-sec = 3\ntimeout-sec = 4",
    );
    assert_eq!((said.wanted, said.retries), (true, Some(0)));
    assert_eq!(said.interval, Duration::from_secs(1));
    assert_eq!(said.start_delay, Duration::from_secs(3));
    assert_eq!(said.timeout, Duration::from_secs(4));
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table: each line is a case")]
fn what_makes_no_sense_is_refused_with_its_place() {
    for (text, line, column, why) in [
        (
            "[health.checks.a]\npython = 1",
            2,
            1,
            "unknown key `python`: there are exec, tcp",
        ),
        (
            "[health.checks.a]\nexce = [\"x\"]",
            2,
            1,
            "unknown key `exce`: did you mean `exec`?",
        ),
        (
            "[health.checks.a]\nwanted = true",
            1,
            1,
            "does not say what is checked: say one of exec",
        ),
        (
            "[health.checks.a]\ntcp = \"a:1\"\nunit = \"b\"",
            1,
            1,
            "says more than one thing to check, tcp and unit: make a check of each",
        ),
        (
            "[health.checks.\"\"]\nunit = \"a\"",
            1,
            16,
            "\"\" is no name of a check",
        ),
        (
            "[health.checks.\"A b\"]\nunit = \"a\"",
            1,
            16,
            "\"A b\" is no name of a check",
        ),
        (
            "[health.checks.a]\nunit = \"a\"\n[health.checks.a]\nunit = \"b\"",
            3,
            16,
            "duplicate key",
        ),
        ("[health.checks.a]\nexec = []", 1, 1, "names no program"),
        ("[health.checks.a]\nexec = \"true\"", 2, 8, "invalid type"),
        ("[health.checks.a]\nexec = [\"../x\"]", 1, 1, "`..`"),
        (
            "[health.checks.a]\nexec = [\"x\"]\nuser = \"a b\"",
            1,
            1,
            "no name of a user",
        ),
        (
            "[health.checks.a]\ntcp = \"a:70000\"",
            2,
            7,
            "\"70000\" is no port: there are 1 to 65535",
        ),
        ("[health.checks.a]\ntcp = \"a:0\"", 2, 7, "is no port"),
        (
            "[health.checks.a]\ntcp = \"a\"",
            2,
            7,
            "has no port: say HOST:PORT",
        ),
        (
            "[health.checks.a]\ntcp = \"::1:80\"",
            2,
            7,
            "stands in brackets",
        ),
        (
            "[health.checks.a]\ntcp = \"[::g]:80\"",
            2,
            7,
            "is no IPv6 address",
        ),
        (
            "[health.checks.a]\nhttp = \"ftp://a/\"",
            2,
            8,
            "does not begin with http://",
        ),
        (
            "[health.checks.a]\nhttp = \"https://a/\"",
            2,
            8,
            "for https say exec = [\"curl\"",
        ),
        (
            "[health.checks.a]\nhttp = \"http:///x\"",
            2,
            8,
            "is no name of a host",
        ),
        (
            "[health.checks.a]\nhttp = \"http://a/x y\"",
            2,
            8,
            "write it as %XX",
        ),
        (
            "[health.checks.a]\nhttp = \"http://a:b/\"",
            2,
            8,
            "\"b\" is no port",
        ),
        (
            "[health.checks.a]\nhttp = \"http://u:p@a/\"",
            2,
            8,
            "has a user in it",
        ),
        (
            "[health.checks.a]\nhttp = \"http://a/\"\nstatus = [99]",
            1,
            1,
            "HTTP has 100 to 599",
        ),
        (
            "[health.checks.a]\ntcp = \"a:1\"\nstatus = [200]",
            1,
            1,
            "`status` belongs to `http`, not to `tcp`",
        ),
        (
            "[health.checks.a]\nunit = \"a b\"",
            1,
            1,
            "is no name of a unit",
        ),
        (
            "[health.checks.a]\ndefault-route = \"ipv5\"",
            2,
            17,
            "unknown variant `ipv5`",
        ),
        (
            "[health.checks.a]\nresolve = \"a b\"",
            1,
            1,
            "is no name of a host",
        ),
        (
            "[health.checks.a]\nmount = \"srv\"",
            2,
            9,
            "must be an absolute path",
        ),
        (
            "[health.checks.a]\nfree-space = \"var\"\nat-least = 1",
            2,
            14,
            "must be an absolute path",
        ),
        (
            "[health.checks.a]\nfree-space = \"/var\"",
            1,
            1,
            "needs `at-least` beside it",
        ),
        (
            "[health.checks.a]\nfree-space = \"/var\"\nat-least = \"101%\"",
            3,
            12,
            "is no amount of room",
        ),
        (
            "[health.checks.a]\nfree-space = \"/var\"\nat-least = \"2Q\"",
            3,
            12,
            "is no amount of room",
        ),
        (
            "[health.checks.a]\ntime-sync = false",
            1,
            1,
            "checks nothing",
        ),
        (
            "[health.checks.a]\nunit = \"a\"\ntimeout-sec = 0",
            3,
            15,
            "between 1 and 800",
        ),
        (
            "[health.checks.a]\nunit = \"a\"\nretries = -1",
            3,
            11,
            "u64",
        ),
        (
            "[health.checks.a]\nunit = \"a\"\nretries = 1001",
            3,
            11,
            "between 0 and 1000",
        ),
        (
            "[health.checks.a]\nunit = \"a\"\nstart-delay-sec = 801",
            3,
            19,
            "between 0 and 800",
        ),
        (
            "[health]\ndeadline-sec = 20\n[health.checks.a]\nunit = \"a\"\ntimeout-sec = 21",
            3,
            1,
            "check `a` may take 21 s (`start-delay-sec` and `timeout-sec`), and the assessment ends after 20 s (`deadline-sec`)",
        ),
        (
            "[health.checks.a]\nunit = \"a\"\nstart-delay-sec = 299\ntimeout-sec = 2",
            1,
            1,
            "check `a` may take 301 s",
        ),
    ] {
        let mistake = Config::parse(text).unwrap_err();
        assert!(mistake.message.contains(why), "{text}: {mistake}");
        assert_eq!(
            (mistake.line, mistake.column),
            (line, column),
            "{text}: {mistake}"
        );
    }
}

#[test]
fn room_is_shown_as_it_is_written() {
    for text in ["10%", "2G", "500M", "3T", "1K", "7 bytes", "0 bytes"] {
        let written = text.trim_end_matches(" bytes");
        let written = if written == text {
            format!("\"{text}\"")
        } else {
            written.to_owned()
        };
        let Kind::FreeSpace { at_least, .. } =
            only(&format!("free-space = \"/\"\nat-least = {written}")).kind
        else {
            panic!("{text}")
        };
        assert_eq!(at_least.to_string(), text);
    }
}
