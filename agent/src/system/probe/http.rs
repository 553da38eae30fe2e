//! A page asked for, over plain HTTP/1.1 and one connection. No redirection is followed: where that leads is another page.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use super::{connect, plain};

/// No more of an answer is read, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// What is asked, and what is expected.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Who is asked.
    pub host: &'a str,
    /// Where they listen.
    pub port: u16,
    /// Who is meant.
    pub authority: &'a str,
    /// What is asked for.
    pub path: &'a str,
    /// The status is one of these. Empty: any from 200 to 299.
    pub status: &'a [u16],
    /// This is in the page's first megabyte.
    pub body: Option<&'a str>,
}

/// Whether the page is answered as expected.
///
/// # Errors
/// Why not.
pub fn http(expected: &Expected<'_>, patience: Duration) -> Result<(), String> {
    let mut stream = connect(expected.host, expected.port, patience)?;
    let (authority, path) = (expected.authority, expected.path);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: lastgood/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut answer = Vec::new();
    let asked = stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.set_write_timeout(Some(patience)))
        .and_then(|()| stream.write_all(request.as_bytes()));
    asked.map_err(|error| plain(&error))?;
    // What came before an error may be all that is needed.
    let read = read_answer(&mut stream.take(LIMIT), &mut answer, expected);
    judge(&answer, expected).map_err(|why| match read {
        Err(error) => format!("{why} ({})", plain(&error)),
        Ok(()) => why,
    })
}

/// Reads until the answer is as expected, or over: a server may keep the connection open all the same.
fn read_answer(
    stream: &mut impl std::io::Read,
    answer: &mut Vec<u8>,
    expected: &Expected<'_>,
) -> std::io::Result<()> {
    let mut piece = [0; 8192];
    loop {
        let length = match stream.read(&mut piece) {
            // A process that was stopped and goes on, and a machine that was asleep (signal(7), sockets with a timeout).
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        if length == 0 {
            return Ok(());
        }
        answer.extend_from_slice(piece.get(..length).unwrap_or_default());
        if is_over(answer) || judge(answer, expected).is_ok() {
            return Ok(());
        }
    }
}

/// Head and body. None: the head is not there yet.
fn parts(answer: &[u8]) -> Option<(String, &[u8])> {
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(answer.get(..at)?).into_owned();
    Some((head, answer.get(at + 4..)?))
}

/// Whether all has come that was announced.
fn is_over(answer: &[u8]) -> bool {
    let Some((head, body)) = parts(answer) else {
        return false;
    };
    let length = header(&head, "content-length").and_then(|length| length.parse::<usize>().ok());
    let is_chunked = header(&head, "transfer-encoding").is_some();
    match length {
        Some(length) if !is_chunked => body.len() >= length,
        _ => is_chunked && chunks(body).1,
    }
}

fn judge(answer: &[u8], expected: &Expected<'_>) -> Result<(), String> {
    let Some((head, body)) = parts(answer) else {
        return Err("no answer in HTTP came".to_owned());
    };
    let first = head.lines().next().unwrap_or_default();
    let mut words = first.split(' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|code| code.parse::<u16>().ok());
    let Some(status) = status.filter(|_| version.starts_with("HTTP/1.")) else {
        return Err("no answer in HTTP came".to_owned());
    };
    let is_expected = if expected.status.is_empty() {
        (200..300).contains(&status)
    } else {
        expected.status.contains(&status)
    };
    if !is_expected {
        let place = header(&head, "location").map_or_else(String::new, |to| format!(" to {to}"));
        return Err(format!("it answered {status}{place}"));
    }
    let Some(wanted) = expected.body else {
        return Ok(());
    };
    let is_chunked = header(&head, "transfer-encoding").is_some();
    let body = if is_chunked {
        chunks(body).0
    } else {
        body.to_vec()
    };
    let wanted_bytes = wanted.as_bytes();
    let is_there = wanted_bytes.is_empty()
        || body
            .windows(wanted_bytes.len())
            .any(|part| part == wanted_bytes);
    if is_there {
        return Ok(());
    }
    Err(format!(
        "it answered {status}, and {wanted:?} is not in the answer"
    ))
}

/// The value of the first header of that name, which is in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What chunks come to, as far as they are there, and whether the last one is among them.
fn chunks(mut body: &[u8]) -> (Vec<u8>, bool) {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = body.get(..end).unwrap_or_default();
        let size = String::from_utf8_lossy(size);
        // What follows a semicolon is an extension.
        let size = size.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else {
            break;
        };
        if size == 0 {
            return (whole, true);
        }
        let rest = body.get(end + 2..).unwrap_or_default();
        let piece = rest.get(..size.min(rest.len())).unwrap_or_default();
        whole.extend_from_slice(piece);
        let Some(next) = size.checked_add(2).and_then(|after| rest.get(after..)) else {
            break;
        };
        body = next;
    }
    (whole, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Is interrupted before each piece, as a socket with a timeout is when its process is stopped and goes on.
    struct Interrupted<'a>(std::slice::Iter<'a, u8>, bool);

    impl std::io::Read for Interrupted<'_> {
        fn read(&mut self, piece: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::Interrupted.into());
            }
            let (Some(place), Some(byte)) = (piece.first_mut(), self.0.next()) else {
                return Ok(0);
            };
            *place = *byte;
            Ok(1)
        }
    }

    #[test]
    fn a_process_that_was_stopped_reads_on() {
        let expected = Expected {
            host: "127.0.0.1",
            port: 80,
            authority: "web.example",
            path: "/",
            status: &[],
            body: Some("well"),
        };
        let mut stream = Interrupted(b"HTTP/1.1 200 OK\r\n\r\nwell".iter(), false);
        let mut answer = Vec::new();
        read_answer(&mut stream, &mut answer, &expected).unwrap();
        assert_eq!(judge(&answer, &expected), Ok(()));
    }
}
