//! Names of units, jobs and errors, as D-Bus has them. Pure.

/// Below it is an object for each unit.
const UNITS: &str = "/org/freedesktop/systemd1/unit/";
/// Below it is an object for each job.
const JOBS: &str = "/org/freedesktop/systemd1/job/";

/// The object of a unit. systemd reads the unit when the object is asked for, so nothing need be loaded before.
///
/// Every name has one: for a name that cannot be a unit's, systemd says that there is no such object.
#[must_use]
pub fn path_of_unit(name: &str) -> String {
    let mut path = String::from(UNITS);
    if name.is_empty() {
        path.push('_');
    }
    for (place, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphabetic() || (place > 0 && byte.is_ascii_digit());
        if plain {
            path.push(char::from(byte));
        } else {
            path.push('_');
            path.push(hexadecimal(byte >> 4));
            path.push(hexadecimal(byte & 0xf));
        }
    }
    path
}

/// The unit of an object. None: it is no unit's.
#[must_use]
pub fn unit_of_path(path: &str) -> Option<String> {
    let escaped = path.strip_prefix(UNITS)?;
    if escaped == "_" {
        return Some(String::new());
    }
    let mut name = Vec::new();
    let mut bytes = escaped.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'_' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            name.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            name.push(byte);
        }
    }
    String::from_utf8(name).ok()
}

/// The number of a job, from its object.
#[must_use]
pub fn job_of_path(path: &str) -> Option<u32> {
    path.strip_prefix(JOBS)?.parse().ok()
}

/// The interface of what only units of this kind have, by the name's suffix. None: no unit is called so.
#[must_use]
pub fn interface_of_kind(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "service" => "org.freedesktop.systemd1.Service",
        "socket" => "org.freedesktop.systemd1.Socket",
        "target" => "org.freedesktop.systemd1.Target",
        "device" => "org.freedesktop.systemd1.Device",
        "mount" => "org.freedesktop.systemd1.Mount",
        "automount" => "org.freedesktop.systemd1.Automount",
        "swap" => "org.freedesktop.systemd1.Swap",
        "timer" => "org.freedesktop.systemd1.Timer",
        "path" => "org.freedesktop.systemd1.Path",
        "slice" => "org.freedesktop.systemd1.Slice",
        "scope" => "org.freedesktop.systemd1.Scope",
        _ => return None,
    })
}

fn hexadecimal(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_becomes_the_object_that_systemd_gives_it() {
        // As `busctl tree org.freedesktop.systemd1` has them.
        let known = [
            ("nginx.service", "nginx_2eservice"),
            ("dev-ttyS0.device", "dev_2dttyS0_2edevice"),
            ("-.mount", "_2d_2emount"),
            ("9p.service", "_39p_2eservice"),
            (r"dev-x\x2dy.swap", "dev_2dx_5cx2dy_2eswap"),
            ("", "_"),
        ];
        for (name, escaped) in known {
            assert_eq!(path_of_unit(name), format!("{UNITS}{escaped}"));
            assert_eq!(unit_of_path(&path_of_unit(name)).as_deref(), Some(name));
        }
        assert_eq!(unit_of_path("/org/freedesktop/systemd1"), None);
        assert_eq!(unit_of_path(&format!("{UNITS}a_2")), None);
        assert_eq!(job_of_path("/org/freedesktop/systemd1/job/74"), Some(74));
        assert_eq!(job_of_path("/"), None);
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in ".{0,20}") {
            let path = path_of_unit(&name);
            prop_assert!(path.bytes().skip(UNITS.len()).all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()));
            prop_assert_eq!(unit_of_path(&path), Some(name));
        }
    }
}
