//! What the loader will start, by the model of it, told in terms of generations.

use std::collections::BTreeMap;

use boot_entries::boot_partition::Place;
use boot_entries::name::{OurName as _, stem_of};
use boot_entries::observe::BootFiles;
use boot_entries::signature::Keys;
use boot_entries::{GenerationId, nixpkgs};
use serde::Serialize;
use systemd_boot_model::{EntryName, FailedStart, IMAGES, ReleaseRange, Tries};

use crate::error::Error;
use crate::report::label::{Number, StateLabel};
use crate::report::remedy;
use crate::view::{View, damage_of, refusal_of, unstartable};

/// That the loader finds nothing to start, and what to do.
pub const NOTHING: &str =
    "no entry can be started: the machine would not boot; run `lastgood install`";

/// One boot to come.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Prediction {
    /// Where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// How many boots fail before it.
    pub failures: usize,
    /// The file that is started, with an image's profile.
    pub entry: String,
    #[serde(skip)]
    name: EntryName,
    #[serde(skip)]
    /// Which generation it starts, where that is known.
    pub id: Option<GenerationId>,
    /// The same, as it is told.
    pub generation: Option<Number>,
    /// How that stands.
    pub state: Option<StateLabel>,
    /// It starts what booted before lastgood came, which may be a generation.
    pub stand_in: bool,
    /// Another system with lastgood on the same `$BOOT` has written it.
    pub another_system: bool,
    #[serde(skip)]
    /// It is a unified kernel image.
    pub is_image: bool,
    /// What is missing or damaged of what it needs.
    pub broken: Option<String>,
    /// What the loader would do if it could not be started, for whatever reason.
    pub failed_start: FailedStart,
    /// Why this one.
    pub why: String,
}

impl Prediction {
    /// Whether the loader counts that boot.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.name.tries.is_some_and(|tries| tries.left > 0)
    }

    /// What is started, for people.
    #[must_use]
    pub fn what(&self) -> String {
        match (&self.id, self.stand_in) {
            _ if self.another_system => "another system's".to_owned(),
            (Some(id), false) => format!("generation {id}"),
            (Some(id), true) => format!("generation {id}, as before lastgood"),
            (None, true) => "what booted before lastgood".to_owned(),
            (None, false) if self.is_image => "a unified kernel image, not ours".to_owned(),
            (None, false) => "not ours".to_owned(),
        }
    }
}

/// What boots from `place`, with what is broken of it, and why the machine does not come back from there by itself.
///
/// # Errors
/// When the place cannot be read, or nobody knows how its loader chooses.
pub fn look(
    view: &View,
    place: &Place,
    failures: usize,
) -> Result<(Vec<Prediction>, Option<String>), Error> {
    let files = BootFiles::read(place)?;
    let mut boots = predict_of(view, &files, view.release(place)?, failures);
    let mut digests = view.digests();
    let keys = view.keys();
    let mut known: BTreeMap<(bool, String), Option<String>> = BTreeMap::new();
    for boot in &mut boots {
        let key = (boot.is_image, boot.name.stem.clone());
        let broken = known.entry(key).or_insert_with(|| {
            if boot.is_image {
                return broken_image(place, &files, &boot.name, keys.as_ref());
            }
            let of = || files.files_of(&boot.name.stem).map(|(_, file)| file);
            let damage = of().find_map(|file| damage_of(place, file, &mut digests));
            let unstartable = || of().find_map(|file| unstartable(place, file, keys.as_ref()));
            damage.map(|damage| damage.to_string()).or_else(unstartable)
        });
        if let Some(broken) = broken {
            let then = boot.failed_start;
            boot.why = format!("{}; it cannot be started: {broken}; {then}", boot.why);
            boot.broken = Some(broken.clone());
        }
    }
    let trouble = if boots.is_empty() {
        Some(NOTHING.to_owned())
    } else {
        let menu = systemd_boot_model::endless_menu(files.loader_conf.as_deref(), &view.variables);
        let lost = || view.lost_stand_in(&files, &files);
        let waits = menu.as_ref().map(remedy::endless_menu);
        waits.or_else(|| lost().map(|lost| lost.to_string()))
    };
    Ok((boots, trouble))
}

/// Why an image cannot be started, as far as that can be told. It may be called otherwise by then.
fn broken_image(
    place: &Place,
    files: &BootFiles,
    name: &EntryName,
    keys: Option<&Keys>,
) -> Option<String> {
    let is_it = |image: &str| EntryName::of_image(image).is_some_and(|it| it.stem == name.stem);
    let mut images = files.images.iter();
    let ((on, image), says) = images.find(|((_, image), _)| is_it(image))?;
    if !says.has_kernel {
        return Some("it has no kernel in it (no section .linux)".to_owned());
    }
    let path = place.directory(*on).join(IMAGES).join(image);
    let why = refusal_of(&path, keys?)?;
    Some(format!("Secure Boot is on, and its kernel {why}"))
}

/// What boots now and after each of `failures` failed boots, from the place that the loader reads next.
///
/// # Errors
/// When that cannot be read, or nobody knows how its loader chooses.
pub fn predict(view: &View, failures: usize) -> Result<Vec<Prediction>, Error> {
    let boot = view.boot()?;
    let release = view.release(&boot.place)?;
    Ok(predict_of(view, &boot, release, failures))
}

/// [`predict`], for entries that were read before, by a loader of `release`.
#[must_use]
pub fn predict_of(
    view: &View,
    files: &BootFiles,
    release: ReleaseRange,
    failures: usize,
) -> Vec<Prediction> {
    let boots = files
        .loader(release, view.variables.clone())
        .predict(failures);
    predictions(view, files, release, &boots)
}

/// [`predict_of`], where the model was asked before what boots: now, and after each failed boot.
#[must_use]
pub fn predictions(
    view: &View,
    files: &BootFiles,
    release: ReleaseRange,
    boots: &[systemd_boot_model::Choice],
) -> Vec<Prediction> {
    let generations = view.generations();
    let other_systems = view.other_systems();
    let conf = release.read_conf(files.loader_conf.as_deref().unwrap_or_default());
    let prediction = |failures: usize, boot: &systemd_boot_model::Choice| {
        // Whose number it is, first: telling names apart takes a hash each.
        let of = |name: &EntryName| {
            let number = name.generation_number()?;
            let mut same = generations.iter().filter(|g| g.id.number() == number);
            same.find(|g| stem_of(&g.subject()) == name.stem)
        };
        // By its stem: the file may be called otherwise by then.
        let started = files.files_of(&boot.name.stem).next();
        let own = of(&boot.name).filter(|_| !boot.is_image);
        let is_other_systems = || started.is_some_and(|(_, file)| other_systems(file));
        let another_system = own.is_none() && !boot.is_image && is_other_systems();
        // No image is ours, whatever it is called.
        let stand_in = !another_system && boot.name.is_stand_in() && !boot.is_image;
        let generation = if stand_in {
            let closure = started.and_then(|(_, file)| nixpkgs::init_of(&file.entry));
            closure.and_then(|closure| generations.iter().find(|g| g.toplevel == closure))
        } else {
            own
        };
        Prediction {
            place: None,
            failures,
            entry: boot.file.clone() + &boot.profile,
            name: boot.name.clone(),
            id: generation.map(|g| g.id.clone()),
            generation: generation.map(|g| Number::of(&g.id)),
            state: generation.map(|g| StateLabel::of(view.state.standing(&g.subject()), true)),
            stand_in,
            another_system,
            is_image: boot.is_image,
            broken: None,
            failed_start: FailedStart::of(release, &conf, boot.name.tries),
            why: boot.why.to_string(),
        }
    };
    let mut predictions: Vec<Prediction> = Vec::new();
    for (failures, boot) in boots.iter().enumerate() {
        let mut next = prediction(failures, boot);
        let former = boots.get(..failures).unwrap_or_default();
        if is_used_up(boot.name.tries) {
            next.why.push_str("; its tries are used up");
        }
        if let Some(why) = passed_over(view, files, former, boot) {
            next.why.push_str("; ");
            next.why.push_str(&why);
        }
        predictions.push(next);
    }
    predictions
}

fn is_used_up(tries: Option<Tries>) -> bool {
    tries.is_some_and(|tries| tries.left == 0)
}

/// Why the selected generation is not what `boot` starts after those in `former`, where that is its own doing. None: it
/// is, or what chooses the other one says why.
fn passed_over(
    view: &View,
    files: &BootFiles,
    former: &[systemd_boot_model::Choice],
    boot: &systemd_boot_model::Choice,
) -> Option<String> {
    let selected = view.state.selected.as_ref()?;
    let stem = stem_of(selected);
    if boot.name.stem == stem {
        return None;
    }
    let id = &selected.generation;
    let Some((_, file)) = files.files_of(&stem).next() else {
        return Some(format!("generation {id}, which is selected, has no entry"));
    };
    if !file.has_program {
        return Some(format!(
            "the kernel of generation {id}, which is selected, is missing"
        ));
    }
    let last = former.iter().rev().find(|former| former.name.stem == stem);
    let tries = match last {
        Some(last) => last.name.tries.map(Tries::after_a_boot),
        None => file.name.tries,
    };
    is_used_up(tries).then(|| format!("generation {id}, which is selected, has used up its tries"))
}
