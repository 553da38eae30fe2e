//! Ethernet frames: ARP, and TCP's first and last words.

/// The guest's network card.
pub(super) const GUEST_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const OUR_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x00, 0x00, 0x02];
/// As `tests/guest/root/etc/systemd/network/10-rig.network` says.
const GUEST: [u8; 4] = [10, 0, 2, 15];
const US: [u8; 4] = [10, 0, 2, 2];

const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const TCP: u8 = 6;
/// Of either head: there is nothing else in a packet.
const LENGTH: u8 = 20;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// What the guest says to us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// It wants to know our address.
    WhoHasUs,
    /// It has its own.
    Address,
    /// Nobody listens on this port of its.
    Refused {
        /// The guest's.
        port: u16,
    },
    /// Somebody does.
    Open {
        /// The guest's.
        port: u16,
        /// Ours.
        to: u16,
        /// The number that it expects next.
        number: [u8; 4],
    },
}

/// Asks everybody for the guest's address.
pub(super) fn who_has() -> Vec<u8> {
    arp([0xff; 6], REQUEST, [0; 6])
}

/// Tells the guest ours.
pub(super) fn we_have() -> Vec<u8> {
    arp(GUEST_MAC, REPLY, GUEST_MAC)
}

/// The first packet of a connection.
pub(super) fn syn(from: u16, to: u16) -> Vec<u8> {
    tcp(from, to, [0; 4], SYN)
}

/// The end of one.
pub(super) fn reset(from: u16, to: u16, number: [u8; 4]) -> Vec<u8> {
    tcp(from, to, number, RST)
}

fn arp(to: [u8; 6], operation: u8, target: [u8; 6]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [
        &to[..],
        &OUR_MAC,
        &ARP,
        &head,
        &OUR_MAC,
        &US,
        &target,
        &GUEST,
    ]
    .concat()
}

fn tcp(from: u16, to: u16, number: [u8; 4], flags: u8) -> Vec<u8> {
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    let with = |sum: u16| {
        let rest = [0x50, flags, 0xff, 0xff];
        [
            &ports[..],
            &number,
            &[0; 4],
            &rest,
            &sum.to_be_bytes(),
            &[0; 2],
        ]
        .concat()
    };
    let segment = with(0);
    let pseudo = [&US[..], &GUEST, &[0, TCP, 0, LENGTH]].concat();
    let segment = with(checksum(&[pseudo, segment].concat()));
    let head = |sum: u16| {
        let start = [0x45, 0, 0, 2 * LENGTH, 0, 0, 0x40, 0, 64, TCP];
        [&start[..], &sum.to_be_bytes(), &US, &GUEST].concat()
    };
    let head = head(checksum(&head(0)));
    [&GUEST_MAC[..], &OUR_MAC, &IPV4, &head, &segment].concat()
}

/// The internet's (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(u16::from_be_bytes([high, 0])),
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    loop {
        match u16::try_from(sum) {
            Ok(sum) => return !sum,
            Err(_) => sum = (sum & 0xffff) + (sum >> 16),
        }
    }
}

/// What a frame of the guest says, if it is about what was asked.
pub(super) fn read(frame: &[u8]) -> Option<Frame> {
    let (kind, rest) = frame.get(12..)?.split_first_chunk::<2>()?;
    match *kind {
        ARP => {
            let (operation, from, to) = (*rest.get(7)?, rest.get(14..18)?, rest.get(24..28)?);
            match operation {
                REQUEST if to == US => Some(Frame::WhoHasUs),
                REPLY if from == GUEST => Some(Frame::Address),
                _ => None,
            }
        }
        IPV4 if *rest.get(9)? == TCP && rest.get(12..16)? == GUEST => {
            let length = usize::from(rest.first()? & 0x0f) * 4;
            let segment = rest.get(length..)?;
            let port = u16::from_be_bytes(*segment.first_chunk()?);
            let to = u16::from_be_bytes(*segment.get(2..)?.first_chunk()?);
            let number = *segment.get(8..)?.first_chunk()?;
            let flags = *segment.get(13)?;
            if flags & RST != 0 {
                Some(Frame::Refused { port })
            } else if flags & (SYN | ACK) == SYN | ACK {
                Some(Frame::Open { port, to, number })
            } else {
                None
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sum over what carries its own sum is nothing.
    #[test]
    fn sums_are_right() {
        let frame = syn(20_001, 8080);
        let (head, segment) = frame[14..].split_at(20);
        assert_eq!(checksum(head), 0);
        let pseudo = [&US[..], &GUEST, &[0, TCP, 0, 20]].concat();
        assert_eq!(checksum(&[&pseudo, segment].concat()), 0);
        assert_eq!(checksum(&[0x01, 0x02, 0x03]), !0x0402);
    }

    /// As the guest's kernel would answer: ours with both ends changed.
    fn turned(frame: &[u8], flags: u8) -> Vec<u8> {
        let mut frame = frame.to_vec();
        let ends = [&GUEST[..], &US].concat();
        frame[26..34].copy_from_slice(&ends);
        let ports = [&frame[36..38], &frame[34..36]].concat();
        frame[34..38].copy_from_slice(&ports);
        frame[47] = flags;
        frame
    }

    #[test]
    fn answers_are_told_apart() {
        let asked = syn(20_001, 8080);
        assert_eq!(read(&asked), None, "our own is no answer");
        assert_eq!(
            read(&turned(&asked, RST | ACK)),
            Some(Frame::Refused { port: 8080 })
        );
        let (port, to) = (8080, 20_001);
        assert_eq!(
            read(&turned(&asked, SYN | ACK)),
            Some(Frame::Open {
                port,
                to,
                number: [0; 4]
            })
        );
        assert_eq!(read(&turned(&asked, ACK)), None);
        for length in 0..asked.len() {
            assert_eq!(read(&asked[..length]), None);
        }
        let mut reply = we_have();
        reply[28..32].copy_from_slice(&GUEST);
        assert_eq!(read(&reply), Some(Frame::Address));
        let mut request = who_has();
        request[38..42].copy_from_slice(&US);
        assert_eq!(read(&request), Some(Frame::WhoHasUs));
    }
}
