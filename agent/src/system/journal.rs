//! Events of the ledger in the journal, with fields to search for, and an id for each kind of [`message`].

pub mod message;

use libsystemd::logging::{Priority, connected_to_journal, journal_send};
use tracing::Level;

use crate::state::Event;
use message::Message;

/// What the units call themselves: `journalctl -t lastgood` shows these entries among what the steps say.
const IDENTIFIER: &str = "lastgood";

/// Gives an event of the ledger to the journal, in words (`text`) and with fields to search for: `journalctl
/// LASTGOOD_EVENT=rejected`. Says whether the journal has taken it.
///
/// The ledger has it already. A journal that does not listen (in a container, before it is up) costs nothing.
#[must_use]
pub fn event(event: &Event, level: Level, text: &str) -> bool {
    send(Message::of(event), level, text, fields(event))
}

/// Gives a message to the journal that is about no event of the ledger, with fields of its own. Says whether the journal has
/// taken it.
#[must_use]
pub fn send(
    message: Message,
    level: Level,
    text: &str,
    fields: Vec<(&'static str, String)>,
) -> bool {
    let known = [
        ("MESSAGE_ID", message.id().to_owned()),
        ("SYSLOG_IDENTIFIER", IDENTIFIER.to_owned()),
    ];
    let all = known.into_iter().chain(fields);
    let sent = journal_send(priority(level), text, all);
    if let Err(error) = &sent {
        tracing::debug!("the journal does not listen: {error}");
    }
    sent.is_ok()
}

/// Whether what is said on standard error goes to the journal.
#[must_use]
pub fn has_stderr() -> bool {
    connected_to_journal()
}

fn priority(level: Level) -> Priority {
    match level {
        Level::ERROR => Priority::Error,
        Level::WARN => Priority::Warning,
        Level::INFO => Priority::Info,
        _ => Priority::Debug,
    }
}

/// What can be searched for. A field may be there several times.
fn fields(event: &Event) -> Vec<(&'static str, String)> {
    let mut fields = vec![("LASTGOOD_EVENT", event.name().to_owned())];
    if let Some(stage) = event.stage() {
        fields.push(("LASTGOOD_STAGE", stage.name().to_owned()));
    }
    if let Some(subject) = event.subject() {
        fields.push(("LASTGOOD_GENERATION", subject.generation.to_string()));
        fields.push(("LASTGOOD_CLOSURE", subject.toplevel.display().to_string()));
    }
    if let Some(from) = event.left() {
        fields.push(("LASTGOOD_FROM", from.generation.to_string()));
    }
    if let Event::Hooked { hook, .. } = event {
        fields.push(("LASTGOOD_HOOK", hook.name().to_owned()));
    }
    if let Some(cause) = event.cause() {
        fields.push(("LASTGOOD_SUMMARY", cause.summary.clone()));
    }
    let faults = event.faults().iter();
    fields.extend(faults.map(|fault| ("LASTGOOD_FAULT", fault.key().into_owned())));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Subject;
    use crate::state::cause::{Cause, Stage};
    use crate::state::fault::Fault;
    use boot_entries::GenerationId;

    #[test]
    fn a_rejection_can_be_searched_for_by_all_that_decides() {
        let event = Event::Rejected {
            subject: Subject {
                generation: GenerationId::system(3),
                toplevel: "/nix/store/x".into(),
            },
            cause: Cause {
                faults: vec![Fault::Activation, Fault::of_unit("a.service")],
                ..Cause::of(Stage::Begun, Fault::Activation)
            },
        };
        let fields = fields(&event);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
        assert_eq!(
            fields,
            [
                ("LASTGOOD_EVENT", "rejected"),
                ("LASTGOOD_STAGE", "begun"),
                ("LASTGOOD_GENERATION", "3"),
                ("LASTGOOD_CLOSURE", "/nix/store/x"),
                ("LASTGOOD_SUMMARY", "the closure was not put in place"),
                ("LASTGOOD_FAULT", "activation"),
                ("LASTGOOD_FAULT", "unit:a.service"),
            ]
        );
    }
}
