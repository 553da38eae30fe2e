//! Messages as systemd writes them, and as nobody should.

use proptest::collection::vec;
use proptest::prelude::*;
use zbus::ObjectPath;

use super::*;

/// A message as the other end writes it: of `kind`, with these texts as fields (code, type, text).
pub(in crate::system::manager) fn written<T: Serialize + Type>(
    kind: u8,
    answers: Option<u32>,
    texts: &[(u8, u8, &str)],
    body: &T,
) -> Vec<u8> {
    let body = Body::of(body).unwrap();
    let mut fields = Vec::new();
    if let Some(serial) = answers {
        fields.extend([REPLY_SERIAL, 1, b'u', 0]);
        fields.extend(serial.to_le_bytes());
    }
    for (code, kind, text) in texts {
        text_field(&mut fields, *code, *kind, text).unwrap();
    }
    // As systemd does it on this socket.
    text_field(&mut fields, 7, b's', "org.freedesktop.systemd1").unwrap();
    if !body.signature.is_empty() {
        align(&mut fields);
        fields.extend([
            SIGNATURE,
            1,
            b'g',
            0,
            u8::try_from(body.signature.len()).unwrap(),
        ]);
        fields.extend(body.signature.bytes());
        fields.push(0);
    }
    let mut out = vec![b'l', kind, 1, 1];
    out.extend(length_of(&body.bytes).unwrap());
    out.extend(7_u32.to_le_bytes());
    out.extend(length_of(&fields).unwrap());
    out.extend(fields);
    align(&mut out);
    out.extend(body.bytes);
    out
}

fn read(bytes: &[u8]) -> Result<Incoming, Nonsense> {
    let length = length(bytes.first_chunk().ok_or("short")?)?;
    if length != bytes.len() {
        return Err(format!("{length} announced, {} there", bytes.len()));
    }
    Incoming::read(bytes)
}

#[test]
fn a_call_is_written_as_d_bus_wants_it() {
    let call = Call {
        path: "/org/freedesktop/systemd1".to_owned(),
        interface: "org.freedesktop.systemd1.Manager",
        member: "StartUnit",
        body: Body::of(&("a.service", "replace")).unwrap(),
    };
    let mut out = Vec::new();
    call.write(5, &mut out).unwrap();
    // By hand, from the specification: every field begins at a multiple of eight, and so does the body.
    let mut due = b"l\x01\0\x01\x1c\0\0\0\x05\0\0\0\x78\0\0\0".to_vec();
    due.extend(b"\x01\x01o\0\x19\0\0\0/org/freedesktop/systemd1\0\0\0\0\0\0\0");
    due.extend(b"\x02\x01s\0\x20\0\0\0org.freedesktop.systemd1.Manager\0\0\0\0\0\0\0\0");
    due.extend(b"\x03\x01s\0\x09\0\0\0StartUnit\0\0\0\0\0\0\0");
    due.extend(b"\x08\x01g\0\x02ss\0");
    due.extend(b"\x09\0\0\0a.service\0\0\0\x07\0\0\0replace\0");
    assert_eq!(
        out.escape_ascii().to_string(),
        due.escape_ascii().to_string()
    );
}

#[test]
fn several_calls_in_a_row_are_each_aligned() {
    let call = |member| Call {
        path: "/a".to_owned(),
        interface: "b.c",
        member,
        body: Body::of(&"four").unwrap(),
    };
    let mut out = Vec::new();
    call("One").write(1, &mut out).unwrap();
    let first = out.len();
    assert_ne!(first % 8, 0, "or this proves nothing");
    call("Two").write(2, &mut out).unwrap();
    for (bytes, member) in [(&out[..first], "One"), (&out[first..], "Two")] {
        let call = read(bytes).unwrap();
        assert_eq!((call.kind, call.path.as_str()), (Kind::Other, "/a"));
        assert_eq!(call.member, member);
        assert_eq!(call.body::<&str>(), Ok("four"));
    }
}

#[test]
fn what_cannot_be_sent_is_said() {
    let call = Call {
        path: "/a\0b".to_owned(),
        interface: "b.c",
        member: "One",
        body: Body::default(),
    };
    assert!(call.write(1, &mut Vec::new()).unwrap_err().contains("zero"));
}

#[test]
fn an_answer_a_refusal_and_a_signal_are_told_apart() {
    let job = ObjectPath::try_from("/org/freedesktop/systemd1/job/4").unwrap();
    let reply = read(&written(2, Some(3), &[], &job)).unwrap();
    assert_eq!(reply.kind, Kind::Reply(3));
    assert_eq!(reply.body::<ObjectPath<'_>>(), Ok(job));

    let name = "org.freedesktop.systemd1.NoSuchUnit";
    let said = "Unit a.service\nnot found.";
    let error = read(&written(3, Some(9), &[(ERROR_NAME, b's', name)], &said)).unwrap();
    assert_eq!(error.kind, Kind::Error(9));
    let refusal = error.refusal();
    assert_eq!(refusal.text, "Unit a.service; not found.");
    assert_eq!(refusal.name, name);

    let fields = [
        (PATH, b'o', "/a/b"),
        (2, b's', "c.d"),
        (MEMBER, b's', "News"),
    ];
    let signal = read(&written(4, None, &fields, &(7_u32, "seven"))).unwrap();
    assert_eq!(signal.kind, Kind::Signal);
    assert_eq!(
        (signal.path.as_str(), signal.member.as_str()),
        ("/a/b", "News")
    );
    assert_eq!(signal.body::<(u32, &str)>(), Ok((7, "seven")));
}

#[test]
fn a_kind_that_a_later_d_bus_may_have_is_passed_over() {
    assert_eq!(read(&written(9, None, &[], &())).unwrap().kind, Kind::Other);
}

#[test]
fn nonsense_is_an_error() {
    let good = written(2, Some(3), &[], &"text");
    let with = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        bytes
    };
    assert!(read(&good).is_ok());
    // Byte order, kind, version, a length beyond D-Bus's own, no number.
    for (place, byte) in [
        (0, b'B'),
        (0, 0),
        (1, 0),
        (3, 2),
        (7, 0xff),
        (15, 0xff),
        (8, 0),
    ] {
        assert!(read(&with(place, byte)).is_err(), "byte {place} is {byte}");
    }
    // An answer to nothing, an error without a name, a number where a text is due.
    assert!(read(&written(2, None, &[], &())).is_err());
    assert!(read(&written(3, Some(1), &[], &())).is_err());
    assert!(read(&written(4, None, &[(PATH, b's', "/a")], &())).is_err());
    // Something else than was asked for.
    let answer = read(&good).unwrap();
    assert!(answer.body::<u32>().is_err());
    assert!(answer.body::<(&str, &str)>().is_err());
    assert!(answer.body::<&str>().is_ok());
}

#[test]
fn a_body_with_more_in_it_than_was_announced_is_an_error() {
    let mut bytes = written(2, Some(3), &[], &"text");
    bytes.extend([0; 8]);
    bytes[4] += 8;
    assert!(read(&bytes).unwrap().body::<&str>().is_err());
}

type Row = (u32, String, bool, Vec<String>, i32);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    vec(
        (
            any::<u32>(),
            "[^\0]{0,9}",
            any::<bool>(),
            vec("[^\0]{0,5}", 0..3),
            any::<i32>(),
        ),
        0..4,
    )
}

proptest! {
    #[test]
    fn every_body_comes_back(rows in rows(), serial in 1_u32..) {
        let message = read(&written(2, Some(serial), &[], &rows)).unwrap();
        prop_assert_eq!(message.kind, Kind::Reply(serial));
        prop_assert_eq!(message.body::<Vec<Row>>(), Ok(rows));
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Incoming::read(&bytes) {
            drop(message.body::<Vec<Row>>());
        }
    }

    #[test]
    fn a_damaged_message_is_read_or_refused(
        rows in rows(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let good = written(2, Some(3), &[(MEMBER, b's', "Some")], &(rows, Variant::from("v")));
        let mut bytes = good.clone();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(message) = read(&bytes) {
            drop(message.body::<(Vec<Row>, Variant<'_>)>());
            drop(message.refusal());
            drop(super::super::signal::Signal::read(&message));
        }
        let cut = cut.index(good.len());
        prop_assert!(Incoming::read(&good[..cut]).is_err());
    }
}
