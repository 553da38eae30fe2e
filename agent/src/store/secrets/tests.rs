//! Programs that add, fail, hang, and leave nonsense.

use super::*;
use boot_entries::GenerationId;
use std::os::unix::fs::MetadataExt as _;
use std::time::Instant;

struct Tree {
    directory: tempfile::TempDir,
    root: Root,
}

impl Tree {
    /// A closure whose program is a shell script: `$1` is the copy of the initrd.
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tree = Self {
            root: Root::new(directory.path()),
            directory,
        };
        tree.closure("t");
        tree.script(script);
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn script(&self, script: &str) {
        let program = self.path("nix/store/s/append");
        durable::put_text(&format!("#!/bin/sh -e\n{script}\n"), &program).unwrap();
        std::fs::set_permissions(program, Permissions::from_mode(0o755)).unwrap();
    }

    fn closure(&self, name: &str) {
        let at = |file: &str| self.path(&format!("nix/store/{name}/{file}"));
        let stub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
        durable::put_link(Path::new("append"), &self.path("nix/store/s/link")).unwrap();
        let content = Content::of_file(Path::new(stub)).unwrap();
        durable::put(&mut File::open(stub).unwrap(), &content, &at("kernel")).unwrap();
        for (file, text) in [
            ("initrd", "initrd\n"),
            ("kernel-params", ""),
            ("nixos-version", "26.05"),
            ("system", "x86_64-linux"),
        ] {
            durable::put_text(text, &at(file)).unwrap();
        }
        durable::put_link(Path::new("/nix/store/s/link"), &at("append-initrd-secrets")).unwrap();
    }

    fn finish(&self) -> Result<(), String> {
        finish_or_say(&self.root, Path::new("/nix/store/t"))
    }

    fn kept(&self) -> PathBuf {
        place(&self.root, Path::new("/nix/store/t"))
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.root.join(INITRDS)).map_or(0, Iterator::count)
    }
}

fn generation(toplevel: &str) -> Generation {
    Generation {
        id: GenerationId::system(1),
        toplevel: toplevel.into(),
    }
}

#[test]
fn secrets_are_added_to_a_copy_kept_privately_and_never_made_again() {
    let tree = Tree::new("stat -c %a \"$1\" > \"$0.mode\"; echo $# key-1 >> \"$1\"");
    tree.finish().unwrap();
    assert_eq!(
        std::fs::read_to_string(tree.kept()).unwrap(),
        "initrd\n1 key-1\n"
    );
    let pristine = std::fs::read_to_string(tree.path("nix/store/t/initrd"));
    assert_eq!(pristine.unwrap(), "initrd\n");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&tree.kept()), 0o600);
    assert_eq!(mode(&tree.root.join(INITRDS)), 0o700);
    let working = std::fs::read_to_string(tree.path("nix/store/s/append.mode"));
    assert_eq!(working.unwrap().trim(), "600", "also while it is worked on");
    assert_eq!(tree.files(), 1);

    // The key is rotated: a new closure gets the new one, the old closure keeps the old one.
    tree.script("echo key-2 >> \"$1\"");
    tree.finish().unwrap();
    let old = || std::fs::read_to_string(tree.kept()).unwrap();
    assert!(old().ends_with("key-1\n"));
    tree.closure("u");
    finish(&tree.root, Path::new("/nix/store/u")).unwrap();
    let new = place(&tree.root, Path::new("/nix/store/u"));
    assert!(std::fs::read_to_string(new).unwrap().ends_with("key-2\n"));

    let all = finished(
        &tree.root,
        &[generation("/nix/store/t")],
        &Documents::default(),
    );
    assert_eq!(all[Path::new("/nix/store/t")], Ok(tree.kept()));
    sweep(&tree.root, &[generation("/nix/store/t")]).unwrap();
    assert_eq!((tree.files(), old().contains("key-1")), (1, true));
}

#[test]
fn a_program_that_fails_is_told_in_its_own_words_and_leaves_nothing() {
    for (script, words) in [
        (
            "echo 'no key at /etc/key' >&2; exit 3",
            "exit status: 3: no key at /etc/key",
        ),
        ("rm \"$1\"", "No such file"),
        (": > \"$1\"", "is empty"),
        ("rm \"$1\"; mkfifo \"$1\"", "is no file"),
        ("rm \"$1\"; ln -s /etc/passwd \"$1\"", "no regular file"),
        ("kill -9 $$", "signal: 9"),
    ] {
        let tree = Tree::new(script);
        let why = tree.finish().unwrap_err();
        assert!(why.contains(words), "{script}: {why}");
        assert!(
            why.lines().count() == 1 && tree.files() == 0,
            "{script}: {why}"
        );
    }
    let tree = Tree::new("");
    std::fs::remove_file(tree.path("nix/store/s/append")).unwrap();
    assert!(tree.finish().unwrap_err().contains("cannot run"));
}

#[test]
fn a_program_that_hangs_is_ended_with_its_children() {
    let began = Instant::now();
    let mut hanging = Command::new("sh");
    hanging.args(["-c", "echo waiting >&2; sleep 1000"]);
    let error = program::stdout_within(&mut hanging, Duration::from_millis(200)).unwrap_err();
    assert!(error.to_string().contains("took longer"), "{error}");
    // One that ends and leaves a child behind is not waited for beyond its own end.
    let mut leaving = Command::new("sh");
    leaving.args(["-c", "echo done; sleep 1000 &"]);
    let said = program::stdout_within(&mut leaving, Duration::from_secs(20)).unwrap();
    assert_eq!(said, "done\n");
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[test]
fn what_an_interrupted_run_left_is_no_obstacle() {
    let tree = Tree::new("echo key >> \"$1\"");
    durable::put_text("half", &tree.root.join(INITRDS).join(WORK)).unwrap();
    tree.finish().unwrap();
    assert_eq!(tree.files(), 1);
    assert!(
        std::fs::read_to_string(tree.kept())
            .unwrap()
            .starts_with("initrd\n")
    );
}

/// With `--root` no program of the tree runs; what is finished already is used.
#[test]
fn in_a_tree_nothing_is_run() {
    let tree = Tree::new("echo key >> \"$1\"");
    let of = || {
        finished(
            &tree.root,
            &[generation("/nix/store/t")],
            &Documents::default(),
        )
    };
    let why = of().remove(Path::new("/nix/store/t")).unwrap().unwrap_err();
    assert!(why.contains("not run with --root"), "{why}");
    tree.finish().unwrap();
    assert!(of()[Path::new("/nix/store/t")].is_ok());
}
