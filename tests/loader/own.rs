//! What the shipped binary itself leaves on `$BOOT`, as layouts.
//!
//! The disks hold the same entries, settings and names of programs; the programs are none, because each boot is to
//! fail.

use boot_entries::systemd_boot::Installed;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use lastgood_tests::files;
use lastgood_tests::loader_rig::Layout;
use lastgood_tests::nixpkgs::{self, Scheme};
use lastgood_tests::tree::{KERNEL, Tree};
use serde_json::Value;
use systemd_boot_model::ReleaseRange;

/// A tree, and where its partitions are.
pub(crate) struct Machine {
    label: &'static str,
    tree: Tree,
    esp: &'static str,
    xbootldr: Option<&'static str>,
}

/// All forms.
pub(crate) fn machines() -> Result<Vec<Machine>> {
    Ok(vec![
        trial()?,
        rejected()?,
        xbootldr()?,
        mirror()?,
        migrated("migrated, numbered", Scheme::Numbered)?,
        migrated("migrated, hashed", Scheme::Hashed)?,
        foreign()?,
        uninstalled()?,
    ])
}

/// As a layout. What `lastgood next-boot` foretells of it, with `loader` on its ESP, is what the model makes of the
/// files, for `boots` boots that fail.
pub(crate) fn layout(machine: &Machine, loader: &Path, boots: usize) -> Result<Layout> {
    let Machine {
        label,
        tree,
        esp,
        xbootldr,
    } = machine;
    let place = format!("/{esp}");
    let esp = tree.path(esp);
    for copy in ["EFI/systemd/systemd-bootx64.efi", "EFI/BOOT/BOOTX64.EFI"] {
        files::write(&esp.join(copy), fs::read(loader)?)?;
    }
    let xbootldr = xbootldr.map(|name| tree.path(name));
    let layout = Layout::read(label, &esp, xbootldr.as_deref())?;
    let info = Installed::info(&esp).context("no systemd-boot")?;
    let release = ReleaseRange::of_loader_info(&info).context("another loader")?;
    let model = layout.loader(release).predict(boots - 1);
    let model: Vec<String> = model.into_iter().map(|boot| boot.file).collect();
    assert_eq!(foretold(tree, &place, boots)?, model, "{layout}");
    println!("{label}, {info}: {model:?}");
    Ok(layout)
}

/// Of `place`, where there are several.
fn foretold(tree: &Tree, place: &str, boots: usize) -> Result<Vec<String>> {
    let failures = (boots - 1).to_string();
    let told = run(tree, &["next-boot", "--json", "--failures", &failures])?;
    let rows: Vec<Value> = serde_json::from_str(&told)?;
    let name = |row: &Value| Some(row["entry"].as_str()?.to_owned());
    rows.iter()
        .filter(|row| row["place"].is_null() || row["place"] == place)
        .map(|row| name(row).context("no entry"))
        .collect()
}

fn run(tree: &Tree, arguments: &[&str]) -> Result<String> {
    let ended = tree.lastgood(arguments)?;
    assert_eq!(ended.status, 0, "{arguments:?}: {ended:?}");
    Ok(ended.stdout)
}

fn on_esp(label: &'static str, tree: Tree) -> Machine {
    Machine {
        label,
        tree,
        esp: "boot",
        xbootldr: None,
    }
}

/// A trial above a generation that was proven, and one that never was.
fn trial() -> Result<Machine> {
    let tree = Tree::new()?;
    tree.generations(3)?;
    run(&tree, &["install", "2"])?;
    run(&tree, &["good", "2"])?;
    run(&tree, &["install", "3"])?;
    Ok(on_esp("a trial", tree))
}

/// Two proven ones, the newer rejected, and a third that is tried.
fn rejected() -> Result<Machine> {
    let tree = Tree::new()?;
    tree.generations(3)?;
    for number in ["1", "2"] {
        run(&tree, &["install", number])?;
        run(&tree, &["good", number])?;
    }
    run(&tree, &["install", "3"])?;
    run(&tree, &["bad", "2"])?;
    Ok(on_esp("a rejected one", tree))
}

fn xbootldr() -> Result<Machine> {
    let tree = Tree::new()?;
    fs::rename(tree.path("boot"), tree.path("efi"))?;
    files::write(&tree.path("boot/loader/entries.srel"), "type1\n")?;
    tree.generations(2)?;
    run(&tree, &["install", "1"])?;
    run(&tree, &["good", "1"])?;
    run(&tree, &["install", "2"])?;
    Ok(Machine {
        label: "xbootldr",
        tree,
        esp: "efi",
        xbootldr: Some("boot"),
    })
}

/// The second of two ESPs, booted alone.
fn mirror() -> Result<Machine> {
    let tree = Tree::new()?;
    fs::create_dir(tree.path("boot2"))?;
    let says = "printf '[boot]\\nmirrors = [\"/boot2\"]\\n' > $out/etc/lastgood/lastgood.toml";
    for number in ["1", "2"] {
        tree.set(&tree.build(number, says)?)?;
        run(&tree, &["install"])?;
        if number == "1" {
            run(&tree, &["good", "1"])?;
        }
    }
    Ok(Machine {
        label: "a mirror",
        tree,
        esp: "boot2",
        xbootldr: None,
    })
}

fn migrated(label: &'static str, scheme: Scheme) -> Result<Machine> {
    let tree = Tree::new()?;
    nixpkgs::machine(&tree, scheme)?;
    run(&tree, &["install"])?;
    Ok(on_esp(label, tree))
}

/// Debian's entry is what booted the machine.
fn foreign() -> Result<Machine> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    let kernel = fs::read(KERNEL)?;
    files::write(&tree.path("boot/debian/linux"), kernel)?;
    let entry = "title Debian\nlinux /debian/linux\noptions root=/dev/sda2\n";
    files::write(&tree.path("boot/loader/entries/debian.conf"), entry)?;
    tree.booted("debian.conf")?;
    run(&tree, &["install"])?;
    Ok(on_esp("a foreign system's", tree))
}

/// Given back to nixpkgs' builder.
fn uninstalled() -> Result<Machine> {
    let machine = migrated("uninstalled", Scheme::Numbered)?;
    run(&machine.tree, &["good", "3"])?;
    run(&machine.tree, &["uninstall"])?;
    Ok(machine)
}
