//! Events of the ledger in the journal, with fields to search for.

use libsystemd::logging::{Priority, journal_send};

use crate::state::Event;

/// Every journal entry about an event of the ledger has this `MESSAGE_ID`.
pub const MESSAGE_ID: &str = "7f0f2c9a5d0e4c3b9a4be1a9c1d0c6a7";

/// Gives an event of the ledger to the journal, with fields to search for: `journalctl LASTGOOD_EVENT=rejected`.
///
/// The ledger has it already. A journal that does not listen (in a container, before it is up) costs nothing.
pub fn event(event: &Event) {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(event) else {
        return;
    };
    let text = |key: &str| {
        fields
            .get(key)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    };
    let subject = |key: &str| {
        ["subject", "running", "to"]
            .iter()
            .find_map(|name| fields.get(*name)?.get(key)?.as_str())
            .unwrap_or_default()
    };
    let (priority, name) = match event {
        Event::Rejected { .. } | Event::Degraded { .. } => (Priority::Error, text("event")),
        Event::Rebooting { .. } => (Priority::Warning, text("event")),
        _ => (Priority::Debug, text("event")),
    };
    let message = format!("ledger: {name} {}", subject("generation"));
    let pairs = [
        ("MESSAGE_ID", MESSAGE_ID),
        ("LASTGOOD_EVENT", name),
        ("LASTGOOD_STAGE", text("stage")),
        ("LASTGOOD_GENERATION", subject("generation")),
        ("LASTGOOD_CLOSURE", subject("toplevel")),
    ];
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    if let Err(error) = journal_send(priority, message.trim_end(), pairs) {
        tracing::debug!("the journal does not listen: {error}");
    }
}
