//! What a unit says about its own switch.
