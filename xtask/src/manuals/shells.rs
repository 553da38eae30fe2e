//! The completions, asked as the shells ask them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lastgood_tests::tree::Tree;
use lastgood_tests::{command, program};

/// What `shell`, told to do `script`, prints. `$FILES` holds the completions, `$TREE` a tree with three generations.
fn printed(shell: &[&str], script: &str, tree: &Tree) -> Result<Vec<String>> {
    let files = tempfile::tempdir()?;
    super::write(files.path())?;
    let binary = program::build()?;
    let programs = binary.parent().context("a binary is in a directory")?;
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let (name, options) = shell.split_first().context("no shell")?;
    let mut shell = Command::new(name);
    shell
        .args(options)
        .arg(script)
        .env_clear()
        .env("PATH", path)
        .env("HOME", files.path())
        .env("FILES", files.path())
        .env("TREE", tree.path("."));
    let lines = command::output(&mut shell)?;
    Ok(lines.lines().map(str::to_owned).collect())
}

fn three_generations() -> Result<Tree> {
    let tree = Tree::new()?;
    tree.generations(3)?;
    Ok(tree)
}

/// The first words that are offered; fish and zsh say after each what it is.
fn words(lines: &[String]) -> Vec<&str> {
    let words = lines
        .iter()
        .filter_map(|line| line.split(['\t', ':']).next());
    words.take(3).collect()
}

#[test]
fn bash_offers_the_generations_of_the_tree() -> Result<()> {
    let script = "source $FILES/bash/lastgood
        COMP_WORDS=(lastgood --root $TREE why '') COMP_CWORD=4 COMP_TYPE=9
        _clap_complete_lastgood lastgood '' why
        printf '%s\\n' \"${COMPREPLY[@]}\"
        complete -p lastgood >&2";
    let lines = printed(&["bash", "--norc", "-c"], script, &three_generations()?)?;
    assert_eq!(words(&lines), ["3", "2", "1"], "{lines:?}");
    Ok(())
}

#[test]
fn fish_offers_the_generations_of_the_tree() -> Result<()> {
    let script = "source $FILES/fish/lastgood.fish; complete -C \"lastgood --root $TREE why \"";
    let lines = printed(
        &["fish", "--no-config", "-c"],
        script,
        &three_generations()?,
    )?;
    assert_eq!(words(&lines), ["3", "2", "1"], "{lines:?}");
    assert!(
        lines
            .first()
            .is_some_and(|line| line.ends_with("(current)")),
        "{lines:?}"
    );
    Ok(())
}

/// The first time is the one at which zsh reads the file.
#[test]
fn zsh_offers_the_generations_of_the_tree_at_the_first_time() -> Result<()> {
    let script = "fpath=($FILES/zsh $fpath)
        compdef() { : }
        _describe() { print -l -- \"${(@P)argv[-1]}\" }
        autoload -Uz _lastgood
        words=(lastgood --root $TREE why '') CURRENT=5
        _lastgood";
    let lines = printed(&["zsh", "-f", "-c"], script, &three_generations()?)?;
    assert_eq!(words(&lines), ["3", "2", "1"], "{lines:?}");
    Ok(())
}

/// A person does not notice fifty milliseconds. The fastest of some counts: a machine that is busy says nothing of this.
#[test]
fn an_answer_takes_less_than_fifty_milliseconds() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(100)?;
    let binary = program::build()?;
    let root = tree.path(".");
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        let answer = ask(&binary, &root)?;
        fastest = fastest.min(begun.elapsed());
        assert!(answer.starts_with("100\n99\n"), "{answer}");
    }
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
    Ok(())
}

fn ask(binary: &Path, root: &Path) -> Result<String> {
    let mut asked = Command::new(binary);
    asked
        .args(["--", "lastgood", "--root"])
        .arg(root)
        .args(["why", ""])
        .env("COMPLETE", "bash")
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_INDEX", "4");
    command::output(&mut asked)
}
