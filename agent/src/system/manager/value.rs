//! What properties hold: plain data, of no library. Pure.

use std::collections::BTreeMap;

use zbus::Variant;

/// What a property holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text; also the path of an object.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// A number that is never negative.
    Number(u64),
    /// A number with a sign.
    Signed(i64),
    /// A number with a fraction.
    Real(f64),
    /// Many of the same type.
    List(Vec<Value>),
    /// Some of different types, in a fixed order.
    Tuple(Vec<Value>),
    /// What has no use here: dictionaries and file descriptors.
    Other,
}

impl From<&Variant<'_>> for Value {
    fn from(variant: &Variant<'_>) -> Self {
        match variant {
            Variant::U8(number) => Self::Number(u64::from(*number)),
            Variant::U16(number) => Self::Number(u64::from(*number)),
            Variant::U32(number) => Self::Number(u64::from(*number)),
            Variant::U64(number) => Self::Number(*number),
            Variant::I16(number) => Self::Signed(i64::from(*number)),
            Variant::I32(number) => Self::Signed(i64::from(*number)),
            Variant::I64(number) => Self::Signed(*number),
            Variant::F64(number) => Self::Real(*number),
            Variant::Bool(flag) => Self::Flag(*flag),
            Variant::Str(text) => Self::Text(text.as_str().to_owned()),
            Variant::ObjectPath(path) => Self::Text(path.as_str().to_owned()),
            Variant::Signature(signature) => Self::Text(signature.to_string()),
            Variant::Variant(inner) => Self::from(&**inner),
            Variant::Array(array) => Self::List(array.inner().iter().map(Self::from).collect()),
            Variant::Structure(structure) => {
                Self::Tuple(structure.fields().iter().map(Self::from).collect())
            }
            Variant::Dict(_) | Variant::Fd(_) => Self::Other,
        }
    }
}

impl Value {
    /// It as a text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// It as a number, if it is one that is not negative.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Its members, if it has some.
    #[must_use]
    pub fn members(&self) -> &[Value] {
        match self {
            Self::List(members) | Self::Tuple(members) => members,
            _ => &[],
        }
    }
}

/// Properties by their names. What systemd does not have, or holds something else than was expected, reads as if it were
/// not there: releases differ, and one property must not cost the rest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Properties(BTreeMap<String, Value>);

impl Properties {
    /// What a property holds. None: this systemd, or this kind of unit, does not have it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A text. Empty if there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Value::text).unwrap_or_default()
    }

    /// A number that is not negative.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(Value::number)
    }

    /// Yes or no.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(Value::Flag(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// A list of names. What is no text in it is left out.
    pub fn names(&self, name: &str) -> impl Iterator<Item = &str> {
        let members = self.get(name).map_or(&[][..], Value::members);
        members.iter().filter_map(Value::text)
    }

    /// Bytes as systemd writes ids: in hexadecimal. Empty if there are none.
    #[must_use]
    pub fn id(&self, name: &str) -> String {
        use std::fmt::Write as _;
        let mut id = String::new();
        for byte in self.get(name).map_or(&[][..], Value::members) {
            if let Some(byte) = byte.number() {
                // Writing into a string does not fail.
                write!(id, "{byte:02x}").unwrap_or_default();
            }
        }
        id
    }

    /// The commands of a property such as `ExecStart`, and how each last ended.
    pub fn commands(&self, name: &str) -> impl Iterator<Item = Command> {
        let members = self.get(name).map_or(&[][..], Value::members);
        members.iter().filter_map(Command::read)
    }

    /// The names of all that are here.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Adds one.
    pub fn insert(&mut self, name: impl Into<String>, value: Value) {
        self.0.insert(name.into(), value);
    }
}

impl<N: Into<String>> FromIterator<(N, Value)> for Properties {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(properties: I) -> Self {
        let named = properties.into_iter();
        Self(named.map(|(name, value)| (name.into(), value)).collect())
    }
}

/// One command of a unit, and how it ended when it last ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program.
    pub program: String,
    /// Its arguments, its own name first.
    pub arguments: Vec<String>,
    /// Its line began with `-`: whatever it says counts as success.
    pub ignored: bool,
    /// The process; 0 if it has not run.
    pub process: u64,
    /// How it ended.
    pub end: End,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It did not run, or still runs.
    Not,
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl End {
    /// From the two numbers that systemd has for it: a `CLD_` code, and a status or signal.
    #[must_use]
    pub fn of(code: u64, status: u64) -> Self {
        let status = i32::try_from(status).unwrap_or(i32::MAX);
        match code {
            1 => Self::Exited(status),
            2 | 3 => Self::Killed(status),
            _ => Self::Not,
        }
    }
}

impl Command {
    /// From `(sasbttttuii)`: program, arguments, whether its failure is ignored, when it started and ended (twice:
    /// by the wall clock and by the monotonic one), process, code, status.
    fn read(value: &Value) -> Option<Self> {
        let [
            program,
            arguments,
            Value::Flag(ignored),
            _,
            _,
            _,
            _,
            process,
            code,
            status,
        ] = value.members()
        else {
            return None;
        };
        let arguments = arguments.members().iter().filter_map(Value::text);
        Some(Self {
            program: program.text()?.to_owned(),
            arguments: arguments.map(str::to_owned).collect(),
            ignored: *ignored,
            process: process.number()?,
            end: End::of(code.number()?, status.number()?),
        })
    }
}
