//! What a plan is said to take on FAT, and what it takes on a real one.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use boot_entries::payload::Content;
use boot_entries::space::{Directory, Reserve, Volume, slots};
use boot_entries::step::Step;
use systemd_boot_model::Partition;

/// In bytes.
const CLUSTER: u64 = 512;
const DIRECTORIES: [&str; 4] = ["EFI", "EFI/lastgood", "loader", "loader/entries"];

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH")?);
    let output = command.args(arguments).env("PATH", path).output();
    let output = output.with_context(|| format!("cannot start {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// How many clusters are used, as fsck.fat(8) counts them in the table.
fn used(image: &str) -> Result<u64> {
    let text = run("fsck.fat", &["-n", image])?;
    let counts = text.lines().find_map(|line| {
        let (_, counts) = line.strip_suffix(" clusters")?.rsplit_once(", ")?;
        Some(counts.split_once('/')?.0.parse())
    });
    Ok(counts.with_context(|| text.clone())??)
}

/// Files with names as ours, by path: kernels and entries of `count` generations.
fn files(count: u64) -> Vec<(String, u64)> {
    let of = |number: u64| {
        let kernel = format!("EFI/lastgood/{number:032x}-kernel.efi");
        let entry = format!("loader/entries/lastgood-{number}-0123abcd+3-0.conf");
        [(kernel, 1000 * number + 1), (entry, 600)]
    };
    (1..=count).flat_map(of).collect()
}

#[test]
fn names_and_bytes_take_as_much_as_is_said() -> Result<()> {
    for count in [1, 2, 5, 40] {
        let tree = tempfile::tempdir()?;
        let image = tree.path().join("image");
        let image = image.to_str().context("a plain path")?;
        run("mkfs.vfat", &["-F", "32", "-s", "1", "-C", image, "40960"])?;
        let before = used(image)?;
        for path in DIRECTORIES {
            run("mmd", &["-i", image, &format!("::{path}")])?;
        }
        let source = tree.path().join("source");
        for (path, size) in files(count) {
            lastgood_tests::files::write(&source, vec![b'x'; usize::try_from(size)?])?;
            let source = source.to_str().context("a plain path")?;
            run("mcopy", &["-i", image, source, &format!("::{path}")])?;
        }
        let taken = used(image)? - before;

        let bytes: u64 = files(count)
            .iter()
            .map(|(_, size)| size.div_ceil(CLUSTER))
            .sum();
        let directory = |path: &str| {
            let names = files(count);
            let of = |(file, _): &(String, u64)| {
                let name = Path::new(file).file_name()?.to_str()?.to_owned();
                (Path::new(file).parent() == Some(Path::new(path))).then(|| slots(&name))
            };
            let slots: u64 = names.iter().filter_map(of).sum();
            ((slots + 2) * 32).div_ceil(CLUSTER)
        };
        let directories: u64 = DIRECTORIES.iter().map(|path| directory(path)).sum();
        assert_eq!(taken, bytes + directories, "{count} generations");
        let said = said(count)?;
        assert!(
            (taken..=taken + 3 + directories).contains(&said),
            "{said} for {taken}"
        );
    }
    Ok(())
}

/// What a plan that writes all of it is said to need.
fn said(count: u64) -> Result<u64> {
    let step = |(path, size): (String, u64)| -> Result<Step> {
        let mut content = Content::of(&mut path.as_bytes())?;
        content.size = size;
        Ok(Step::Copy {
            source: "/nix/store/x".into(),
            content,
            on: Partition::Boot,
            path,
        })
    };
    let steps = files(count).into_iter().map(step);
    let steps = steps.collect::<Result<Vec<Step>>>()?;
    let root = Directory {
        size: CLUSTER,
        ..Directory::default()
    };
    let volume = Volume {
        free: 0,
        cluster: CLUSTER,
        directories: [(String::new(), root)].into(),
        ..Volume::default()
    };
    Ok(volume.worst(&steps, |_| true, Reserve::Spent).needed)
}
