//! The request to the firmware to start an entry once, without writing to `$BOOT`: for when that cannot be written.
//!
//! The loader takes it at the next boot that it makes. A soft-reboot, a kexec and a live switch come before that one, and by
//! then `$BOOT` may be what it should be. So the request lasts as long as what it stands in for: until the entries say it.

use boot_entries::durable;
use boot_entries::name::stem_of;

use crate::error::Error;
use crate::host::ASKED_ONCE;
use crate::report::line::one_line;
use crate::state::Subject;
use crate::system::bootctl::Bootctl;
use crate::view::View;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    /// Nobody has made one, or it is somebody else's.
    NotOurs,
    /// The loader has taken it, or somebody has made another one.
    IsOver,
    /// The entries say what it asks for, and whatever comes later.
    IsTakenBack,
}

/// Pure and total. `ours`: what was asked for here last; `firmware`: what the loader finds there. The entries are written.
fn once_written(ours: Option<&str>, firmware: Option<&str>) -> Request {
    match (ours, firmware) {
        (None, _) => Request::NotOurs,
        (Some(ours), Some(firmware)) if ours == firmware => Request::IsTakenBack,
        (Some(_), _) => Request::IsOver,
    }
}

/// Has the loader start `to` next.
///
/// # Errors
/// When it has no entry that can be started, or bootctl says no.
pub fn ask(view: &View, to: &Subject) -> Result<(), Error> {
    if !view.root.is_live() {
        return Ok(());
    }
    let boot = view.boot()?;
    let stem = stem_of(to);
    let mut startable = boot.files_of(&stem).filter(|(_, file)| file.has_program);
    let Some((file, _)) = startable.next() else {
        return Err(Error::Refused(format!(
            "generation {} has no entry that can be started; `lastgood verify --repair` writes it anew",
            to.generation
        )));
    };
    // First, so that no request is left that nobody takes back. Without it, it is made all the same: the machine must go.
    if let Err(error) = durable::put_text(file, &view.root.join(ASKED_ONCE)) {
        tracing::error!("{}", one_line(&error));
    }
    tracing::warn!("asking the firmware to start {file} once");
    Ok(Bootctl::find(&view.root, Some(&to.toplevel)).start_once(file)?)
}

/// The entries are what they should be, so that nothing has to stand in for them any more.
pub(super) fn written(view: &View) {
    let path = view.root.join(ASKED_ONCE);
    let ours = std::fs::read_to_string(&path).ok();
    match once_written(ours.as_deref(), view.variables.one_shot.as_deref()) {
        Request::NotOurs => return,
        Request::IsOver => {}
        Request::IsTakenBack if !view.root.is_live() => return,
        Request::IsTakenBack => {
            tracing::info!("the firmware is not asked any more to start one entry once");
            if let Err(error) = Bootctl::find(&view.root, None).start_once("") {
                tracing::error!("{}", one_line(&error));
                return;
            }
        }
    }
    if let Err(error) = durable::remove(&path) {
        tracing::error!("{}", one_line(&error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_here_is_taken_back() {
        let all = [None, Some("a.conf"), Some("b.conf")];
        for ours in all {
            for firmware in all {
                let expected = match (ours, firmware) {
                    (None, _) => Request::NotOurs,
                    (Some("a.conf"), Some("a.conf")) | (Some("b.conf"), Some("b.conf")) => {
                        Request::IsTakenBack
                    }
                    _ => Request::IsOver,
                };
                assert_eq!(
                    once_written(ours, firmware),
                    expected,
                    "{ours:?} {firmware:?}"
                );
            }
        }
    }
}
