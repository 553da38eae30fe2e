//! A live switch: the machine becomes another closure without a boot, all or nothing.

#![allow(missing_docs, reason = "being written")]
pub mod fit;
pub mod request;
pub mod said;
