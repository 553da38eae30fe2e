//! Where entries go, looked up once a run for each question: mount tables and block devices do not change meanwhile.

use std::cell::RefCell;

use boot_entries::boot_partition::{Error, Places, Wanted};

/// What was asked, and the answers. That there is none may change: somebody mounts it, or systemd does.
#[derive(Debug, Default)]
pub(super) struct KnownPlaces(RefCell<Vec<(Wanted, Places)>>);

impl KnownPlaces {
    /// The answer to `wanted`, by `find` if it was not asked before.
    ///
    /// # Errors
    /// When there is no such place, or not the right one.
    pub(super) fn of(
        &self,
        wanted: &Wanted,
        find: impl FnOnce() -> Result<Places, Error>,
    ) -> Result<Places, Error> {
        let mut known = self.0.borrow_mut();
        if let Some((_, places)) = known.iter().find(|(asked, _)| asked == wanted) {
            return Ok(places.clone());
        }
        let places = find()?;
        known.push((wanted.clone(), places.clone()));
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn wanted(esp: &str) -> Wanted {
        Wanted {
            esp: Some(esp.into()),
            mirrors: Vec::new(),
        }
    }

    #[test]
    fn each_question_is_answered_once() {
        let known = KnownPlaces::default();
        let looks = Cell::new(0);
        let ask = |esp: &str| {
            let places = known.of(&wanted(esp), || {
                looks.set(looks.get() + 1);
                Ok(Places {
                    has_next: esp == "/efi",
                    ..Places::default()
                })
            });
            places.unwrap().has_next
        };
        for _ in 0..3 {
            assert!(ask("/efi"));
            assert!(!ask("/boot"));
        }
        assert_eq!(looks.get(), 2);
    }

    /// The automount unit of `$BOOT` may need a moment.
    #[test]
    fn what_is_not_mounted_now_may_be_later() {
        let known = KnownPlaces::default();
        let missing = || Err(Error::NotMounted("/efi".to_owned()));
        known.of(&wanted("/efi"), missing).unwrap_err();
        let found = known.of(&wanted("/efi"), || Ok(Places::default()));
        assert!(found.is_ok());
    }
}
