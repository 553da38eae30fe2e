//! Services that say what happens to them, in the order in which it does.

use anyhow::Result;

use crate::container::Container;

/// Where they say it: a line each. A line that is added is whole, whoever else adds one.
pub const TRACE: &str = "/run/rig-trace";

/// `[Service]` of one that stays until it is stopped, and says `NAME start MARK`, `NAME stop MARK` and `NAME reload
/// MARK`. `more`: further lines of the section.
#[must_use]
pub fn traced_by(name: &str, mark: &str, more: &str) -> String {
    let say = |what: &str| format!("echo {name} {what} {mark} >>{TRACE}");
    format!(
        "[Service]\nExecStart=/bin/sh -c '{}; exec sleep infinity'\nExecStop=/bin/sh -c '{}'\n\
         ExecReload=/bin/sh -c '{}'\n{more}",
        say("start"),
        say("stop"),
        say("reload")
    )
}

/// Like [`traced_by`], with nothing more.
#[must_use]
pub fn traced(name: &str, mark: &str) -> String {
    traced_by(name, mark, "")
}

/// What was said since the last time.
///
/// # Errors
/// When the machine cannot be entered.
pub fn steps(server: &Container) -> Result<Vec<String>> {
    let text = server.run_ok(&format!(
        "if [ -e {TRACE} ]; then mv {TRACE} {TRACE}-told && cat {TRACE}-told; fi"
    ))?;
    Ok(text.lines().map(str::to_owned).collect())
}
