//! Somebody outside who looks at a page all the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::http;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a look may take. Under emulation a page takes tenths of a second.
const PATIENCE: Duration = Duration::from_secs(2);

/// One look: when it began, since the first power-on, and what was served. None: nothing.
pub type Look = (Duration, Option<String>);

/// Looks until it is dropped.
#[derive(Debug)]
pub struct PageWatch {
    looks: Arc<Mutex<Vec<Look>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PageWatch {
    pub(super) fn start(port: u16, begun: Instant) -> Self {
        let looks = Arc::new(Mutex::new(Vec::new()));
        let end = Arc::new(AtomicBool::new(false));
        let thread = {
            let (looks, end) = (Arc::clone(&looks), Arc::clone(&end));
            thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    let at = begun.elapsed();
                    // An answer that is no page is none to whoever wants to read it.
                    let page = http::get(port, PATIENCE).ok().flatten();
                    let page = page.map(|page| page.trim().to_owned());
                    let mut looks = looks.lock().unwrap_or_else(PoisonError::into_inner);
                    looks.push((at, page));
                    drop(looks);
                    thread::sleep(PAUSE);
                }
            })
        };
        Self {
            looks,
            end,
            thread: Some(thread),
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn looks(&self) -> Vec<Look> {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.clone()
    }
}

impl Drop for PageWatch {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        // A look that panicked has nothing more to say.
        drop(self.thread.take().map(JoinHandle::join));
    }
}
