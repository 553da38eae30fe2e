//! What of a firewall is in the kernel. It is written down when it is loaded, so that it need not be loaded once more:
//! that would set counters back, and empty sets that were filled meanwhile.

use std::io;

use boot_entries::{Root, durable};
use serde::{Deserialize, Serialize};

use super::super::ruleset::{Ruleset, Table};
use super::nft::{self, Nft};
use crate::host::FIREWALL;

/// What was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Loaded {
    /// [`Ruleset::digest`].
    pub(super) digest: String,
    /// The tables, each with its handles in the kernel.
    pub(super) tables: Vec<(Table, Vec<u64>)>,
}

impl Loaded {
    /// What is there of `ruleset`, which was loaded just now; or the first table that is not.
    pub(super) fn now(nft: Nft<'_>, ruleset: &Ruleset) -> Result<Self, Table> {
        let with_handles = |table: &Table| match nft::handles(nft, table) {
            Some(handles) => Ok((table.clone(), handles)),
            None => Err(table.clone()),
        };
        Ok(Self {
            digest: ruleset.digest.clone(),
            tables: ruleset
                .tables
                .iter()
                .map(with_handles)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether everything that was loaded is there still. What somebody has added is no matter.
    pub(super) fn is_whole(&self, nft: Nft<'_>) -> bool {
        self.tables.iter().all(|(table, before)| {
            let now = nft::handles(nft, table).unwrap_or_default();
            // Handles in a table may be those of an older one of its name.
            now.first() == before.first() && before.iter().all(|handle| now.contains(handle))
        })
    }

    /// The tables that were loaded and are there still. One that somebody has made anew is theirs.
    pub(super) fn still_there(&self, nft: Nft<'_>) -> Vec<Table> {
        let is_same = |(table, before): &&(Table, Vec<u64>)| {
            nft::handles(nft, table).is_some_and(|now| now.first() == before.first())
        };
        let same = self.tables.iter().filter(is_same);
        same.map(|(table, _)| table.clone()).collect()
    }

    /// What was loaded last, in this boot. None: nothing, or nobody can tell.
    pub(super) fn read(root: &Root) -> Option<Self> {
        match std::fs::read_to_string(root.join(FIREWALL)) {
            Ok(text) => serde_json::from_str(&text)
                .inspect_err(|error| tracing::debug!("{FIREWALL}: {error}"))
                .ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("cannot read {FIREWALL}: {error}");
                None
            }
        }
    }

    /// Writes it down. Where that fails the next run loads the same once more.
    pub(super) fn write(&self, root: &Root) {
        let written = serde_json::to_string(self)
            .map_err(|error| error.to_string())
            .and_then(|text| {
                let place = root.place(FIREWALL).map_err(|error| error.to_string())?;
                durable::put_text(&text, &place).map_err(|error| error.to_string())
            });
        if let Err(error) = written {
            tracing::warn!("cannot write down what is loaded: {error}");
        }
    }
}
