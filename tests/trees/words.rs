//! What the program says: to somebody who waits, to somebody who has to mend something, to a pipe.

use std::fs;

use anyhow::Result;
use lastgood_tests::files;
use lastgood_tests::tree::Tree;

use super::{ok, refused};

#[test]
fn what_cannot_be_written_comes_with_what_to_do_and_leaves_nothing() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    fs::create_dir_all(tree.path("boot/loader/loader.conf"))?;
    let ended = tree.lastgood(&["install"])?;
    let words = [
        "cannot put in place",
        "loader.conf: Is a directory; ",
        "move it away",
    ];
    refused(&ended, &words);
    assert!(!ended.stderr.contains("os error"), "{ended:?}");
    let left = files::sorted_entries(&tree.path("boot/loader"))?;
    let hidden = |path: &std::path::PathBuf| path.to_string_lossy().contains("/.lastgood-");
    assert!(!left.iter().any(hidden), "{left:?}");
    fs::remove_dir(tree.path("boot/loader/loader.conf"))?;
    ok(&tree.lastgood(&["install"])?);

    fs::remove_dir_all(tree.path("boot/loader/entries"))?;
    files::write(&tree.path("boot/loader/entries"), "")?;
    refused(
        &tree.lastgood(&["install"])?,
        &["cannot read", "entries: Not a directory; ", "move it away"],
    );
    Ok(())
}
