//! The model against what the real loader said and did.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use systemd_boot_model::{End, Loader, PowerOn, ReleaseRange};

use super::layout::Layout;
use super::results::Seen;
use super::session::{self, Power};

/// What a comparison came to.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Which loader it was, as it says itself.
    pub loader: String,
    /// Layouts that were booted.
    pub layouts: usize,
    /// Boots that were compared.
    pub boots: usize,
    /// What the model got wrong, with the layout.
    pub disagreements: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let each = seconds / f64::from(u32::try_from(self.layouts).unwrap_or(1).max(1));
        write!(
            f,
            "{}: {} layouts, {} boots, {} disagreements, {seconds:.1} s ({each:.2} s a layout)",
            self.loader,
            self.layouts,
            self.boots,
            self.disagreements.len()
        )?;
        for disagreement in &self.disagreements {
            write!(f, "\n{disagreement}")?;
        }
        Ok(())
    }
}

impl Tally {
    /// Adds another comparison of the same loader.
    pub fn add(&mut self, other: Self) {
        self.loader = other.loader;
        self.layouts += other.layouts;
        self.boots += other.boots;
        self.disagreements.extend(other.disagreements);
        self.took += other.took;
    }
}

/// Boots every layout `boots` times with the real loader in the file `loader`, and compares each boot with the model.
///
/// # Errors
/// When the machine does not do as it is told. A disagreement is none.
pub fn compare(loader: &Path, layouts: &[Layout], boots: usize, power: Power) -> Result<Tally> {
    let begun = Instant::now();
    let all = session::run(loader, layouts, boots, power)?;
    let mut tally = Tally {
        loader: all
            .first()
            .and_then(|seen| seen.text("LoaderInfo"))
            .unwrap_or_default(),
        layouts: layouts.len(),
        boots: all.len(),
        ..Tally::default()
    };
    for (at, layout) in layouts.iter().enumerate() {
        let seen: Vec<&Seen> = all.iter().filter(|seen| seen.layout == at).collect();
        tally.disagreements.extend(disagreement(layout, &seen)?);
    }
    tally.took = begun.elapsed();
    Ok(tally)
}

/// Switches the machine on with `layout` and the real loader in the file `loader`, and compares with the model what the
/// loader has done when it is back at the firmware for the first time. It may have reset the machine before.
///
/// # Errors
/// When the machine does not do as it is told. A disagreement is none.
pub fn compare_power_on(loader: &Path, layout: &Layout) -> Result<Tally> {
    let begun = Instant::now();
    let layouts = std::slice::from_ref(layout);
    let all = session::run(loader, layouts, 1, Power::Cycled)?;
    let seen = all.first().context("nothing was seen")?;
    let release = release_of(seen)?;
    let mut model = layout.loader(release);
    // The firmware goes on to its shell, and that runs the script.
    let PowerOn { attempts, end } = model.power_on(1, |_| true);
    let said = Account {
        // It was listed before the last boot was counted.
        menu: Vec::new(),
        ..Account::real(seen)
    };
    let expected = Account::after(layout, &model);
    let starts: Vec<String> = attempts.into_iter().map(|it| it.choice.file).collect();
    let info = seen.text("LoaderInfo").unwrap_or_default();
    let disagrees = said != expected || end != End::Stranded;
    let disagreement = disagrees.then(|| {
        format!(
            "{info}, {layout}  real:  {said:?}\n  model: {expected:?}, {end:?} after {starts:?}"
        )
    });
    Ok(Tally {
        loader: format!("{info}, cannot start {}", starts.join(", ")),
        layouts: 1,
        boots: starts.len(),
        disagreements: disagreement.into_iter().collect(),
        took: begun.elapsed(),
    })
}

/// Which loader has left this.
fn release_of(seen: &Seen) -> Result<ReleaseRange> {
    let info = seen.text("LoaderInfo");
    let info = info.context("the loader does not say what it is")?;
    ReleaseRange::of_loader_info(&info).context("not systemd-boot")
}

/// The first thing in which the model is wrong.
fn disagreement(layout: &Layout, seen: &[&Seen]) -> Result<Option<String>> {
    let first = seen.first().context("nothing was seen")?;
    let (release, info) = (
        release_of(first)?,
        first.text("LoaderInfo").unwrap_or_default(),
    );
    let mut model = layout.loader(release);
    for (boot, seen) in seen.iter().enumerate() {
        let said = Account::real(seen);
        let expected = Account::predicted(layout, &mut model);
        if said != expected {
            return Ok(Some(format!(
                "{info}, boot {boot} of {layout}  real:  {said:?}\n  model: {expected:?}"
            )));
        }
    }
    Ok(None)
}

/// One boot, as the loader tells it and as the model foretells it.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    menu: Vec<String>,
    selected: Option<String>,
    counted_to: Option<String>,
    saved: Option<String>,
    one_shot: Option<String>,
    files: Vec<Vec<String>>,
}

impl Account {
    fn real(seen: &Seen) -> Self {
        Self {
            menu: seen.menu(),
            selected: seen.text("LoaderEntrySelected"),
            counted_to: seen.text("LoaderBootCountPath"),
            saved: seen.text("LoaderEntryLastBooted"),
            one_shot: seen.text("LoaderEntryOneShot"),
            files: seen.files.clone(),
        }
    }

    fn predicted(layout: &Layout, model: &mut Loader) -> Self {
        let menu = menu(model);
        model.boot();
        Self {
            menu,
            ..Self::after(layout, model)
        }
    }

    /// What is to be seen of the boot that `model` has made, without the menu before it.
    fn after(layout: &Layout, model: &Loader) -> Self {
        Self {
            menu: Vec::new(),
            selected: model.variables.selected.clone(),
            counted_to: model.variables.boot_count_path.clone(),
            saved: model.variables.last_booted.clone(),
            one_shot: model.variables.one_shot.clone(),
            files: files(layout, model),
        }
    }
}

fn menu(model: &Loader) -> Vec<String> {
    let menu = model.menu();
    menu.iter().map(|listed| listed.id(model.release)).collect()
}

/// The names in the directories that the loader changes, by partition, sorted.
fn files(layout: &Layout, model: &Loader) -> Vec<Vec<String>> {
    let of = |on| {
        let others = model.medium.other_files.iter();
        let others = others
            .filter(|(there, _)| *there == on)
            .map(|(_, file)| file);
        let listed = model.entries.iter().filter(|listed| listed.on == on);
        let mut files: Vec<String> = others.chain(listed.map(|l| &l.file)).cloned().collect();
        files.sort();
        // Each profile of an image is an entry.
        files.dedup();
        files
    };
    layout.partitions().iter().map(|on| of(*on)).collect()
}
