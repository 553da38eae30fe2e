//! What to do about the loader on one ESP. Pure.

use std::path::Path;

use super::image::{Image, Version};
use super::{Installed, Place, Source, State};
use crate::step::Step;
use systemd_boot_model::Partition;

/// How far the loader is ours to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// What is damaged or missing is mended, and the copies are kept equal. No version comes that was not there.
    Mend,
    /// An older one is replaced as well, and where there is none, one is installed.
    #[default]
    Update,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// These steps, in order.
    Write(Vec<Step>),
    /// This ESP has never had one.
    Install {
        /// What to write where bootctl(1) cannot be asked: in a tree, or because of `by_bootctl`.
        steps: Vec<Step>,
        /// Whether `bootctl install` may do it. It would overwrite somebody else's [`super::FALLBACK`].
        by_bootctl: bool,
    },
}

/// What to do, and what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// What this ESP starts when that is done. None: nothing of ours.
    pub after: Option<Image>,
    /// What was left alone, and what is changed for which reason, each in one line.
    pub told: Vec<String>,
    /// Why a newer one than there is does not come, in one line, where somebody has to do something about it.
    pub held_back: Option<String>,
    /// Why the machine does not start from this ESP even when that is done. None: it does.
    pub trouble: Option<String>,
}

/// Where a systemd-boot is copied from.
#[derive(Debug, Clone, Copy)]
enum Origin<'a> {
    Source(&'a Path),
    Copy(&'a Place),
}

/// A systemd-boot that both copies could be made equal to.
#[derive(Debug, Clone, Copy)]
struct Offer<'a> {
    image: &'a Image,
    from: Origin<'a>,
}

/// Decides what to do about the loader that is `installed`, if `source` is what there is to install.
///
/// Both copies are made equal to the newest whole one there is, on the ESP or off it. The one that is worse off is
/// written first, the fallback if there is no difference: while one is written, the other is whole or no worse.
#[must_use]
pub fn decide(installed: &Installed, source: Option<&Source>, policy: Policy) -> Decision {
    let mut told = Vec::new();
    let mut held_back = None;
    let places = ours(installed, &mut told);
    let is_first = is_first(installed);
    let mut after = installed.image();
    let mut steps = Vec::new();
    if policy == Policy::Update || !is_first {
        steps = removals(installed);
        held_back = held_back_by_signature(&places, source).filter(|_| policy == Policy::Update);
        if let Some(best) = best(&places, source, policy, &mut told) {
            let writes = writes(&places, &best, &installed.esp, &mut told);
            if !writes.is_empty() {
                after = Some(best.image);
            }
            steps.extend(writes);
        }
    }
    let action = match () {
        () if steps.is_empty() => Action::Nothing,
        () if is_first && after.is_some() => Action::Install {
            steps,
            by_bootctl: !matches!(installed.fallback.state, State::Foreign(_)),
        },
        () => Action::Write(steps),
    };
    Decision {
        action,
        after: after.cloned(),
        told,
        held_back,
        trouble: after.is_none().then(|| trouble(installed)),
    }
}

fn trouble(installed: &Installed) -> String {
    let places = [&installed.systemd, &installed.fallback];
    let whys = places.iter().filter_map(|place| match &place.state {
        State::Foreign(why) | State::Damaged(why) => Some(format!("; {} {why}", place.path)),
        State::Absent | State::Whole(_) => None,
    });
    let whys: String = whys.collect();
    format!("it holds no systemd-boot that could be started{whys}")
}

/// Whether systemd-boot was never here. A fallback alone, and whole, is an installation of its own kind.
fn is_first(installed: &Installed) -> bool {
    installed.systemd.state == State::Absent && installed.fallback.image().is_none()
}

/// The places that are ours to write to. A foreign program never is, and the fallback only if the other one is, or if
/// it is a systemd-boot already.
fn ours<'a>(installed: &'a Installed, told: &mut Vec<String>) -> Vec<&'a Place> {
    let Installed {
        systemd, fallback, ..
    } = installed;
    let mut is_ours = |place: &Place| match &place.state {
        State::Foreign(what) => {
            told.push(format!("{} {what}: left alone", place.path));
            false
        }
        State::Absent | State::Whole(_) | State::Damaged(_) => true,
    };
    let (first, second) = (is_ours(systemd), is_ours(fallback));
    // In the order in which they are written if they are equally well off.
    let mut places = Vec::new();
    if second && (first || fallback.image().is_some()) {
        places.push(fallback);
    }
    if first {
        places.push(systemd);
    }
    places
}

/// What both copies are to be.
fn best<'a>(
    places: &[&'a Place],
    source: Option<&'a Source>,
    policy: Policy,
    told: &mut Vec<String>,
) -> Option<Offer<'a>> {
    let copies = places.iter().filter_map(|place| {
        let (image, from) = (place.image()?, Origin::Copy(place));
        Some(Offer { image, from })
    });
    let mut copies: Vec<Offer<'a>> = copies.collect();
    // A machine that checks signatures starts nothing without one.
    let is_signed = copies.iter().any(|offer| offer.image.is_signed);
    copies.retain(|offer| offer.image.is_signed || !is_signed);
    let newest = copies.iter().map(|offer| &offer.image.version).max();
    // The same version with a signature starts wherever the other one does, and also where signatures are checked.
    let is_better = |image: &Image| {
        let is_same = newest == Some(&image.version);
        policy == Policy::Update && is_same && image.is_signed && !is_signed
    };
    let offered = source.map(|source| Offer {
        image: &source.image,
        from: Origin::Source(&source.path),
    });
    let offered = offered.filter(|offer| {
        let Some(newest) = newest else { return true };
        let why_not = why_not(newest, is_signed, offer.image, policy);
        // That the same one could be installed again is no news.
        let is_other = offer.image.version != *newest;
        told.extend(why_not.clone().filter(|_| is_other));
        why_not.is_none()
    });
    let version = newest.max(offered.map(|offer| &offer.image.version))?;
    copies.retain(|offer| offer.image.version == *version);
    let are_equal = copies.iter().all(|offer| {
        let first = copies.first();
        first.is_some_and(|first| first.image.content == offer.image.content)
    });
    // Bytes that were never on an ESP are the ones to trust, but no reason to write what is well.
    match offered {
        Some(offered) if copies.is_empty() || !are_equal || is_better(offered.image) => {
            Some(offered)
        }
        // The last one is the one that the boot entry points at.
        _ => copies.last().copied(),
    }
}

/// That a newer one is there to install, and would not start where signatures are checked.
fn held_back_by_signature(places: &[&Place], source: Option<&Source>) -> Option<String> {
    let offered = &source?.image;
    let signed = places.iter().filter_map(|place| place.image());
    let signed = signed.filter(|image| image.is_signed);
    let newest = signed.map(|image| &image.version).max()?;
    (!offered.is_signed && offered.version > *newest).then(|| {
        format!(
            "systemd-boot stays at {newest}, which is signed: {}, which could be installed, is not; sign it, or, on a machine \
             without Secure Boot, run `bootctl update`",
            offered.version
        )
    })
}

/// Why `offered` is not to be installed where the newest is `newest`. None: nothing speaks against it.
fn why_not(newest: &Version, is_signed: bool, offered: &Image, policy: Policy) -> Option<String> {
    let version = &offered.version;
    let but = match () {
        () if version < newest => "is older",
        () if is_signed && !offered.is_signed => "is not signed, unlike what is there",
        () if version > newest && policy != Policy::Update => "is not asked for",
        () => return None,
    };
    Some(format!(
        "systemd-boot {newest} is left alone: {version}, which could be installed, {but}"
    ))
}

/// Rewrites each of `places` that is not what is `best`, the one that is worst off first.
fn writes(places: &[&Place], best: &Offer<'_>, esp: &Path, told: &mut Vec<String>) -> Vec<Step> {
    let image = best.image;
    let from = match best.from {
        Origin::Source(path) => path.to_owned(),
        Origin::Copy(place) => esp.join(&place.path),
    };
    let images = places.iter().filter_map(|place| place.image());
    let mut versions = images.map(|there| &there.version);
    if let Some(newer) = versions.find(|version| **version > image.version) {
        told.push(format!(
            "systemd-boot {newer} is newer than the signed {}, and not signed: both left alone",
            image.version
        ));
        return Vec::new();
    }
    let is_there = |place: &&&Place| {
        place
            .image()
            .is_some_and(|there| there.content == image.content)
    };
    let mut todo: Vec<&&Place> = places.iter().filter(|place| !is_there(place)).collect();
    // Damaged, absent, then without a signature where it may need one, then the older one. The sort is stable.
    todo.sort_by_key(|place| place.image().map(|there| (there.is_signed, &there.version)));
    let mut steps = Vec::new();
    for place in todo {
        let (path, version) = (&place.path, &image.version);
        told.push(match &place.state {
            State::Absent => format!("{path}: systemd-boot {version} is put there"),
            State::Damaged(why) | State::Foreign(why) => {
                format!("{path} {why}: systemd-boot {version} replaces it")
            }
            State::Whole(old) if old.version == *version && image.is_signed && !old.is_signed => {
                format!(
                    "{path}: systemd-boot {version}, signed, replaces the same without a signature"
                )
            }
            State::Whole(old) if old.version == *version => {
                format!("{path} is another systemd-boot {version} than it should be: replaced")
            }
            State::Whole(old) => format!("{path}: systemd-boot {version} replaces {}", old.version),
        });
        steps.push(Step::Copy {
            source: from.clone(),
            content: image.content,
            on: Partition::Esp,
            path: path.clone(),
        });
    }
    steps
}

fn removals(installed: &Installed) -> Vec<Step> {
    let paths = installed.leftovers.iter().cloned();
    let on = Partition::Esp;
    paths.map(|path| Step::Remove { on, path }).collect()
}
