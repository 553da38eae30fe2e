//! How an error is told to a person: what, where, why, in one line.

/// An error and everything that led to it, in one line.
#[must_use]
pub fn one_line(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let parts: Vec<String> = chain.map(ToString::to_string).collect();
    parts.join(": ").replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_whole_chain_once() {
        let source = std::io::Error::other("disk\non fire");
        let what = "/efi".to_owned();
        let line = one_line(&crate::error::Error::Read { what, source });
        assert_eq!(line, "cannot read /efi: disk; on fire");
        let mistake = config::Config::parse("x").unwrap_err();
        assert!(!one_line(&mistake).contains('\n'));
    }
}
