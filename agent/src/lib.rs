//! lastgood: every server, every boot, ends up running the newest generation that works.

pub mod activation;
pub mod cause;
pub mod config;
pub mod generator;
pub mod program;
pub mod running;
