//! What is told of the machine outside of the ledger and the journal: the line for whoever logs in, and the numbers for
//! Prometheus. Both are made anew after each record, of what is on record.
//!
//! Nothing depends on them: what cannot be written is told, and changes nothing.

use std::path::Path;

use boot_entries::{Root, durable};
use jiff::Timestamp;

use crate::config;
use crate::host::{BANNER, BANNERS};
use crate::report::banner;
use crate::report::line::one_line;
use crate::report::metrics::{self, Facts};
use crate::report::tally::{Counts, Tally};
use crate::state::Event;
use crate::view::View;

/// What this session has recorded, added to what was on record when it began.
#[derive(Debug)]
pub(super) struct Told {
    tally: Tally,
}

impl Told {
    /// Of what is on record.
    pub(super) fn of(view: &View) -> Self {
        let records = view.ledger.records.iter();
        Self {
            tally: Tally::of(records.map(|record| (record.time, &record.event))),
        }
    }

    /// Tells what has become of the machine by `events`, which `view` has already.
    pub(super) fn tell(&mut self, view: &View, now: Timestamp, events: &[&Event]) {
        let mut more = Counts::default();
        for event in events {
            self.tally.add(now, event);
            more = more.plus(Counts::of(event));
        }
        // A tree in which nothing runs has nobody who logs in, and nothing to count.
        if view.this_boot().is_none() {
            return;
        }
        self.tell_who_logs_in(view);
        self.tell_prometheus(view, now, more);
    }

    fn tell_who_logs_in(&self, view: &View) {
        let written = match banner::line(&view.state, &self.tally) {
            Some(line) => put_banner(&view.root, &format!("{line}\n")),
            None => durable::unflushed::remove(&view.root.join(BANNER)),
        };
        if let Err(error) = written {
            tracing::warn!("who logs in is not told: {}", one_line(&error));
        }
    }

    fn tell_prometheus(&self, view: &View, now: Timestamp, more: Counts) {
        let Some(running) = view.running() else {
            return;
        };
        // What is wrong with it was told when it was first read.
        let config = config::read(&view.root, &running.toplevel).unwrap_or_default();
        let Some(directory) = config.metrics.textfile_directory() else {
            return;
        };
        if let Err(why) = self.write(view, &view.root.join(directory), now, more) {
            tracing::warn!(
                "[metrics] textfile-directory: {why}; without the file Prometheus is told nothing of lastgood"
            );
        }
    }

    fn write(
        &self,
        view: &View,
        directory: &Path,
        now: Timestamp,
        more: Counts,
    ) -> Result<(), String> {
        // Where it is missing a file system may not be mounted: nothing is to be made below its place.
        if !directory.is_dir() {
            return Err(format!(
                "{} is no directory; make it, or install prometheus-node-exporter",
                directory.display()
            ));
        }
        let file = directory.join(metrics::FILE);
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        let before = metrics::counts_in(&before).plus(more);
        let facts = Facts {
            version: env!("CARGO_PKG_VERSION"),
            now,
            state: &view.state,
            is_this_boot: true,
            tally: &self.tally,
            counts: self.tally.counts.or_more(before),
            damaged: view.ledger.damaged.len(),
            unknown: view.ledger.unknown.len(),
        };
        durable::put_unflushed(&metrics::text(&facts), &file).map_err(|error| one_line(&error))
    }
}

/// Writes the line, if it is another one.
fn put_banner(root: &Root, text: &str) -> Result<(), durable::Error> {
    let file = root.join(BANNER);
    if std::fs::read_to_string(&file).is_ok_and(|before| before == text) {
        return Ok(());
    }
    durable::unflushed::make_directories(&root.join(BANNERS))?;
    durable::put_unflushed(text, &file)
}
