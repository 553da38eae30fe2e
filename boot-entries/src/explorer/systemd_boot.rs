//! The loader itself, in the same plans: two copies on the ESP, and another one to be installed.

use std::path::{Path, PathBuf};

use super::Case;
use super::calls::ESP;
use super::look::content;
use super::place::Held;
use super::volume::Bytes;
use crate::durable;
use crate::step::Step;
use crate::systemd_boot::{
    Action, FALLBACK, Image, Installed, Place, Policy, SYSTEMD, Source, State, Version, decide,
};
use systemd_boot_model::Partition;

/// What a file of the store is called that holds this version.
fn name(version: u64) -> String {
    format!("systemd-boot-{version}")
}

fn image(bytes: &Bytes) -> Option<Image> {
    let text = std::str::from_utf8(bytes).ok()?;
    let version = text.strip_prefix("systemd-boot-")?;
    // A part of one is none.
    (version.len() == 3).then(|| Image {
        version: Version::parse(version).unwrap(),
        is_signed: false,
        content: content(bytes),
    })
}

fn installed(held: &Held) -> Installed {
    let esp = held.on(Partition::Esp);
    let place = |path: &str| Place {
        path: path.to_owned(),
        state: match esp.get(Path::new(path)).map(image) {
            None => State::Absent,
            Some(None) => State::Damaged("is cut short".to_owned()),
            Some(Some(image)) => State::Whole(image),
        },
    };
    let is_left = |path: &&Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let beside = [SYSTEMD, FALLBACK].map(|copy| Path::new(copy).parent());
        durable::is_leftover(name) && beside.contains(&path.parent())
    };
    let left = esp.keys().map(PathBuf::as_path).filter(is_left);
    Installed {
        esp: ESP.into(),
        systemd: place(SYSTEMD),
        fallback: place(FALLBACK),
        leftovers: left.map(|path| path.to_str().unwrap().to_owned()).collect(),
    }
}

/// What is to be done about it.
pub(super) fn steps(held: &Held, version: Option<u64>) -> Vec<Step> {
    let Some(version) = version else {
        return Vec::new();
    };
    let bytes = name(version).into_bytes().into();
    let source = Source {
        path: format!("/nix/store/{}", name(version)).into(),
        image: image(&bytes).unwrap(),
    };
    match decide(&installed(held), Some(&source), Policy::Update).action {
        Action::Nothing => Vec::new(),
        Action::Write(steps) | Action::Install { steps, .. } => steps,
    }
}

/// Whether the firmware finds one that is whole.
pub(super) fn starts(held: &Held) -> bool {
    installed(held).image().is_some()
}

/// `cases` on an ESP with these two copies (None: damaged), and the third version to be installed.
pub(super) fn updating(cases: Vec<Case>, copies: [Option<u64>; 2], newest: u64) -> Vec<Case> {
    let with = |mut case: Case| {
        for (path, version) in [SYSTEMD, FALLBACK].into_iter().zip(copies) {
            let text = version.map_or("half".to_owned(), name);
            let esp = case.held.on_mut(Partition::Esp);
            esp.insert(path.into(), text.into_bytes().into());
        }
        Case {
            loader: Some(newest),
            ..case
        }
    };
    cases.into_iter().map(with).collect()
}
