//! A live switch from one closure's units to another's, as far as it is arithmetic.
//!
//! Pure but for [`units`], which reads. The order of reading:
//!
//! 1. [`unit_file`]: the text of a unit, parsed. [`set`]: all units of a closure, with the files that make each one.
//! 2. [`compare`]: what a difference of two files asks for. [`attributes`]: what a unit says about its own switch.
//!    [`fstab`]: the same for `/etc/fstab`. [`inhibitors`]: what forbids a live switch.
//! 3. [`situation`]: all that a plan hangs on. [`plan`]: what is stopped, reloaded, restarted, started and left alone, and
//!    why. [`words`]: the lines that say so.
//! 4. [`late`]: what was started in the middle of the switch from its old definition.
//!
//! Units of users follow the same rules with their own sets.

pub mod attributes;
pub mod compare;
pub mod fstab;
pub mod inhibitors;
pub mod late;
pub mod plan;
pub mod same;
pub mod set;
pub mod situation;
pub mod unit_file;
pub mod units;
pub mod words;
