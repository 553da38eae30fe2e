//! What the firmware's shell does, as a `startup.nsh`.

use super::disk::DIRECTORIES;
use super::layout::Layout;
use super::session::Power;

/// The vendor of the loader's variables.
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Where the script writes, on the first disk's ESP.
pub(super) const RESULTS: &str = "results.txt";
/// Tells one ESP from another.
pub(super) const LABEL: &str = "label";

/// The script that starts each of `layouts` `boots` times.
///
/// The first has just been booted, by the firmware itself. With [`Power::Cycled`] so are all its later boots.
pub(super) fn startup(layouts: &[Layout], boots: usize, power: Power) -> String {
    let mut script = Script(String::from("@echo -off\n"));
    // The firmware has only looked at what it boots from.
    script.line("connect -r");
    script.line("map -r");
    match power {
        Power::Cycled => script.cycle(layouts, boots),
        Power::Kept => script.visit(layouts, boots),
    }
    script.line("reset -s");
    script.0.replace('\n', "\r\n")
}

struct Script(String);

impl Script {
    fn line(&mut self, line: &str) {
        self.0 += line;
        self.0 += "\n";
    }

    /// One boot was just made by the firmware. Another follows, until there were enough.
    fn cycle(&mut self, layouts: &[Layout], boots: usize) {
        let Some(layout) = layouts.first() else {
            return;
        };
        for boot in 0..boots {
            self.line(&format!("if not exist fs0:\\mark{boot} then"));
            self.line(&format!(" echo x > fs0:\\mark{boot}"));
            self.note(layout, 0, 0, boot);
            if boot + 1 < boots {
                self.line(" reset");
            } else {
                self.line(" reset -s");
            }
            self.line("endif");
        }
    }

    fn visit(&mut self, layouts: &[Layout], boots: usize) {
        let mut volume = 0;
        for (at, layout) in layouts.iter().enumerate() {
            let by_firmware = usize::from(at == 0);
            if at == 0 {
                self.note(layout, at, volume, 0);
            } else {
                self.line(&format!("dmpstore -d -guid {VENDOR}"));
                for (name, text) in &layout.variables {
                    let data = hex(text);
                    self.line(&format!("setvar {name} -guid {VENDOR} -nv -bs -rt ={data}"));
                }
            }
            for boot in by_firmware..boots {
                self.line(&format!(
                    "fs{volume}:\\{}",
                    loader_path(at).replace('/', "\\")
                ));
                self.note(layout, at, volume, boot);
            }
            volume += layout.partitions().len();
        }
    }

    /// Writes down what the loader said and did.
    fn note(&mut self, layout: &Layout, at: usize, volume: usize, boot: usize) {
        let out = format!(">>a fs0:\\{RESULTS}");
        self.line(&format!("echo \"boot {at} {boot}\" {out}"));
        self.line(&format!("type fs{volume}:\\{LABEL} {out}"));
        self.line(&format!("dmpstore -guid {VENDOR} -sfo {out}"));
        for (more, _) in layout.partitions().iter().enumerate() {
            self.line(&format!("echo \"partition {more}\" {out}"));
            for directory in DIRECTORIES {
                let directory = directory.replace('/', "\\");
                self.line(&format!("ls -sfo fs{}:\\{directory} {out}", volume + more));
            }
        }
    }
}

/// Where the loader is: the firmware boots the first disk, and only that, by itself.
pub(super) fn loader_path(at: usize) -> &'static str {
    if at == 0 {
        "EFI/BOOT/BOOTX64.EFI"
    } else {
        "EFI/systemd/systemd-bootx64.efi"
    }
}

/// UTF-16, little endian, with a NUL at its end, as the shell takes it.
fn hex(text: &str) -> String {
    let bytes = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
    let digits = bytes.flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}
