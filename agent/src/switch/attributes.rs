//! What a unit says about its own switch.

use super::unit_file::UnitFile;

/// What a unit says about its own switch. NixOS's options make most of these keys; systemd knows only the two that
/// begin with `Refuse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one key of the file, for itself"
)]
pub struct Attributes {
    /// `X-RestartIfChanged=`: it may be restarted.
    pub restart_if_changed: bool,
    /// `X-ReloadIfChanged=`: a reload does, whatever has changed.
    pub reload_if_changed: bool,
    /// `X-StopIfChanged=`: it is stopped before the new closure is put in place, and started after it.
    pub stop_if_changed: bool,
    /// `X-StopOnRemoval=`: it is stopped where the new closure has no such unit.
    pub stop_on_removal: bool,
    /// `X-StopOnReconfiguration=`: a target that goes down and up in every switch.
    pub stop_on_reconfiguration: bool,
    /// `X-OnlyManualStart=`: only an operator starts it.
    pub only_manual_start: bool,
    /// `X-NotSocketActivated=`: it is started even if a socket would.
    pub not_socket_activated: bool,
    /// `RefuseManualStart=`
    pub refuse_start: bool,
    /// `RefuseManualStop=`
    pub refuse_stop: bool,
}

impl Attributes {
    /// What `unit` says.
    #[must_use]
    pub fn of(unit: &UnitFile) -> Self {
        let service = |key, default| unit.flag("Service", key, default);
        let any = |key, default| unit.flag("Unit", key, default);
        Self {
            restart_if_changed: service("X-RestartIfChanged", true),
            reload_if_changed: service("X-ReloadIfChanged", false),
            stop_if_changed: service("X-StopIfChanged", true),
            stop_on_removal: any("X-StopOnRemoval", true),
            stop_on_reconfiguration: any("X-StopOnReconfiguration", false),
            only_manual_start: any("X-OnlyManualStart", false),
            not_socket_activated: service("X-NotSocketActivated", false),
            refuse_start: any("RefuseManualStart", false),
            refuse_stop: any("RefuseManualStop", false),
        }
    }

    /// Why a unit that has changed must not be restarted. None: it may.
    #[must_use]
    pub fn forbids_restart(&self) -> Option<&'static str> {
        if !self.restart_if_changed {
            Some("X-RestartIfChanged=false")
        } else if self.only_manual_start {
            Some("X-OnlyManualStart=true")
        } else if self.refuse_stop {
            Some("RefuseManualStop=true")
        } else if self.refuse_start {
            Some("RefuseManualStart=true")
        } else {
            None
        }
    }
}

impl Default for Attributes {
    fn default() -> Self {
        Self::of(&UnitFile::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_says_its_own_thing() {
        let of = |text: &str| Attributes::of(&UnitFile::parse(text));
        let plain = Attributes::default();
        assert!(plain.restart_if_changed && plain.stop_if_changed && plain.stop_on_removal);
        assert_eq!(plain.forbids_restart(), None);
        for (text, want) in [
            (
                "[Service]\nX-RestartIfChanged=false\n",
                Attributes {
                    restart_if_changed: false,
                    ..plain
                },
            ),
            (
                "[Service]\nX-ReloadIfChanged=true\n",
                Attributes {
                    reload_if_changed: true,
                    ..plain
                },
            ),
            (
                "[Service]\nX-StopIfChanged=false\n",
                Attributes {
                    stop_if_changed: false,
                    ..plain
                },
            ),
            (
                "[Unit]\nX-StopOnRemoval=false\n",
                Attributes {
                    stop_on_removal: false,
                    ..plain
                },
            ),
            (
                "[Unit]\nX-StopOnReconfiguration=yes\n",
                Attributes {
                    stop_on_reconfiguration: true,
                    ..plain
                },
            ),
            (
                "[Unit]\nX-OnlyManualStart=1\n",
                Attributes {
                    only_manual_start: true,
                    ..plain
                },
            ),
            (
                "[Service]\nX-NotSocketActivated=on\n",
                Attributes {
                    not_socket_activated: true,
                    ..plain
                },
            ),
            (
                "[Unit]\nRefuseManualStart=true\n",
                Attributes {
                    refuse_start: true,
                    ..plain
                },
            ),
            (
                "[Unit]\nRefuseManualStop=true\n",
                Attributes {
                    refuse_stop: true,
                    ..plain
                },
            ),
            // In the other section a key says nothing.
            ("[Unit]\nX-RestartIfChanged=false\n", plain),
            ("[Service]\nX-OnlyManualStart=true\n", plain),
        ] {
            assert_eq!(of(text), want, "{text}");
        }
        for (text, why) in [
            (
                "[Service]\nX-RestartIfChanged=no\n",
                "X-RestartIfChanged=false",
            ),
            ("[Unit]\nX-OnlyManualStart=1\n", "X-OnlyManualStart=true"),
            ("[Unit]\nRefuseManualStop=1\n", "RefuseManualStop=true"),
            ("[Unit]\nRefuseManualStart=1\n", "RefuseManualStart=true"),
        ] {
            assert_eq!(of(text).forbids_restart(), Some(why));
        }
    }
}
