//! `lastgood doctor`: is this host ready? What `install` refuses, this foretells.

pub mod facts;
pub mod findings;

use boot_entries::Root;

use crate::error::Error;
use crate::view::View;
use findings::{Finding, findings};

/// Looks at the running machine, and says what there is to say.
///
/// # Errors
/// When the ledger or the profiles cannot be read.
pub fn doctor(root: &Root) -> Result<Vec<Finding>, Error> {
    let view = View::read(root)?;
    Ok(findings(&facts::look(&view)))
}
