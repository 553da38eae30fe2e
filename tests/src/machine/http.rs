//! Just enough HTTP to fetch one page, and who greets on a port.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Fetches `/` from a port of this host. `None` when nothing at all comes back within `patience`.
pub(super) fn get(port: u16, patience: Duration) -> Result<Option<String>> {
    exchange(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?, patience)
}

/// The first line that whoever listens on a port of this host says by itself. `None` when nothing comes within `patience`.
pub(super) fn greeting(port: u16, patience: Duration) -> Result<Option<String>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = String::new();
    match BufReader::new(stream).read_line(&mut line) {
        Err(error) if !is_silence(error.kind()) => Err(error).context("cannot listen"),
        _ => Ok((!line.is_empty()).then(|| line.trim().to_owned())),
    }
}

/// Fetches `/` over a connection that is there. `None` when nothing at all comes back within `patience`.
pub(crate) fn exchange(mut stream: TcpStream, patience: Duration) -> Result<Option<String>> {
    let deadline = Instant::now() + patience;
    let mut answer = Vec::new();
    let exchange = stream
        .write_all(b"GET / HTTP/1.0\r\nHost: rig\r\n\r\n")
        .and_then(|()| read_until(&mut stream, deadline, &mut answer));
    let is_cut_short = exchange.is_err();
    match exchange {
        Err(error) if !is_silence(error.kind()) => {
            return Err(error).context("cannot talk to the server");
        }
        _ if answer.is_empty() => return Ok(None),
        _ => {}
    }
    let answer = String::from_utf8_lossy(&answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        ensure!(is_cut_short, "the answer is not HTTP");
        return Ok(None);
    };
    let status = head.split_whitespace().nth(1);
    ensure!(
        status == Some("200"),
        "the page cannot be had: {}",
        head.lines().next().unwrap_or_default()
    );
    Ok(Some(body.to_owned()))
}

fn read_until(
    stream: &mut TcpStream,
    deadline: Instant,
    answer: &mut Vec<u8>,
) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut buffer) {
            // A whole machine that was stopped and goes on (signal(7), sockets with a timeout).
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) => return Ok(()),
            Ok(count) => answer.extend(buffer.iter().take(count)),
            Err(error) => return Err(error),
        }
    }
}

/// What a connection that leads nowhere looks like.
fn is_silence(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn serve(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 100]).unwrap() > 0);
            stream.write_all(answer).unwrap();
        });
        port
    }

    #[test]
    fn a_page_is_its_body() {
        let port = serve(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\ngeneration two\n");
        assert_eq!(
            get(port, Duration::from_secs(5)).unwrap().unwrap(),
            "generation two\n"
        );
    }

    #[test]
    fn no_answer_is_none_and_a_bad_answer_an_error() {
        assert_eq!(get(serve(b""), Duration::from_secs(5)).unwrap(), None);
        assert!(get(serve(b"HTTP/1.1 500 No\r\n\r\n"), Duration::from_secs(5)).is_err());
    }
}
