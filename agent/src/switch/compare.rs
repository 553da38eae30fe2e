//! What a difference of two unit files asks for.
