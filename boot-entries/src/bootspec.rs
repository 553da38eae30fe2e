//! What a closure says about booting itself: `boot.json`, bootspec v1 (NixOS RFC 0125).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::GenerationId;
use crate::bounded::{self, has_control};

/// The file's name inside a closure.
pub const FILE: &str = "boot.json";

/// `org.nixos.bootspec.v1`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bootspec {
    /// For people: distribution, release and kernel.
    pub label: String,
    /// The Nix system, e.g. `x86_64-linux`.
    pub system: String,
    /// What PID 1 is, by its path on the machine: `<toplevel>/init`.
    pub init: PathBuf,
    /// The kernel image.
    pub kernel: PathBuf,
    /// The kernel's parameters, without `init=`.
    pub kernel_params: Vec<String>,
    /// The initrd.
    pub initrd: Option<PathBuf>,
    /// A program that adds secrets to a copy of the initrd.
    pub initrd_secrets: Option<PathBuf>,
    /// The closure itself.
    pub toplevel: PathBuf,
}

/// The whole file, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The system itself.
    pub bootspec: Bootspec,
    /// Its specialisations.
    pub specialisations: Specialisations,
    /// `org.nixos.systemd-boot`: a devicetree for the loader to install. The same extension's `sortKey` has no say: the
    /// sort key of our entries is what selects (`crate::entry::Rank`).
    pub devicetree: Option<PathBuf>,
    /// `org.nixos.extra-initrd.v1`: further initrds, by their paths on `$BOOT`, where somebody else put them. Each
    /// begins with a slash, as an entry has it.
    pub extra_initrds: Vec<String>,
}

/// What a document says about specialisations. What is wrong with one of them is wrong with that one only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Specialisations {
    /// Their closures, by name.
    pub closures: BTreeMap<String, PathBuf>,
    /// What is wrong with others, a line each.
    pub troubles: Vec<String>,
}

/// More specialisations than anybody boots: each one takes an entry on a small `$BOOT`.
const MOST_SPECIALISATIONS: usize = 100;
/// How much of a name is repeated in a message.
const SHOWN: usize = 60;

impl Specialisations {
    /// Takes a specialisation, or the reason why there is none.
    pub(crate) fn add(&mut self, name: &str, closure: Result<PathBuf, String>) {
        let closure = match closure {
            // The id is what it is asked for by: without one, nobody could.
            Ok(_) if GenerationId::system(0).specialised(name).is_none() => {
                Err("its name is empty or holds a control character".to_owned())
            }
            Ok(_) if self.closures.len() >= MOST_SPECIALISATIONS => Err(format!(
                "it is beyond the {MOST_SPECIALISATIONS} that are taken"
            )),
            closure => closure,
        };
        match closure {
            Ok(closure) => drop(self.closures.insert(name.to_owned(), closure)),
            Err(why) => {
                let name = bounded::one_line(name, SHOWN);
                self.troubles
                    .push(format!("specialisation {name:?}: {why}"));
            }
        }
    }

    /// Reads `org.nixos.specialisation.v1`. Of each specialisation only its closure is taken from here: how that boots,
    /// its own `boot.json` says.
    fn of(value: &Value) -> Self {
        let mut all = Self::default();
        match value {
            Value::Null => {}
            Value::Object(children) => {
                for (name, child) in children {
                    let closure = Child::deserialize(child).map(|child| child.bootspec.toplevel);
                    all.add(name, closure.map_err(|error| error.to_string()));
                }
            }
            _ => all
                .troubles
                .push("org.nixos.specialisation.v1 is no object".to_owned()),
        }
        all
    }
}

#[derive(Deserialize)]
struct Child {
    #[serde(rename = "org.nixos.bootspec.v1")]
    bootspec: ChildSpec,
}

#[derive(Deserialize)]
struct ChildSpec {
    toplevel: PathBuf,
}

/// The file as it is written. Other extensions are none of our business.
#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "org.nixos.bootspec.v1")]
    bootspec: Bootspec,
    /// May be left out. Whatever it is, it is no reason not to boot the system itself.
    #[serde(rename = "org.nixos.specialisation.v1", default)]
    specialisations: Value,
    #[serde(
        rename = "org.nixos.systemd-boot",
        default,
        deserialize_with = "or_null"
    )]
    systemd_boot: SystemdBoot,
    #[serde(
        rename = "org.nixos.extra-initrd.v1",
        default,
        deserialize_with = "or_null"
    )]
    extra_initrd: ExtraInitrd,
}

/// What Nix writes for a value that is not there says as much as the key's absence.
fn or_null<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(from).map(Option::unwrap_or_default)
}

#[derive(Default, Deserialize)]
struct SystemdBoot {
    devicetree: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
struct ExtraInitrd {
    #[serde(default, deserialize_with = "or_null")]
    paths: Vec<String>,
}

/// A `boot.json` that is none, or that says what cannot be booted here.
#[derive(Debug, thiserror::Error)]
pub enum Mistake {
    /// Not JSON, or not bootspec v1.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// For another machine.
    #[error("system is {0:?}, and this is x86_64-linux")]
    System(String),
    /// An entry is a text of lines: a line break in a value would be a line of its own.
    #[error("{0} holds a control character")]
    Control(&'static str),
    /// A path that leads nowhere certain.
    #[error("{key} is {}, which is no absolute path", path.display())]
    Relative {
        /// Which key.
        key: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// The initrd and the agent both read `init=`: there must be exactly one, ours.
    #[error("kernelParams holds init=, which the entry adds itself")]
    Init,
    /// The kernel would cut it in two, and start something else.
    #[error("init is {}, which cannot stand in a kernel command line", .0.display())]
    Blank(PathBuf),
    /// There is nothing to add them to.
    #[error("there is initrdSecrets without an initrd")]
    NoInitrd,
    /// The loader would look for it elsewhere, or not at all.
    #[error("extra initrd {0:?} is no plain path of a file on $BOOT")]
    ExtraInitrd(String),
}

impl Document {
    /// Reads the text of a `boot.json`. That it makes sense is [`Document::check`]'s to say.
    ///
    /// # Errors
    /// Line and column of what is no bootspec v1.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let raw: Raw = serde_json::from_str(text)?;
        Ok(Self {
            bootspec: raw.bootspec,
            specialisations: Specialisations::of(&raw.specialisations),
            devicetree: raw.systemd_boot.devicetree,
            extra_initrds: raw.extra_initrd.paths.iter().map(from_top).collect(),
        })
    }

    /// Whether an entry can be made of it.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn check(&self) -> Result<(), Mistake> {
        let spec = &self.bootspec;
        // First of all: what is told of a mistake is one line.
        if has_control(&spec.system) {
            return Err(Mistake::Control("system"));
        }
        if spec.system != "x86_64-linux" {
            return Err(Mistake::System(spec.system.clone()));
        }
        let paths = [
            ("init", Some(&spec.init)),
            ("kernel", Some(&spec.kernel)),
            ("initrd", spec.initrd.as_ref()),
            ("initrdSecrets", spec.initrd_secrets.as_ref()),
            ("toplevel", Some(&spec.toplevel)),
            ("devicetree", self.devicetree.as_ref()),
        ];
        for (key, path) in paths {
            let Some(path) = path else { continue };
            if has_control(&shown(path)) {
                return Err(Mistake::Control(key));
            }
            if !path.is_absolute() {
                let path = path.clone();
                return Err(Mistake::Relative { key, path });
            }
        }
        if has_control(&spec.label) {
            return Err(Mistake::Control("label"));
        }
        if shown(&spec.init).contains([' ', '"']) {
            return Err(Mistake::Blank(spec.init.clone()));
        }
        if spec.initrd_secrets.is_some() && spec.initrd.is_none() {
            return Err(Mistake::NoInitrd);
        }
        for parameter in &spec.kernel_params {
            if has_control(parameter) {
                return Err(Mistake::Control("kernelParams"));
            }
            // A blank inside a parameter makes two, and the kernel takes a quote before a name for none.
            let mut words = parameter
                .split(' ')
                .map(|word| word.trim_start_matches('"'));
            if words.any(|word| word.starts_with("init=")) {
                return Err(Mistake::Init);
            }
        }
        let odd = |path: &&String| !is_on_boot(path);
        match self.extra_initrds.iter().find(odd) {
            Some(path) => Err(Mistake::ExtraInitrd(bounded::one_line(path, SHOWN))),
            None => Ok(()),
        }
    }
}

/// A path as a text. `Path::to_string_lossy` alone takes longer for one that is a text.
pub(crate) fn shown(path: &Path) -> Cow<'_, str> {
    let text = path.to_str().map(Cow::Borrowed);
    text.unwrap_or_else(|| path.to_string_lossy())
}

/// `path` from the top of `$BOOT`. The option is documented as relative to the ESP and nixpkgs' builder puts a slash
/// before whatever it says, so `a`, `/a` and `./a` are the same file. What is none stays as it is, for
/// [`Document::check`] to refuse.
fn from_top(path: &String) -> String {
    let mut whole = String::new();
    for part in Path::new(path).components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                whole.push('/');
                whole.push_str(&name.to_string_lossy());
            }
            Component::ParentDir | Component::Prefix(_) => return path.clone(),
        }
    }
    if whole.is_empty() {
        return path.clone();
    }
    whole
}

/// Whether `path` names a file on `$BOOT` and can stand in a line of an entry.
fn is_on_boot(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    parts.next() == Some(Component::RootDir)
        && parts.next().is_some()
        && Path::new(path)
            .components()
            .skip(1)
            .all(|part| matches!(part, Component::Normal(_)))
        && !has_control(path)
        && path.trim() == path
}

#[cfg(test)]
mod tests;
