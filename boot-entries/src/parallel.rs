//! The same work for several files at once: reading one and taking the hash of another keeps disk and processors busy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More threads than this only wait for the disk. Each has a piece of a file in memory.
const MOST: usize = 4;
/// What a thread needs is a hash and a few calls deep.
const STACK: usize = 256 * 1024;

/// `work` for each of `items`, in no order, by as many threads as there are processors. The results are in the order of
/// `items`. Where no thread can be had, the caller does it all.
pub(crate) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(MOST).min(items.len());
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else {
                return done;
            };
            done.push((at, work(item)));
        }
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .filter_map(|_| {
                let builder = thread::Builder::new().stack_size(STACK);
                builder.spawn_scoped(scope, take).ok()
            })
            .collect();
        let mut done = take();
        for other in others {
            match other.join() {
                Ok(theirs) => done.extend(theirs),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_done_once_and_in_its_place() {
        for count in [0, 1, 2, 100] {
            let items: Vec<usize> = (0..count).collect();
            let worked = AtomicUsize::new(0);
            let doubled = each(&items, |item| {
                worked.fetch_add(1, Ordering::Relaxed);
                2 * item
            });
            assert_eq!(
                doubled,
                items.iter().map(|item| 2 * item).collect::<Vec<_>>()
            );
            assert_eq!(worked.into_inner(), count);
        }
    }
}
