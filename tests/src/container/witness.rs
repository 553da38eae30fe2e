//! What a container leaves where a story about it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use lastgood::store::ledger;

use super::Container;
use crate::evidence::{self, Witness};
use crate::timeline::Timeline;

impl Witness for Container {
    fn dir(&self) -> &Path {
        &self.dir
    }

    fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    fn stop_for_evidence(&mut self) {
        let Some(on) = self.on.take() else { return };
        let flush = on.run("journalctl --sync", Duration::from_secs(5));
        self.timeline.note(match flush {
            Ok(_) => "stopped for evidence, journal flushed".to_owned(),
            Err(error) => format!("stopped for evidence without flushing: {error:#}"),
        });
    }

    fn leave(&self, into: &Path) -> Vec<(&'static str, Result<()>)> {
        let copy = |from: PathBuf, name| -> Result<()> {
            fs::copy(from, into.join(name))?;
            Ok(())
        };
        let journal = self.disk().join("/var/log/journal");
        vec![
            ("console", copy(self.dir.join("console.log"), "console.log")),
            (
                "ledger",
                copy(self.disk().join(ledger::PATH), "ledger.jsonl"),
            ),
            ("journal", evidence::journal_as_text(&journal, into)),
        ]
    }
}
