//! What the boots to come will be, once what is prepared is carried out.

use boot_entries::boot_partition::Place;
use boot_entries::entry::EntryFile;
use boot_entries::loader::Band;
use boot_entries::name::stem_of;
use boot_entries::plan::{self, Stranding};

use super::Session;
use super::entries::{Planned, Prepared};
use crate::digests_file;
use crate::error::Error;
use crate::machine::Subject;
use crate::view::flaw_of;

impl Planned {
    /// How the loader that is there chooses, and the one that is to come: a power cut decides which it is. Where none can
    /// be seen that is told elsewhere.
    fn choosers(&self, session: &Session) -> impl Iterator<Item = Band> + use<> {
        let [before, after] = self.loader.bands();
        let before = before.or_else(|| session.band(&self.place).ok());
        let before = before.or(after).unwrap_or(Band::To257);
        std::iter::once(before).chain(after.filter(|after| *after != before))
    }
}

impl Session {
    /// Checks that `prepared` takes no machine's way back, and that the first one starts `subject` next.
    ///
    /// # Errors
    /// When it might not in the first place, and that ends the run.
    pub fn prove(&self, prepared: &mut Prepared, subject: &Subject) -> Result<(), Error> {
        for (number, planned) in prepared.planned.iter().enumerate() {
            let proved = planned.choosers(self).try_for_each(|band| {
                let Planned { observed, plan, .. } = planned;
                plan::prove(observed, plan, &prepared.intent, band, &self.variables)?;
                if number == 0 {
                    self.starts(planned, band, subject)?;
                }
                Ok(())
            });
            prepared
                .complaints
                .in_place(number, &planned.place, proved)?;
        }
        Ok(())
    }

    /// Whether the wish that is to be granted comes true, before anything is done for it. What the firmware was asked for
    /// once does not count: that passes.
    fn starts(&self, planned: &Planned, band: Band, subject: &Subject) -> Result<(), Error> {
        let next = plan::starts(&planned.observed, &planned.plan, band, &self.variables);
        let stem = stem_of(subject);
        if next.as_ref().is_some_and(|next| next.name.stem == stem) {
            return Ok(());
        }
        let id = &subject.generation;
        let instead = Stranding {
            why: next
                .as_ref()
                .map_or("no entry can be started", |next| next.why),
            entry: next.map(|next| next.name),
            flaw: None,
        };
        let entry = instead.entry.as_ref();
        Err(Error::Refused(format!(
            "refused: with generation {id} installed and selected, {} would boot next all the same ({}); nothing was \
             changed; {}, and run again",
            entry.map_or_else(|| "nothing".to_owned(), ToString::to_string),
            instead.why,
            instead.advice()
        )))
    }

    /// Adds to the complaints of `prepared` where a machine does not come back whatever was before. It is told when
    /// everything is done: what is wanted makes it no worse, and may be what mends it.
    pub fn look_ahead(&self, prepared: &mut Prepared) {
        for (number, planned) in prepared.planned.iter().enumerate() {
            let Planned { observed, plan, .. } = planned;
            let mut bands = planned.choosers(self);
            let stranded = bands.find_map(|band| {
                let variables = &self.variables;
                plan::comes_back(observed, plan, &prepared.intent, band, variables).err()
            });
            let Some(stranding) = stranded else { continue };
            let error = Error::Refused(format!("{stranding}; {}", stranding.advice()));
            prepared.complaints.all.push(if number == 0 {
                error
            } else {
                let name = planned.place.name.clone();
                let source = Box::new(error);
                Error::InPlace { name, source }
            });
        }
    }

    /// Whether all of our payload that `file` in `place` needs is there, to the byte.
    pub(super) fn is_whole(&self, place: &Place, file: &EntryFile) -> bool {
        flaw_of(place, file, &mut digests_file::load(&self.root)).is_none()
    }
}
