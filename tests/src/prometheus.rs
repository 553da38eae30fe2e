//! Debian's Prometheus and `node_exporter`, for examples that run them and for what they are to read.

use std::path::PathBuf;

use anyhow::Result;

use crate::debian::Debian;
use crate::packages;

/// Both, unpacked, without what they depend on.
///
/// # Errors
/// When they cannot be fetched.
pub fn unpacked(debian: Debian) -> Result<PathBuf> {
    let step = match debian {
        Debian::Twelve => "prometheus-12",
        Debian::Thirteen => "prometheus-13",
        Debian::Sid => "prometheus-sid",
    };
    packages::unpacked(step, debian, &["prometheus", "prometheus-node-exporter"])
}

/// The program that checks rules and files for Prometheus: Debian 12's, which needs nothing that this host lacks.
///
/// # Errors
/// When it cannot be fetched.
pub fn promtool() -> Result<PathBuf> {
    Ok(unpacked(Debian::Twelve)?.join("usr/bin/promtool"))
}
