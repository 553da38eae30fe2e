//! A command that was begun inside.

use std::process::Child;

use anyhow::{Context, Result};

use super::nspawn;
use crate::machine::Output;

/// A command that was begun, and perhaps has ended. Dropped: it goes on.
pub struct Running(Child);

impl Running {
    pub(super) fn new(child: Child) -> Self {
        Self(child)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(self) -> Result<Output> {
        let output = self.0.wait_with_output();
        Ok(nspawn::of(
            &output.context("cannot wait for a command inside")?,
        ))
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// When that cannot be known.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}
