//! What people read: one place for words.
//!
//! [`event`] (what happened), [`line`] (an error in one line, with [`advice`]), [`remedy`] (what to type), [`label`]
//! (states and numbers), [`tally`] (what is on record, counted), [`metrics`] (that for Prometheus), [`banner`] (for whoever
//! logs in), [`print`] and [`style`] (answers), [`speech`] (what is said while running), [`progress`] (long work).

pub mod advice;
pub mod banner;
pub mod event;
pub mod label;
pub mod line;
pub mod metrics;
pub mod print;
pub mod progress;
pub mod remedy;
pub mod speech;
pub mod style;
pub mod tally;
