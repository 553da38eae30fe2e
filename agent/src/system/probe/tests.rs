//! The probes against real listeners and the kernel's own texts.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;

const SOON: Duration = Duration::from_secs(5);

/// Answers one connection with `answer`, and gives what was asked. It hangs up only if `closes`.
fn serve(answer: &'static [u8], closes: bool) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut piece = [0; 512];
        while !asked.ends_with(b"\r\n\r\n") {
            let length = stream.read(&mut piece).unwrap();
            asked.extend_from_slice(&piece[..length]);
        }
        // Byte by byte: an answer may come in any pieces.
        for byte in answer {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
        }
        if !closes {
            // Until the other side has seen enough.
            drop(stream.read(&mut piece));
        }
        String::from_utf8(asked).unwrap()
    });
    (port, served)
}

fn asked(
    answer: &'static [u8],
    closes: bool,
    status: &[u16],
    body: Option<&str>,
) -> (Result<(), String>, String) {
    let (port, served) = serve(answer, closes);
    let expected = Expected {
        host: "127.0.0.1",
        port,
        authority: "web.example",
        path: "/health?x=1",
        status,
        body,
    };
    let told = http(&expected, SOON);
    (told, served.join().unwrap())
}

#[test]
fn a_page_is_asked_for_by_its_name_and_in_one_connection() {
    let (told, asked) = asked(b"HTTP/1.1 204 No Content\r\n\r\n", true, &[], None);
    assert_eq!(told, Ok(()));
    assert!(
        asked.starts_with("GET /health?x=1 HTTP/1.1\r\nHost: web.example\r\n"),
        "{asked}"
    );
    assert!(asked.contains("\r\nConnection: close\r\n"), "{asked}");
}

#[test]
fn what_a_page_must_be_like() {
    let ok: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nall ok\n";
    let chunked: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nall o\r\n2\r\nk\n\r\n0\r\n\r\n";
    let moved: &[u8] =
        b"HTTP/1.1 301 Moved\r\nLocation: https://web.example/\r\nContent-Length: 0\r\n\r\n";
    for (answer, closes, status, body, why) in [
        (ok, true, &[][..], None, ""),
        (ok, true, &[][..], Some("all ok"), ""),
        // It keeps the connection open.
        (ok, false, &[][..], Some("all ok"), ""),
        (
            ok,
            false,
            &[][..],
            Some("not"),
            "it answered 200, and \"not\" is not in the answer",
        ),
        (ok, true, &[204, 500][..], None, "it answered 200"),
        // The text lies over the border of two chunks.
        (chunked, false, &[][..], Some("all ok"), ""),
        (
            chunked,
            false,
            &[][..],
            Some("o\r\n"),
            "is not in the answer",
        ),
        (
            moved,
            true,
            &[][..],
            None,
            "it answered 301 to https://web.example/",
        ),
        (moved, true, &[301][..], None, ""),
        (
            b"HTTP/1.1 500 Oh\r\n\r\n",
            true,
            &[][..],
            None,
            "it answered 500",
        ),
        (b"HTTP/1.1 500 Oh\r\n\r\n", true, &[500][..], None, ""),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            true,
            &[][..],
            None,
            "no answer in HTTP came",
        ),
        (
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            true,
            &[][..],
            None,
            "no answer in HTTP came",
        ),
        (b"", true, &[][..], None, "no answer in HTTP came"),
    ] {
        let told = asked(answer, closes, status, body).0;
        let words = told.err().unwrap_or_default();
        assert_eq!(words.is_empty(), why.is_empty(), "{answer:?} {words}");
        assert!(words.contains(why), "{answer:?} {words}");
    }
}

#[test]
fn nobody_who_listens_is_told_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(tcp("127.0.0.1", port, SOON), Ok(()));
    assert_eq!(tcp("localhost", port, SOON), Ok(()));
    drop(listener);
    let told = tcp("127.0.0.1", port, SOON).unwrap_err();
    assert_eq!(told, format!("127.0.0.1:{port}: Connection refused"));
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let expected = Expected {
        host: "127.0.0.1",
        port: listener.local_addr().unwrap().port(),
        authority: "x",
        path: "/",
        status: &[],
        body: None,
    };
    let told = http(&expected, Duration::from_millis(50)).unwrap_err();
    assert!(told.starts_with("no answer in HTTP came ("), "{told}");
}

#[test]
fn a_name_has_an_address_or_not() {
    assert_eq!(resolve("localhost"), Ok(()));
    assert_eq!(resolve("127.0.0.1"), Ok(()));
    // Reserved for this by RFC 6761.
    let told = resolve("no-such-host.invalid").unwrap_err();
    assert!(told.starts_with("no-such-host.invalid: "), "{told}");
}

#[test]
fn a_default_route_is_up_and_refuses_nobody() {
    let header =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
    for (rows, is_there) in [
        ("", false),
        (
            "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
            true,
        ),
        // Not up, refused, a network, half of the internet.
        (
            "eth0\t00000000\t0100000A\t0002\t0\t0\t0\t00000000\t0\t0\t0\n",
            false,
        ),
        (
            "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n",
            false,
        ),
        (
            "eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
            false,
        ),
        (
            "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n",
            false,
        ),
    ] {
        let table = format!("{header}{rows}");
        assert_eq!(
            route::has_default(Protocol::Ipv4, &table),
            is_there,
            "{rows}"
        );
    }
    let zero = "0".repeat(32);
    let row = |to: &str, prefix: &str, flags: &str, interface: &str| {
        format!(
            "{to} {prefix} {zero} 00 {zero} 00000400 00000001 00000000 {flags}     {interface}\n"
        )
    };
    for (row, is_there) in [
        (row(&zero, "00", "00000003", "eth0"), true),
        (row(&zero, "00", "00200200", "lo"), false),
        (row(&zero, "00", "00000203", "eth0"), false),
        (row(&zero, "01", "00000003", "eth0"), false),
        (
            row("fe800000000000000000000000000000", "40", "00000001", "eth0"),
            false,
        ),
    ] {
        assert_eq!(route::has_default(Protocol::Ipv6, &row), is_there, "{row}");
    }
}

#[test]
fn what_is_mounted_is_found_by_its_whole_path() {
    assert_eq!(mount(Path::new("/proc"), false), Ok(()));
    let none = tempfile::tempdir().unwrap();
    let told = mount(none.path(), true).unwrap_err();
    assert_eq!(
        told,
        format!("nothing is mounted at {}", none.path().display())
    );
}

#[test]
fn room_is_less_than_the_whole() {
    let (free, all) = room(Path::new("/")).unwrap();
    assert!(0 < free && free < all, "{free} of {all}");
    let told = room(Path::new("/no/such/place")).unwrap_err();
    assert_eq!(
        told,
        "cannot look at /no/such/place: No such file or directory"
    );
}
