//! Counts, under test, how many things are looked at one after the other: what a run does for each generation must not
//! grow with the number of generations.

#[cfg(test)]
std::thread_local! {
    static LOOKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Something was looked at that may be nothing to the purpose.
pub(crate) fn look() {
    #[cfg(test)]
    LOOKS.set(LOOKS.get() + 1);
}

/// How often this thread has looked since it last asked.
#[cfg(test)]
pub(crate) fn looks() -> u64 {
    LOOKS.take()
}
