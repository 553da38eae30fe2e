//! The measured table, and every release with every kind of counter.

use super::*;
use crate::tests::{listed, loader};

fn power_on(loader: &mut Loader, bad: &str) -> (Vec<String>, End) {
    let PowerOn { attempts, end } = loader.power_on(2, |choice| choice.name.stem == bad);
    let told = |attempt: Attempt| attempt.choice.file;
    (attempts.into_iter().map(told).collect(), end)
}

fn runs(stale: Option<&str>) -> End {
    End::Runs {
        stale_count: stale.map(|file| format!("\\loader\\entries\\{file}")),
    }
}

fn of(version: &str) -> ReleaseRange {
    ReleaseRange::of_loader_info(&format!("systemd-boot {version}")).unwrap()
}

/// gen-3, newest, cannot be started; gen-2 is proven.
fn trial(version: &str) -> Loader {
    let entries = vec![
        listed("gen-2.conf", Some("k"), "2"),
        listed("gen-3+3.conf", Some("k"), "3"),
    ];
    loader(of(version), entries)
}

/// Measured: D1, D2 and D3 with an unsigned kernel, a truncated one, an initrd that is not there, and images.
#[test]
fn up_to_256_tries_are_spent_in_pairs_and_somebody_has_to_reset_the_machine() {
    for version in ["252.39", "254.26", "256"] {
        let mut loader = trial(version);
        let first = power_on(&mut loader, "gen-3");
        let files = ["gen-3+3.conf", "gen-3+2-1.conf"].map(str::to_owned);
        assert_eq!(first, (files.into(), End::Stranded), "{version}");
        let second = power_on(&mut loader, "gen-3");
        let files = ["gen-3+1-2.conf", "gen-2.conf"].map(str::to_owned);
        let stale = runs(Some("gen-3+0-3.conf"));
        assert_eq!(second, (files.into(), stale), "{version}");
        let third = power_on(&mut loader, "gen-3");
        assert_eq!(third.1, runs(None), "{version}");
        let is_bad = |choice: &Choice| choice.name.stem == "gen-3";
        assert_eq!(trial(version).resets_by_hand(2, is_bad), Some(1));
        // Firmware that starts the loader once.
        assert_eq!(trial(version).resets_by_hand(1, is_bad), Some(3));
    }
}

#[test]
fn nobody_may_rely_on_257() {
    let mut loader = trial("257.13");
    let first = power_on(&mut loader, "gen-3");
    assert_eq!(first, (vec!["gen-3+3.conf".to_owned()], End::Stranded));
}

/// Measured: D1 to D3 and Y27.
#[test]
fn from_258_on_a_counted_entry_is_tried_on_without_anybody() {
    for version in ["258", "259.1", "260", "261.2", "262-1"] {
        let mut loader = trial(version);
        let files = [
            "gen-3+3.conf",
            "gen-3+2-1.conf",
            "gen-3+1-2.conf",
            "gen-2.conf",
        ];
        let (told, end) = power_on(&mut loader, "gen-3");
        assert_eq!(told, files, "{version}");
        assert_eq!(
            end,
            runs(None),
            "{version}: the machine was reset in between"
        );
        let mut never = trial(version);
        never.conf.reboot_on_error = RebootOnError::No;
        let (told, end) = power_on(&mut never, "gen-3");
        assert_eq!((told.len(), end), (2, End::Stranded), "{version}");
    }
}

#[test]
fn a_proven_one_that_cannot_be_started_waits_for_somebody_everywhere() {
    for release in ReleaseRange::ALL {
        let entries = vec![
            listed("gen-2.conf", Some("k"), "2"),
            listed("gen-3.conf", Some("k"), "3"),
        ];
        let mut loader = loader(release, entries);
        let is_bad = |choice: &Choice| choice.name.stem == "gen-3";
        assert_eq!(
            loader.clone().resets_by_hand(2, is_bad),
            None,
            "{release:?}"
        );
        let PowerOn { attempts, end } = loader.power_on(2, is_bad);
        assert_eq!(end, End::Stranded, "{release:?}");
        let bad = |attempt: &Attempt| attempt.choice.name.stem == "gen-3";
        assert!(
            attempts.iter().all(bad),
            "{release:?}: gen-2 is never tried"
        );
        // What a loader that resets in any case would make of it: it goes on without end.
        loader.conf.reboot_on_error = RebootOnError::Yes;
        let end = loader.power_on(2, is_bad).end;
        let resets = release.reboots_on_error();
        assert_eq!(end == End::ResetsForEver, resets, "{release:?}");
    }
}

/// Nothing can be counted, so the same entry is tried again and again.
#[test]
fn on_a_medium_that_cannot_be_written_a_loader_that_resets_does_so_for_ever() {
    for release in ReleaseRange::ALL {
        let entries = vec![
            listed("gen-2.conf", Some("k"), "2"),
            listed("gen-3+3.conf", Some("k"), "3"),
        ];
        let mut loader = loader(release, entries);
        loader.medium.read_only = true;
        let end = power_on(&mut loader, "gen-3").1;
        let expected = if release.reboots_on_error() {
            End::ResetsForEver
        } else {
            End::Stranded
        };
        assert_eq!(end, expected, "{release:?}");
    }
}

#[test]
fn every_release_with_every_counter_and_every_setting() {
    let counters = [
        None,
        Some((0, None)),
        Some((0, Some(3))),
        Some((1, Some(2))),
        Some((3, None)),
    ];
    let settings = [RebootOnError::Auto, RebootOnError::Yes, RebootOnError::No];
    for release in ReleaseRange::ALL {
        for counter in counters {
            for reboot_on_error in settings {
                let tries = counter.map(|(left, done)| Tries { left, done });
                let conf = LoaderConf {
                    reboot_on_error,
                    ..LoaderConf::default()
                };
                let told = FailedStart::of(release, &conf, tries);
                let has_tries = tries.is_some_and(|tries| tries.left > 0);
                let asks = match reboot_on_error {
                    RebootOnError::Auto => has_tries,
                    RebootOnError::Yes => true,
                    RebootOnError::No => false,
                };
                let expected = match () {
                    () if release >= ReleaseRange::V258 && asks => FailedStart::Resets,
                    () if (ReleaseRange::V257..ReleaseRange::V258).contains(&release) => {
                        FailedStart::MayStop
                    }
                    () => FailedStart::Returns,
                };
                assert_eq!(told, expected, "{release:?} {tries:?} {reboot_on_error:?}");
            }
        }
    }
}

#[test]
fn nothing_to_start_is_nothing_to_start() {
    let mut loader = loader(ReleaseRange::V260, Vec::new());
    assert_eq!(loader.power_on(2, |_| true).end, End::NothingListed);
    assert_eq!(loader.resets_by_hand(2, |_| true), None);
}

#[test]
fn a_line_of_loader_conf_is_read_as_the_loader_reads_it() {
    for (text, is) in [
        ("", RebootOnError::Auto),
        ("reboot-on-error yes\n", RebootOnError::Yes),
        ("reboot-on-error off\n", RebootOnError::No),
        (
            "reboot-on-error no\nreboot-on-error auto\n",
            RebootOnError::Auto,
        ),
        (
            "reboot-on-error no\nreboot-on-error maybe\n",
            RebootOnError::No,
        ),
    ] {
        assert_eq!(LoaderConf::parse(text).reboot_on_error, is, "{text}");
    }
}
