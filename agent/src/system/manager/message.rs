//! D-Bus messages as bytes: written for calls, read for all else. Pure.
//!
//! Nobody vouches for what is read: every length is checked before anything of that length is made, and what makes no
//! sense is an error.

use serde::{Deserialize, Serialize};
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{LE, to_bytes};
use zbus::{Signature, Type, Variant};

use super::error::Refusal;

/// The part of a message that says how long the rest is.
pub(super) const START: usize = 16;
/// What D-Bus allows: whoever says more is not to be believed.
const LONGEST: usize = 128 * 1024 * 1024;
/// The same of the fields of a header.
const LONGEST_FIELDS: usize = 64 * 1024 * 1024;

/// Why bytes are no message, in half a sentence.
pub(super) type Nonsense = String;

/// A call of a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) path: String,
    pub(super) interface: &'static str,
    pub(super) member: &'static str,
    pub(super) body: Body,
}

/// The arguments of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Body {
    signature: String,
    bytes: Vec<u8>,
}

impl Body {
    /// `arguments` in their order: a tuple, or one that is none.
    pub(super) fn of<T: Serialize + Type>(arguments: &T) -> Result<Self, Nonsense> {
        let written = to_bytes(Context::new(LE, 0), arguments);
        Ok(Self {
            signature: T::SIGNATURE.to_string_no_parens(),
            bytes: written.map_err(|error| error.to_string())?.to_vec(),
        })
    }
}

impl Call {
    /// Appends the call to `out`.
    pub(super) fn write(&self, serial: u32, out: &mut Vec<u8>) -> Result<(), Nonsense> {
        let Self {
            path,
            interface,
            member,
            body,
        } = self;
        let mut fields = Vec::new();
        text_field(&mut fields, 1, b'o', path)?;
        text_field(&mut fields, 2, b's', interface)?;
        text_field(&mut fields, 3, b's', member)?;
        if !body.signature.is_empty() {
            let length = u8::try_from(body.signature.len());
            align(&mut fields);
            fields.extend([8, 1, b'g', 0]);
            fields.push(length.map_err(|error| error.to_string())?);
            fields.extend(body.signature.bytes());
            fields.push(0);
        }
        let begin = out.len();
        // Little endian, a call, of which an answer is wanted, in the first version of the protocol.
        out.extend([b'l', 1, 0, 1]);
        out.extend(length_of(&body.bytes)?);
        out.extend(serial.to_le_bytes());
        out.extend(length_of(&fields)?);
        out.extend(&fields);
        while !(out.len() - begin).is_multiple_of(8) {
            out.push(0);
        }
        out.extend(&body.bytes);
        Ok(())
    }
}

fn text_field(fields: &mut Vec<u8>, code: u8, kind: u8, text: &str) -> Result<(), Nonsense> {
    if text.contains('\0') {
        return Err(format!("{text:?} holds a zero byte"));
    }
    align(fields);
    fields.extend([code, 1, kind, 0]);
    fields.extend(length_of(text.as_bytes())?);
    fields.extend(text.bytes());
    fields.push(0);
    Ok(())
}

/// The fields begin at a multiple of eight, so that their own length tells.
fn align(fields: &mut Vec<u8>) {
    fields.resize(fields.len().next_multiple_of(8), 0);
}

fn length_of(bytes: &[u8]) -> Result<[u8; 4], Nonsense> {
    let length = u32::try_from(bytes.len());
    Ok(length.map_err(|error| error.to_string())?.to_le_bytes())
}

/// How many bytes the message has that begins like this.
///
/// # Errors
/// When no message begins so.
pub(super) fn length(start: &[u8; START]) -> Result<usize, Nonsense> {
    let (fields, body) = lengths(start)?;
    Ok(START + fields.next_multiple_of(8) + body)
}

fn lengths(start: &[u8; START]) -> Result<(usize, usize), Nonsense> {
    let [
        endian,
        kind,
        _,
        version,
        b0,
        b1,
        b2,
        b3,
        _,
        _,
        _,
        _,
        f0,
        f1,
        f2,
        f3,
    ] = *start;
    // Who speaks is on this very machine.
    if endian != b'l' || version != 1 || kind == 0 {
        return Err(format!(
            "a message of byte order {endian}, kind {kind}, version {version}"
        ));
    }
    let long = |bytes| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
    let (body, fields) = (long([b0, b1, b2, b3]), long([f0, f1, f2, f3]));
    if fields > LONGEST_FIELDS || body > LONGEST {
        return Err(format!("a message of {fields} and {body} bytes"));
    }
    Ok((fields, body))
}

/// A message from the other end.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) kind: Kind,
    /// The object it is about.
    pub(super) path: String,
    /// Of a signal.
    pub(super) member: String,
    signature: Signature,
    body: Data<'static, 'static>,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The answer to the call of this serial.
    Reply(u32),
    /// Likewise, a refusal.
    Error(u32),
    /// News.
    Signal,
    /// A call, or what a later version of the protocol has: it is not for us.
    Other,
}

/// Byte order, kind, flags, version, length, serial, fields.
type Head<'a> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Variant<'a>)>);

/// The fields that matter here, by their codes.
const PATH: u8 = 1;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const SIGNATURE: u8 = 8;

impl Incoming {
    /// Reads a whole message.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Nonsense> {
        let start = bytes.first_chunk::<START>().ok_or("a piece of a message")?;
        let (fields, body) = lengths(start)?;
        let end = START + fields;
        let begin = START + fields.next_multiple_of(8);
        let (Some(head), Some(rest)) = (bytes.get(..end), bytes.get(begin..)) else {
            return Err("a piece of a message".to_owned());
        };
        if rest.len() != body {
            return Err(format!("{} bytes where {body} were announced", rest.len()));
        }
        let head = Data::new(head, Context::new(LE, 0));
        let ((_, kind, _, _, _, serial, fields), _): (Head<'_>, usize) =
            head.deserialize().map_err(|error| error.to_string())?;
        if serial == 0 {
            return Err("a message of number 0".to_owned());
        }
        let mut read = Self {
            kind: Kind::Other,
            path: String::new(),
            member: String::new(),
            signature: Signature::Unit,
            body: Data::new(rest.to_vec(), Context::new(LE, 0)),
        };
        let (mut answered, mut error) = (None, None);
        for (code, value) in &fields {
            match (*code, value) {
                (PATH, Variant::ObjectPath(path)) => path.as_str().clone_into(&mut read.path),
                (MEMBER, Variant::Str(name)) => name.as_str().clone_into(&mut read.member),
                (ERROR_NAME, Variant::Str(name)) => error = Some(name.as_str()),
                (REPLY_SERIAL, Variant::U32(serial)) => answered = Some(*serial),
                (SIGNATURE, Variant::Signature(signature)) => read.signature = signature.clone(),
                (PATH | MEMBER | ERROR_NAME | REPLY_SERIAL | SIGNATURE, _) => {
                    return Err(format!("a field {code} that holds something else"));
                }
                _ => {}
            }
        }
        read.kind = match (kind, answered) {
            (2, Some(serial)) => Kind::Reply(serial),
            (3, Some(serial)) => Kind::Error(serial),
            (2 | 3, None) => return Err("an answer to nothing".to_owned()),
            (4, _) => Kind::Signal,
            _ => Kind::Other,
        };
        if let (Kind::Error(_), name) = (read.kind, error) {
            // Of an error, nobody needs the member.
            name.ok_or("an error without a name")?
                .clone_into(&mut read.member);
        }
        Ok(read)
    }

    /// What it says, if it says it in this form.
    pub(super) fn body<'a, T: Deserialize<'a> + Type>(&'a self) -> Result<T, Nonsense> {
        if self.signature != *T::SIGNATURE {
            return Err(format!("{} where {} is due", self.signature, T::SIGNATURE));
        }
        let (body, length) = self
            .body
            .deserialize::<T>()
            .map_err(|error| error.to_string())?;
        if length != self.body.len() {
            return Err(format!("{} bytes too many", self.body.len() - length));
        }
        Ok(body)
    }

    /// The refusal that this error is.
    pub(super) fn refusal(&self) -> Refusal {
        let text = self.body::<&str>().unwrap_or_default();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Refusal {
            name: self.member.clone(),
            text: lines.collect::<Vec<_>>().join("; "),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
