//! What lastgood does, one verb a file: the only place where steps are put in order.
//!
//! An order that must hold is a type: what comes second takes what the first one returned. A verdict is carried through
//! only when it is [on record](on_record::OnRecord); entries are written only when they are
//! [ready](crate::entries::Ready), and for a selection only when that is on record too.
//!
//! An operation returns plain data. Whoever calls it says what it means: [`crate::command`].
//!
//! Asked for by an operator: [`select`], [`judge`], [`hold`], [`repair`], [`uninstall`]; by the package that has the files:
//! [`removal`]; nothing is changed by [`doctor`] and [`diff`]. The steps of a boot, in their order:
//! [`stage_2`], [`begin`], [`activate`], [`assess`], then [`bless`] or [`fall_back`], at last [`end`]; meanwhile
//! [`last_resort`], and [`emergency`] where the boot ended in that mode. What all verdicts have in common:
//! [`on_record`]. What ends an incident: [`close`], by
//! [`hooks`].

pub mod activate;
pub mod assess;
pub mod begin;
pub mod bless;
pub mod check;
pub mod close;
pub mod diff;
pub mod doctor;
pub mod emergency;
pub mod end;
pub mod fall_back;
pub mod hold;
pub mod hooks;
pub mod judge;
pub mod last_resort;
mod new_userspace;
pub mod on_record;
pub mod removal;
pub mod repair;
pub mod select;
pub mod stage_2;
pub mod switch;
pub mod uninstall;
pub mod watch;
