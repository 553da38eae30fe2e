//! What people read: one place for words.
//!
//! [`event`] (what happened), [`line`] (an error in one line, with [`advice`]), [`speech`] (what is said while running), [`progress`] (long work).

pub mod advice;
pub mod event;
pub mod line;
pub mod progress;
pub mod speech;
