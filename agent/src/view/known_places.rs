//! Where entries go, looked up once a run for each question: mount tables and block devices do not change meanwhile.

use std::cell::RefCell;

use boot_entries::boot_partition::{Error, Places, Wanted};

/// What was asked, and the answers.
#[derive(Debug, Default)]
pub(super) struct KnownPlaces(RefCell<Vec<(Wanted, Result<Places, Error>)>>);

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
            return places.clone();
        }
        let places = find();
        known.push((wanted.clone(), places.clone()));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn each_question_is_answered_once() {
        let known = KnownPlaces::default();
        let looks = Cell::new(0);
        let ask = |esp: &str| {
            let wanted = Wanted {
                esp: Some(esp.into()),
                mirrors: Vec::new(),
            };
            known.of(&wanted, || {
                looks.set(looks.get() + 1);
                Err(Error::NotMounted(esp.to_owned()))
            })
        };
        for _ in 0..3 {
            for esp in ["/efi", "/boot"] {
                let told = ask(esp).unwrap_err().to_string();
                assert!(told.contains(esp), "{told}");
            }
        }
        assert_eq!(looks.get(), 2);
    }
}
