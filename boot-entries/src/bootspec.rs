//! What a closure says about booting itself: `boot.json`, bootspec v1 (NixOS RFC 0125).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

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

/// The whole file. Extensions (any other key) are none of our business.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Document {
    /// The system itself.
    #[serde(rename = "org.nixos.bootspec.v1")]
    pub bootspec: Bootspec,
    /// Its specialisations, by name; may be left out.
    #[serde(rename = "org.nixos.specialisation.v1", default)]
    pub specialisations: BTreeMap<String, Document>,
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
}

impl Document {
    /// Reads the text of a `boot.json`.
    ///
    /// # Errors
    /// The first thing wrong with it; JSON errors carry line and column.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let document: Self = serde_json::from_str(text)?;
        document.bootspec.check()?;
        Ok(document)
    }
}

impl Bootspec {
    fn check(&self) -> Result<(), Mistake> {
        if self.system != "x86_64-linux" {
            return Err(Mistake::System(self.system.clone()));
        }
        let paths = [
            ("init", Some(&self.init)),
            ("kernel", Some(&self.kernel)),
            ("initrd", self.initrd.as_ref()),
            ("toplevel", Some(&self.toplevel)),
        ];
        for (key, path) in paths {
            let Some(path) = path else { continue };
            if !path.is_absolute() {
                let path = path.clone();
                return Err(Mistake::Relative { key, path });
            }
            if path.to_string_lossy().contains(char::is_control) {
                return Err(Mistake::Control(key));
            }
        }
        if self.label.contains(char::is_control) {
            return Err(Mistake::Control("label"));
        }
        for parameter in &self.kernel_params {
            if parameter.contains(char::is_control) {
                return Err(Mistake::Control("kernelParams"));
            }
            if parameter.starts_with("init=") {
                return Err(Mistake::Init);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut value = serde_json::json!({
            "org.nixos.bootspec.v1": {
                "label": "NixOS", "system": "x86_64-linux", "init": "/nix/store/t/init",
                "kernel": "/nix/store/k/bzImage", "initrd": "/nix/store/i/initrd",
                "kernelParams": ["quiet"], "toplevel": "/nix/store/t",
            },
            "org.nixos.systemd-boot": { "sortKey": "nixos" },
            "com.example.anything": [1, 2],
        });
        change(&mut value);
        value.to_string()
    }

    #[test]
    fn extensions_and_missing_specialisations_are_fine() {
        let read = Document::parse(&document(|_| ())).unwrap();
        assert_eq!(read.bootspec.kernel_params, ["quiet"]);
        assert!(read.specialisations.is_empty());
    }

    #[test]
    fn what_cannot_be_an_entry_is_refused() {
        let spec = "org.nixos.bootspec.v1";
        let cases: [(&str, &str, serde_json::Value); 5] = [
            ("system", "x86_64-linux", "aarch64-linux".into()),
            ("init", "absolute", "init".into()),
            ("label", "control", "a\nlinux /evil".into()),
            ("kernelParams", "init=", vec!["init=/bin/sh"].into()),
            ("kernelParams", "control", vec!["a\nb"].into()),
        ];
        for (key, word, bad) in cases {
            let text = document(|value| value[spec][key] = bad.clone());
            let mistake = Document::parse(&text).unwrap_err().to_string();
            assert!(mistake.contains(word), "{key}: {mistake}");
        }
    }

    #[test]
    fn json_errors_have_a_place() {
        let mistake = Document::parse("{\n  \"org.nixos.bootspec.v1\": 3\n}").unwrap_err();
        assert!(mistake.to_string().contains("line 2"), "{mistake}");
    }
}
