//! How generations are called in answers: their state and their number.

use boot_entries::GenerationId;
use serde::Serialize;

use crate::report::style::Tone;
use crate::state::{Standing, Subject};

/// How a generation stands, as the contract names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateLabel {
    /// It passed an assessment here.
    Proven,
    /// It is being tried.
    Trial,
    /// Nobody has tried it here.
    Untested,
    /// A verdict said no, and that may not have been its fault.
    Suspect,
    /// A verdict said no.
    Rejected,
    /// It lacks something that a boot needs.
    Unbootable,
}

impl StateLabel {
    /// The label of a generation that stands so.
    #[must_use]
    pub fn of(standing: Standing, bootable: bool) -> Self {
        match standing {
            _ if !bootable => Self::Unbootable,
            Standing::Untested => Self::Untested,
            Standing::Trial => Self::Trial,
            Standing::Proven => Self::Proven,
            Standing::Suspect => Self::Suspect,
            Standing::Rejected => Self::Rejected,
        }
    }

    /// For people; the same word as in JSON.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Trial => "trial",
            Self::Untested => "untested",
            Self::Suspect => "suspect",
            Self::Rejected => "rejected",
            Self::Unbootable => "unbootable",
        }
    }

    /// What somebody is to make of it.
    #[must_use]
    pub fn tone(self) -> Tone {
        match self {
            Self::Proven => Tone::Good,
            Self::Trial | Self::Suspect => Tone::Limit,
            Self::Untested => Tone::Plain,
            Self::Rejected | Self::Unbootable => Tone::Bad,
        }
    }
}

/// What is told of a trial that was found healthy and is none the less one.
pub const HEALTHY_TRIAL: &str = "healthy in a boot that the loader did not make; it is proven by the next boot through the loader, if that is healthy";

/// That the profile is at a generation that nobody has selected.
#[must_use]
pub fn not_selected(ahead: &Subject) -> String {
    let id = &ahead.generation;
    format!(
        "{} is at generation {id}, which is not selected; `lastgood install` selects it",
        id.profile()
    )
}

/// A plain number for the system profile, as nixos-rebuild has it; `profile:number` for another.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Number {
    /// Of the system profile.
    System(u64),
    /// Of another profile, or with a specialisation.
    Other(GenerationId),
}

impl Number {
    /// The number of `id`.
    #[must_use]
    pub fn of(id: &GenerationId) -> Self {
        if *id == GenerationId::system(id.number()) {
            Self::System(id.number())
        } else {
            Self::Other(id.clone())
        }
    }
}
