//! What the tests plan for: `$BOOT` in memory, and the requests of a short story.

use crate::closure::{Bootable, Payload};
use crate::generation::{Generation, GenerationId, Subject};
use crate::name::{OurName as _, stem_of};
use crate::nixpkgs;
use crate::observe::{Found, Observation};
use crate::payload::{self, Content, Kind};
use crate::plan::InPlace;
use crate::plan::*;
use crate::space::{Directory, Volume, slots};
use systemd_boot_model::{EntryName, Loader, LoaderVariables, ReleaseRange, Tries};

/// In bytes.
const CLUSTER: u64 = 512;

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

    /// This disk, if it had `clusters` of half a kilobyte, in all.
    pub(crate) fn of_size(&self, clusters: u64) -> Self {
        self.of_size_with(clusters, &nixpkgs::Payload::new())
    }

    /// The same, with what nixpkgs' builder left.
    pub(crate) fn of_size_with(&self, clusters: u64, theirs: &nixpkgs::Payload) -> Self {
        let mut files = BTreeMap::new();
        for ((_, name), content) in theirs {
            files.insert(format!("{}/{name}", nixpkgs::DIRECTORY), content.size);
        }
        for (name, file) in &self.0.boot.entries {
            files.insert(format!("{ENTRIES}/{name}"), file.text.len() as u64);
        }
        for (name, content) in &self.0.payload {
            files.insert(format!("{}/{name}", payload::DIRECTORY), content.size);
        }
        for (_, path) in &self.0.boot.leftovers {
            files.insert(path.clone(), CLUSTER);
        }
        if let Some(text) = &self.0.boot.loader_conf {
            files.insert(LOADER_CONF.to_owned(), text.len() as u64);
        }
        let mut directories: BTreeMap<String, Directory> = BTreeMap::new();
        for path in files.keys() {
            let mut path = path.as_str();
            while let Some((above, name)) = path.rsplit_once('/') {
                let directory = directories.entry(above.to_owned()).or_default();
                directory.names.insert(name.to_owned());
                path = above;
            }
            let root = directories.entry(String::new()).or_default();
            root.names.insert(path.to_owned());
        }
        for directory in directories.values_mut() {
            let slots: u64 = directory.names.iter().map(|name| slots(name)).sum();
            directory.size = ((slots + 2) * 32).next_multiple_of(CLUSTER);
        }
        let sizes = files.values().chain(directories.values().map(|d| &d.size));
        let used: u64 = sizes.map(|size| size.div_ceil(CLUSTER)).sum();
        let mut disk = self.clone();
        disk.0.space = Some(Volume {
            free: clusters.saturating_sub(used),
            cluster: CLUSTER,
            directories,
            files,
        });
        disk
    }

    pub(crate) fn step(&mut self, step: &Step) {
        outcome::make(&mut self.0, step);
    }

    pub(crate) fn run(&mut self, intent: &Intent) -> Plan {
        self.run_with(intent, &InPlace::default())
    }

    /// [`Self::run`], with what is wanted here alone.
    pub(crate) fn run_with(&mut self, intent: &Intent, here: &InPlace) -> Plan {
        let plan = plan(&self.0, intent, here).unwrap();
        plan.steps.iter().for_each(|step| self.step(step));
        plan
    }

    /// The loader as it finds this disk.
    pub(crate) fn loader(&self, release: ReleaseRange) -> Loader {
        self.0.boot.loader(release, LoaderVariables::default())
    }

    /// The generations that boot now and after each of `failures` failed boots.
    pub(crate) fn boots(&self, release: ReleaseRange, failures: usize) -> Vec<u64> {
        let boots = self.loader(release).predict(failures);
        boots
            .iter()
            .map(|boot| boot.name.generation_number().unwrap())
            .collect()
    }

    /// [`Self::boots`] by what is started, whoever's entry it is.
    pub(crate) fn starts(&self, release: ReleaseRange, failures: usize) -> Vec<u64> {
        let boots = self.loader(release).predict(failures);
        let entry = |name: &EntryName| {
            let mut files = self.0.boot.entries.values();
            &files
                .find(|file| file.name.stem == name.stem)
                .unwrap()
                .entry
        };
        let closure = |name| nixpkgs::init_of(entry(name)).unwrap();
        boots
            .iter()
            .map(|boot| number_of(&closure(&boot.name)))
            .collect()
    }

    /// nixpkgs' builder has written an entry `name` for the generation `number`, and its payload.
    pub(crate) fn nixpkgs_wrote(&mut self, name: &str, number: u64) {
        self.wrote(name, &theirs(number));
        let names = [format!("kernel-{number}.efi"), "initrd.efi".to_owned()];
        let on_boot = names.map(|name| (Partition::Boot, name));
        self.0.boot.nixpkgs.extend(on_boot);
        outcome::look(&mut self.0);
    }

    /// Somebody has written an entry.
    pub(crate) fn wrote(&mut self, name: &str, text: &str) {
        let path = format!("{ENTRIES}/{name}");
        let (text, on) = (text.to_owned(), Partition::Boot);
        self.step(&Step::Text { text, on, path });
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

/// Those that differ in anything an entry of ours has.
pub(crate) const RELEASES: [ReleaseRange; 4] = [
    ReleaseRange::V252,
    ReleaseRange::V257_10,
    ReleaseRange::V258_1,
    ReleaseRange::V260,
];

/// What nixpkgs' builder writes.
pub(crate) fn theirs(number: u64) -> String {
    format!(
        "title NixOS\nsort-key nixos\nversion Generation {number} 26.05, built on 2026-01-01\n\
         linux /EFI/nixos/kernel-{number}.efi\ninitrd /EFI/nixos/initrd.efi\n\
         options init=/nix/store/{number}-system/init\nmachine-id 0123\n"
    )
}

/// The number in a closure of [`Disk::with`].
pub(crate) fn number_of(closure: &std::path::Path) -> u64 {
    let name = closure.file_name().unwrap().to_str().unwrap();
    name.split('-').next().unwrap().parse().unwrap()
}

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

/// Whether `plan` takes nothing away from what there is.
pub(crate) fn prove(
    observed: &Observation,
    plan: &Plan,
    intent: &Intent,
    release: ReleaseRange,
    variables: &LoaderVariables,
) -> Result<(), Refusal> {
    let proof = |plan: &Plan| Proof::of(observed, plan, intent, release, variables);
    proof(plan).prove(|| proof(&Plan::default()))
}

/// Whether a machine on which `plan` was carried out comes back.
pub(crate) fn comes_back(
    observed: &Observation,
    plan: &Plan,
    intent: &Intent,
    release: ReleaseRange,
    variables: &LoaderVariables,
) -> Result<(), Box<Stranding>> {
    let proof = Proof::of(observed, plan, intent, release, variables);
    proof
        .comes_back()
        .map_err(|stranding| Box::new(stranding.clone()))
}
