//! The text of a unit (`systemd.syntax(7)`).

use std::collections::BTreeMap;

/// A unit's file, with drop-ins merged in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitFile {
    /// By section, then by key: all its values in their order. An empty value has thrown away those before it.
    pub sections: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}
