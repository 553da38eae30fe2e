//! `lastgood next-boot`: what the loader will do, by the model of it.

use std::collections::BTreeMap;
use std::io::Write;

use boot_entries::boot_partition::{IMAGES, Place};
use boot_entries::loader::{self, Band};
use boot_entries::name::{EntryName, Tries, stem_of};
use boot_entries::observe::Boot;
use boot_entries::{GenerationId, Root, kernel, nixpkgs};
use serde::Serialize;

use super::{Number, Word, print, print_json, table};
use crate::cli::Output;
use crate::digests_file;
use crate::error::Error;
use crate::told::one_line;
use crate::view::{View, flaw_of, is_unsigned};

/// One boot to come.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Prediction {
    /// Where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    failures: usize,
    pub(super) entry: String,
    #[serde(skip)]
    name: EntryName,
    #[serde(skip)]
    pub(super) id: Option<GenerationId>,
    generation: Option<Number>,
    state: Option<Word>,
    /// It starts what booted before lastgood came, which may be a generation.
    stand_in: bool,
    /// Another system with lastgood on the same `$BOOT` has written it.
    another_system: bool,
    #[serde(skip)]
    is_image: bool,
    /// What is missing or damaged of what it needs.
    broken: Option<String>,
    pub(super) why: String,
}

pub(super) fn run(
    root: &Root,
    failures: usize,
    output: Output,
    out: &mut impl Write,
) -> Result<(), Error> {
    let view = View::read(root)?;
    let mut places = view.places(&view.state)?;
    // Mirrors say nothing of what the loader reads next.
    let is_missing = !places.has_next && !places.unusable.is_empty();
    let missing = is_missing.then(|| places.unusable.remove(0));
    let mut outcome = missing.map_or(Ok(()), |error| Err(Error::from(error)));
    for error in &places.unusable {
        tracing::warn!("{}", one_line(error));
    }
    let mut usable = places.usable;
    if usable.is_empty() && !is_missing {
        usable.push(Place::default());
    }
    let are_several = usable.len() > 1 || is_missing;
    let mut boots = Vec::new();
    for (number, place) in usable.iter().enumerate() {
        let name = place.name.display().to_string();
        let looked = look(&view, place, failures).and_then(|(found, trouble)| {
            boots.extend(found.into_iter().map(|boot| Prediction {
                place: are_several.then(|| name.clone()),
                ..boot
            }));
            trouble.map_or(Ok(()), |trouble| Err(Error::Refused(trouble)))
        });
        match looked {
            // What the loader reads next.
            first if number == 0 && !is_missing => outcome = first,
            Err(error) => tracing::warn!("{name}: {}", one_line(&error)),
            Ok(()) => {}
        }
    }
    if output.json {
        print_json(out, &boots)?;
    } else {
        tell(&boots, out)?;
    }
    outcome
}

/// What boots from `place`, and why the machine does not come back from there by itself.
fn look(
    view: &View,
    place: &Place,
    failures: usize,
) -> Result<(Vec<Prediction>, Option<String>), Error> {
    let files = Boot::read(place)?;
    let mut boots = predict_of(view, &files, view.band(place)?, failures);
    let mut digests = digests_file::load(&view.root, view.listed.len());
    let checks_signatures = view.checks_signatures();
    let mut known: BTreeMap<(bool, String), Option<String>> = BTreeMap::new();
    for boot in &mut boots {
        let key = (boot.is_image, boot.name.stem.clone());
        let broken = known.entry(key).or_insert_with(|| {
            if boot.is_image {
                return broken_image(place, &files, &boot.name, checks_signatures);
            }
            let of = || files.files_of(&boot.name.stem).map(|(_, file)| file);
            let flaw = of().find_map(|file| flaw_of(place, file, &mut digests));
            let is_unsigned = || checks_signatures && of().any(|file| is_unsigned(place, file));
            match flaw {
                Some(flaw) => Some(flaw.to_string()),
                None => is_unsigned().then(|| UNSIGNED.to_owned()),
            }
        });
        if let Some(broken) = broken {
            boot.why = format!("{}; it cannot be started: {broken}", boot.why);
            boot.broken = Some(broken.clone());
        }
    }
    let trouble = if boots.is_empty() {
        Some(
            "no entry can be started: the machine would not boot; run `lastgood install`"
                .to_owned(),
        )
    } else {
        loader::endless_menu(files.loader_conf.as_deref(), &view.variables)
    };
    Ok((boots, trouble))
}

/// Why the firmware does not start what it would have to.
const UNSIGNED: &str = "Secure Boot is on, and its kernel carries no signature";

/// Why an image cannot be started, as far as that can be told. It may be called otherwise by then.
fn broken_image(
    place: &Place,
    files: &Boot,
    name: &EntryName,
    checks_signatures: bool,
) -> Option<String> {
    let is_it = |image: &str| EntryName::of_image(image).is_some_and(|it| it.stem == name.stem);
    let mut images = files.images.iter();
    let ((on, image), says) = images.find(|((_, image), _)| is_it(image))?;
    if !says.has_kernel {
        return Some("it has no kernel in it (no section .linux)".to_owned());
    }
    let path = place.directory(*on).join(IMAGES).join(image);
    let is_unsigned = checks_signatures && matches!(kernel::is_signed(&path), Ok(false));
    is_unsigned.then(|| UNSIGNED.to_owned())
}

fn tell(boots: &[Prediction], out: &mut impl Write) -> Result<(), Error> {
    let row = |boot: &Prediction| {
        let mut row: Vec<String> = boot.place.iter().cloned().collect();
        row.extend([
            match boot.failures {
                0 => "now".to_owned(),
                1 => "after 1 failed boot".to_owned(),
                count => format!("after {count} failed boots"),
            },
            match (&boot.id, boot.stand_in) {
                _ if boot.another_system => "another system's".to_owned(),
                (Some(id), false) => format!("generation {id}"),
                (Some(id), true) => format!("generation {id}, as before lastgood"),
                (None, true) => "what booted before lastgood".to_owned(),
                (None, false) if boot.is_image => "a unified kernel image, not ours".to_owned(),
                (None, false) => "not ours".to_owned(),
            },
            boot.state.map_or("-", Word::text).to_owned(),
            boot.entry.clone(),
            boot.why.clone(),
        ]);
        row
    };
    let rows: Vec<Vec<String>> = boots.iter().map(row).collect();
    print(out, &table(&rows))
}

/// What boots now and after each of `failures` failed boots, from the place that the loader reads next.
pub(super) fn predict(view: &View, failures: usize) -> Result<Vec<Prediction>, Error> {
    let boot = view.boot()?;
    let band = view.band(&boot.place)?;
    Ok(predict_of(view, &boot, band, failures))
}

/// [`predict`], for entries that were read before, by a loader of `band`.
pub(super) fn predict_of(
    view: &View,
    files: &Boot,
    band: Band,
    failures: usize,
) -> Vec<Prediction> {
    let generations = view.generations();
    let boots = files.loader(band, view.variables.clone()).predict(failures);
    let prediction = |failures: usize, boot: &loader::Boot| {
        // Whose number it is, first: telling names apart takes a hash each.
        let of = |name: &EntryName| {
            let number = name.generation_number()?;
            let mut same = generations.iter().filter(|g| g.id.number() == number);
            same.find(|g| stem_of(&g.subject()) == name.stem)
        };
        // By its stem: the file may be called otherwise by then.
        let started = files.files_of(&boot.name.stem).next();
        let own = of(&boot.name).filter(|_| !boot.is_image);
        let is_anothers = || started.is_some_and(|(_, file)| view.is_anothers(file));
        let another_system = own.is_none() && !boot.is_image && is_anothers();
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
            state: generation.map(|g| Word::of(view.state.standing(&g.subject()), true)),
            stand_in,
            another_system,
            is_image: boot.is_image,
            broken: None,
            why: boot.why.to_owned(),
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
    files: &Boot,
    former: &[loader::Boot],
    boot: &loader::Boot,
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
