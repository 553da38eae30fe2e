//! What the kernel, udev and the firmware say of a machine, in a directory.

use std::os::unix::fs::symlink;

use super::super::*;

pub(super) const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
pub(super) const XBOOTLDR_TYPE: &str = "BC13C2FF-59E6-4262-A352-B275FD6F7172";

/// A machine with nothing but what is looked at: `/proc`, `/sys`, `/run` and `/dev` in a directory.
pub(super) struct Fake(tempfile::TempDir);

impl Fake {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::durable::put_text(text, &path).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !path.is_symlink() {
            symlink(target, path).unwrap();
        }
    }

    /// The device `number`, described by the kernel at `at` below `/sys/devices`.
    fn device(&self, number: &str, at: &str) {
        let name = at.rsplit('/').next().unwrap();
        self.put(&format!("sys/devices/{at}/dev"), &format!("{number}\n"));
        self.link(
            &format!("sys/dev/block/{number}"),
            &format!("../../devices/{at}"),
        );
        self.link(
            &format!("sys/class/block/{name}"),
            &format!("../../devices/{at}"),
        );
    }

    /// A partition of this type, as udev sees it: `8:1` is the first on disk `d8`.
    pub(super) fn partition(&self, number: &str, kind: &str) {
        let (disk, index) = number.split_once(':').unwrap();
        let name = format!("d{disk}p{index}");
        self.device(number, &format!("d{disk}/{name}"));
        self.put(&format!("sys/devices/d{disk}/{name}/partition"), index);
        let uuid = uuid(number);
        let record = format!("S:x\nE:ID_PART_ENTRY_TYPE={kind}\nE:ID_PART_ENTRY_UUID={uuid}\n");
        self.put(&format!("run/udev/data/b{number}"), &record);
        self.link(
            &format!("dev/disk/by-partuuid/{uuid}"),
            &format!("../../{name}"),
        );
    }

    /// A RAID of these.
    pub(super) fn raid(&self, number: &str, name: &str, members: &[&str]) {
        self.device(number, &format!("virtual/{name}"));
        for member in members {
            let (disk, index) = member.split_once(':').unwrap();
            let member = format!("d{disk}p{index}");
            let target = format!("../../../d{disk}/{member}");
            self.link(
                &format!("sys/devices/virtual/{name}/slaves/{member}"),
                &target,
            );
        }
    }

    /// PID 1 sees another `/`.
    pub(super) fn in_a_chroot(&self) {
        self.put("installer/etc/os-release", "ID=nixos\n");
        self.link("proc/1/root", "../../installer");
    }

    /// One more mount, in bytes.
    pub(super) fn mounted_as_well(&self, line: &[u8]) {
        let path = self.0.path().join("proc/self/mountinfo");
        let mut file = std::fs::File::options().append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, line).unwrap();
    }

    /// Mounts by point and device; `r` after the device makes it read-only.
    pub(super) fn mount(&self, list: &[(&str, &str)]) {
        let line = |(point, device): &(&str, &str)| {
            let options = if device.contains('r') { "ro" } else { "rw" };
            let device = device.trim_end_matches(['x', 'r']);
            format!("1 1 {device} / {point} {options} - vfat /dev/x rw\n")
        };
        let text: String = list.iter().map(line).collect();
        self.put("proc/self/mountinfo", &text);
    }

    /// What is found, where the loader came from the partition with this UUID.
    pub(super) fn places(&self, loader: Option<&str>, wanted: &Wanted) -> Result<Places, Error> {
        let variables = LoaderVariables {
            partition: loader.map(str::to_owned),
            ..LoaderVariables::default()
        };
        machine(&Root::new(self.0.path()), &variables)?.places(wanted)
    }
}

pub(super) fn uuid(number: &str) -> String {
    format!("0000-{}", number.replace(':', "-"))
}
