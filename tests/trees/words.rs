//! What the program says: to somebody who waits, to somebody who has to mend something, to a pipe.

use std::fs;
use std::process::Command;

use anyhow::Result;
use lastgood_tests::mounts::Mounts;
use lastgood_tests::tree::{Ended, Tree};
use lastgood_tests::{command, files, program};

use super::{ok, refused};

/// Everything under the tree, by path, with what it is and holds.
fn everything(tree: &Tree) -> Result<String> {
    command::output(
        Command::new("find")
            .arg(tree.path("."))
            .args(["-printf", "%p %y %s %T@ %C@ %l\\n"]),
    )
}

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

/// Commands that only tell leave no trace, not even a lock, and need nothing that can be written.
#[test]
fn what_only_tells_makes_nothing() -> Result<()> {
    let mounts = Mounts::private()?;
    let tree = Tree::new()?;
    tree.generations(2)?;
    mounts.sized(&tree.path("."), "64m")?;
    // $BOOT is another file system, and can be written.
    mounts.sized(&tree.path("boot"), "64m")?;
    let before = everything(&tree)?;
    mounts.read_only(&tree.path("."))?;
    let tell: [&[&str]; 5] = [
        &["install", "--dry-run"],
        &["uninstall", "--dry-run"],
        &["status"],
        &["list-generations"],
        &["install", "--dry-run", "-v"],
    ];
    for arguments in tell {
        let ended = tree.lastgood(arguments)?;
        ok(&ended);
        let is_told = ended.stderr.contains("without a lock");
        assert_eq!(is_told, arguments.contains(&"-v"), "{ended:?}");
    }
    refused(
        &tree.lastgood(&["verify"])?,
        &["nothing of ours is on $BOOT yet"],
    );
    refused(
        &tree.lastgood(&["next-boot", "--json"])?,
        &["no entry can be started"],
    );
    assert_eq!(everything(&tree)?, before);
    refused(
        &tree.lastgood(&["install"])?,
        &["Read-only file system; ", "mount -o remount,rw"],
    );
    Ok(())
}

#[test]
fn a_dry_run_tells_all_that_install_does() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(2)?;
    let told = tree.lastgood(&["install", "--dry-run"])?;
    let told: Vec<&str> = ok(&told).lines().collect();
    assert!(
        told.iter().all(|line| line.starts_with("would ")),
        "{told:?}"
    );
    let toplevel = toplevels[1].display();
    let root =
        format!("would keep {toplevel} from the garbage collector (/nix/var/nix/gcroots/lastgood/");
    let roots: Vec<_> = told
        .iter()
        .filter_map(|line| line.strip_prefix(&root))
        .collect();
    assert_eq!(roots.len(), 1, "{told:?}");
    assert_eq!(told.last(), Some(&"would select generation 2"));
    ok(&tree.lastgood(&["install"])?);
    let link = tree
        .path("nix/var/nix/gcroots/lastgood")
        .join(roots[0].trim_end_matches(')'));
    assert_eq!(fs::read_link(link)?, toplevels[1]);
    let told = tree.lastgood(&["install", "--dry-run"])?;
    assert!(ok(&told).starts_with("nothing to do: "), "{told:?}");
    Ok(())
}

/// It does not say yes where install says no.
#[test]
fn a_dry_run_refuses_what_install_refuses() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    let other = "title other\nefi /EFI/systemd/systemd-bootx64.efi\n";
    files::write(&tree.path("boot/loader/entries/other.conf"), other)?;
    tree.firmware_says("LoaderEntryDefault", "other.conf")?;
    let words = [
        "installed and selected, other.conf would boot next",
        "bootctl set-default",
    ];
    refused(&tree.lastgood(&["install", "--dry-run"])?, &words);
    refused(&tree.lastgood(&["install"])?, &words);
    Ok(())
}

fn is_plain(ended: &Ended) -> bool {
    let said = format!("{}{}", ended.stdout, ended.stderr);
    !said.chars().any(|c| c.is_control() && c != '\n')
}

#[test]
fn nothing_moves_a_cursor_where_there_is_none() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(2)?;
    let tell: [&[&str]; 7] = [
        &["install", "--dry-run"],
        &["install", "-v"],
        &["good", "2"],
        &["verify"],
        &["status"],
        &["--help"],
        &["uninstall"],
    ];
    for arguments in tell {
        let ended = tree.lastgood(arguments)?;
        ok(&ended);
        assert!(is_plain(&ended), "{ended:?}");
    }
    let ended = tree.lastgood(&["pin", "1"])?;
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(
        ended.stderr.starts_with("lastgood: pin: not here yet; "),
        "{ended:?}"
    );
    Ok(())
}

/// On a terminal the steps are no lines: what is left of them is the summary.
#[test]
fn on_a_terminal_only_the_summary_stays() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    let program = program::build()?;
    let line = format!(
        "{} --root {} install",
        program.display(),
        tree.path("").display()
    );
    let said = command::output(
        Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("TERM", "xterm"),
    )?;
    assert!(
        said.contains("generation 1 (trial) boots next; 4 changes"),
        "{said:?}"
    );
    assert!(!said.contains("1/4"), "{said:?}");
    Ok(())
}

#[test]
fn a_toplevel_that_is_not_there_is_told_as_such() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    let gone = tree.lastgood(&["install", "/nix/store/gone"])?;
    refused(&gone, &["/nix/store/gone is not there; see that"]);
    let other = tree.build("other", "")?;
    let other = tree.lastgood(&["install", other.to_str().unwrap()])?;
    refused(&other, &["is no generation of any profile; make it one"]);
    Ok(())
}
