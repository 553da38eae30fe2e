//! What the tests plan for: `$BOOT` in memory, and the wishes of a short story.

use crate::closure::{Bootable, Payload};
use crate::efi::LoaderVariables;
use crate::entry::Entry;
use crate::generation::{Generation, GenerationId, Subject};
use crate::loader::{Band, Listed, Loader};
use crate::loader_conf::LoaderConf;
use crate::name::{EntryName, Tries, stem_of};
use crate::observe::{EntryFile, Found, LOADER_CONF, Observation};
use crate::payload::{Content, Kind};
use crate::plan::*;
use std::time::SystemTime;

/// `$BOOT` in memory: what the steps change.
#[derive(Clone)]
pub(crate) struct Disk(pub(crate) Observation);

impl Disk {
    /// `count` generations; each has its own kernel, and all share one initrd.
    pub(crate) fn with(count: u64) -> Self {
        let generations = (1..=count).map(|number| {
            let generation = Generation {
                id: GenerationId::system(number),
                toplevel: format!("/nix/store/{number}-system").into(),
                made: SystemTime::UNIX_EPOCH,
            };
            let payload = |text: &str, kind| Payload {
                source: format!("/nix/store/{text}").into(),
                content: Content::of(&mut text.as_bytes()).unwrap(),
                kind,
            };
            Found {
                stem: stem_of(&generation.subject()),
                bootable: Ok(Bootable {
                    label: "Test".to_owned(),
                    options: format!("init=/nix/store/{number}-system/init"),
                    kernel: payload(&format!("kernel-{number}"), Kind::Kernel),
                    initrd: Some(payload("initrd", Kind::Initrd)),
                    devicetree: None,
                    extra_initrds: Vec::new(),
                }),
                generation,
            }
        });
        Self(Observation {
            generations: generations.collect(),
            ..Observation::default()
        })
    }

    pub(crate) fn step(&mut self, step: &Step) {
        let path = match step {
            Step::Copy { path, .. } | Step::Text { path, .. } | Step::Remove { path } => path,
        };
        let file = path.rsplit('/').next().unwrap().to_owned();
        match step {
            Step::Copy { content, .. } => drop(self.0.payload.insert(file, *content)),
            Step::Remove { .. } => {
                self.0.boot.entries.remove(&file);
                self.0.payload.remove(&file);
                self.0.boot.leftovers.retain(|left| left != path);
            }
            Step::Text { text, path } if path == LOADER_CONF => {
                self.0.boot.loader_conf = Some(text.clone());
            }
            Step::Text { text, .. } => {
                let name = EntryName::parse(&file).unwrap();
                let entry = Entry::parse(text);
                let text = text.clone();
                self.0
                    .boot
                    .entries
                    .insert(file, EntryFile { name, entry, text });
            }
        }
    }

    pub(crate) fn run(&mut self, intent: &Intent) -> Plan {
        let plan = plan(&self.0, intent).unwrap();
        plan.steps.iter().for_each(|step| self.step(step));
        plan
    }

    /// The loader as it finds this disk.
    pub(crate) fn loader(&self, band: Band) -> Loader {
        let there = |file: &&EntryFile| {
            let kernel = file
                .entry
                .linux
                .as_deref()
                .and_then(|path| path.rsplit('/').next());
            kernel.is_some_and(|kernel| self.0.payload.contains_key(kernel))
        };
        let listed = |file: &EntryFile| Listed {
            name: file.name.clone(),
            entry: file.entry.clone(),
        };
        let boot = &self.0.boot;
        Loader {
            band,
            entries: boot.entries.values().filter(there).map(listed).collect(),
            conf: LoaderConf::parse(boot.loader_conf.as_deref().unwrap_or_default()),
            variables: LoaderVariables::default(),
        }
    }

    /// The generations that boot now and after each of `failures` failed boots.
    pub(crate) fn boots(&self, band: Band, failures: usize) -> Vec<u64> {
        let boots = self.loader(band).predict(failures);
        boots
            .iter()
            .map(|boot| boot.name.generation_number().unwrap())
            .collect()
    }

    pub(crate) fn files(&self) -> Vec<&str> {
        self.0.boot.entries.keys().map(String::as_str).collect()
    }

    /// The loader started the entry of `number`: the counter falls.
    pub(crate) fn count_a_boot(&mut self, number: u64) {
        let name = self
            .0
            .boot
            .entries
            .values()
            .find(|f| f.name.generation_number() == Some(number))
            .unwrap()
            .name
            .to_string();
        let mut file = self.0.boot.entries.remove(&name).unwrap();
        file.name.tries = file.name.tries.map(Tries::after_a_boot);
        self.0.boot.entries.insert(file.name.to_string(), file);
    }
}

pub(crate) const BANDS: [Band; 3] = [Band::To257, Band::To259, Band::From260];

pub(crate) fn id(number: u64) -> Subject {
    Subject {
        generation: GenerationId::system(number),
        toplevel: format!("/nix/store/{number}-system").into(),
    }
}

pub(crate) fn select(number: u64) -> Intent {
    Intent {
        selected: Some(id(number)),
        ..Intent::default()
    }
}

pub(crate) fn proven(mut intent: Intent, number: u64) -> Intent {
    intent.standings.insert(id(number), Standing::Proven);
    intent.last_good = Some(id(number));
    intent
}
