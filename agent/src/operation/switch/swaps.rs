//! Swap devices are turned off.

use std::path::Path;
use std::time::Duration;

use crate::host::Program;
use crate::switch::fstab::{device_path, is_swap_in_use};
use crate::system::program::{self, Error};

/// How long it may take to bring back what is in a swap device.
const PATIENCE: Duration = Duration::from_mins(1);
/// Where the kernel lists those in use.
const LIST: &str = "/proc/swaps";

/// Turns off a device of fstab. One that is not in use is off: somebody has turned it off by hand, say, or nobody ever
/// turned it on.
///
/// # Errors
/// When it stays in use.
pub(super) fn off(device: &str) -> Result<(), Error> {
    let done = program::command(Program::Swapoff)
        .and_then(|mut command| program::stdout_within(command.arg(device), PATIENCE));
    done.map(drop).or_else(|error| {
        if is_in_use(device) {
            Err(error)
        } else {
            Ok(())
        }
    })
}

/// Whether the kernel lists it. Where nobody can tell, it does.
fn is_in_use(device: &str) -> bool {
    let path = device_path(device);
    let path = Path::new(&path);
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    std::fs::read_to_string(LIST)
        .map_or(true, |list| is_swap_in_use(&list, &real.to_string_lossy()))
}
