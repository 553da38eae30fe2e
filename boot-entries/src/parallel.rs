//! The same work for several files at once: reading one and taking the hash of another keeps disk and processors busy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

/// More threads than this only wait for the disk. Each has a piece of a file in memory.
const MOST: usize = 4;
/// What a thread needs is a hash and a few calls deep.
const STACK: usize = 256 * 1024;

/// `work` for each of `items`, in no order, by as many threads as there are processors. The results are in the order of
/// `items`. Where no thread can be had, the caller does it all.
pub(crate) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // How many processors there are takes a look at several files.
    let threads = match items.len() {
        few @ 0..=1 => few,
        many => processors().min(many),
    };
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
    with_others(threads.saturating_sub(1), take, take)
}

fn processors() -> usize {
    thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MOST)
}

/// Does `mine` while so many threads do `theirs`; the numbered results of all, in order.
fn with_others<R: Send>(
    others: usize,
    theirs: impl Fn() -> Vec<(usize, R)> + Sync,
    mine: impl FnOnce() -> Vec<(usize, R)>,
) -> Vec<R> {
    let done = thread::scope(|scope| {
        let others: Vec<_> = (0..others)
            .filter_map(|_| {
                let builder = thread::Builder::new().stack_size(STACK);
                builder.spawn_scoped(scope, &theirs).ok()
            })
            .collect();
        let mut done = mine();
        for other in others {
            match other.join() {
                Ok(theirs) => done.extend(theirs),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    // Each in its place. A sort would do as well, and every kind of result would bring its own into the binary.
    let mut places: Vec<Option<R>> = Vec::new();
    places.resize_with(done.len(), || None);
    for (at, result) in done {
        if let Some(place) = places.get_mut(at) {
            *place = Some(result);
        }
    }
    places.into_iter().flatten().collect()
}

/// Takes items from `next`, one after the other, while further threads do `work` on those that are there: as many as
/// there are processors, and `most` at most. The results are in the order of the items. With what is left when there is
/// no next one, the caller helps; where there is no further thread, it does it all.
pub(crate) fn behind<T: Send, R: Send>(
    most: usize,
    mut next: impl FnMut() -> Option<T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let others = match processors() {
        1 => 0,
        // Each waits for the disk more than it computes.
        more => more.min(MOST - 1).min(most),
    };
    let (sender, receiver) = mpsc::channel();
    let receiver = Mutex::new(receiver);
    let receive = || {
        receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv()
    };
    let take = || {
        let mut done = Vec::new();
        while let Ok((at, item)) = receive() {
            done.push((at, work(item)));
        }
        done
    };
    with_others(others, take, || {
        for at in 0_usize.. {
            let Some(item) = next() else { break };
            drop(sender.send((at, item)));
        }
        drop(sender);
        take()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_worked_on_once_and_in_its_place() {
        for count in [0, 1, 2, 100] {
            let mut last = 0;
            let next = || {
                last += 1;
                (last <= count).then_some(last)
            };
            let doubled = behind(count / 2, next, |item: usize| 2 * item);
            let expected: Vec<usize> = (1..=count).map(|item| 2 * item).collect();
            assert_eq!(doubled, expected);
        }
    }

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
