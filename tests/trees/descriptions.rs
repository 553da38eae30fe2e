//! What `nix/closure.nix` makes of a description: closures that install, and a line for each mistake. Built by the Nix
//! of this host, in its sandbox, where there is neither `/bin/sh` nor a program of the host's.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lastgood_tests::tree::{Ended, KERNEL, Tree};
use lastgood_tests::{files, paths};
use serde_json::Value;

use super::{boots, json, ok, refused};

mod mistakes;
mod system_manager;
mod template;

/// What every description here has.
const PLAIN: &str = r#"
    name = "web";
    kernel = ./boot/vmlinuz-6.1.0-9-amd64;
    initrd = ./boot/initrd.img-6.1.0-9-amd64;
    kernelParams = [ "root=UUID=1234" "ro" ];
"#;

/// A machine, with Debian's names for kernels in a directory beside descriptions.
fn machine() -> Result<Tree> {
    let tree = Tree::new()?;
    fs::create_dir_all(tree.path("described/boot"))?;
    kernel(&tree, "6.1.0-9-amd64")?;
    Ok(tree)
}

/// What apt leaves of a kernel: each has other bytes.
fn kernel(tree: &Tree, version: &str) -> Result<()> {
    let boot = tree.path("described/boot");
    fs::copy(KERNEL, boot.join(format!("vmlinuz-{version}")))?;
    let text = format!("initrd of {version}\n");
    files::write(&boot.join(format!("initrd.img-{version}")), text)
}

/// Runs `program` on what [`PLAIN`] and `more` say, or on `more` alone where it is an expression of its own.
fn describe(tree: &Tree, program: &str, more: &str) -> Result<Ended> {
    let function = paths::repository().join("nix/closure.nix");
    let described = tree.path("described/default.nix");
    let function = function.display();
    let text = if more.contains("make") {
        format!("let make = import {function}; plain = {{ {PLAIN} }}; in {more}")
    } else {
        format!("import {function} ({{ {PLAIN} }} // {{ {more} }})")
    };
    files::write(&described, text)?;
    let described = described.display().to_string();
    let options: &[&str] = match program {
        "nix-build" => &["--no-out-link"],
        _ => &[],
    };
    tree.bare_nix(program, &[&[described.as_str()], options].concat())
}

fn build(tree: &Tree, more: &str) -> Result<PathBuf> {
    let built = describe(tree, "nix-build", more)?;
    ensure!(built.status == 0, "{}", built.stderr);
    Ok(PathBuf::from(built.stdout.trim()))
}

/// What a file of the closure says, links followed inside the tree.
fn read(tree: &Tree, toplevel: &Path, path: &str) -> Result<String> {
    let root = boot_entries::Root::new(tree.path("."));
    let here = root.resolve(toplevel.join(path))?;
    fs::read_to_string(&here).with_context(|| format!("cannot read {path}"))
}

/// Where a link of the closure leads.
fn leads(tree: &Tree, toplevel: &Path, path: &str) -> Result<String> {
    let here = boot_entries::Root::new(tree.path(".")).join(toplevel.join(path));
    let to = fs::read_link(here).with_context(|| format!("{path} is no link"))?;
    Ok(to.display().to_string())
}

/// A little of everything.
const DESCRIBED: &str = r##"
        version = "12.8";
        etc."motd" = "made by Nix\n";
        etc."app/secret.conf" = { text = "x\n"; mode = "0640"; user = "www-data"; group = 33; };
        etc."app/token" = { source = "/var/lib/app/token"; mode = "direct-symlink"; };
        units."hello.service" = {
          sections = {
            Unit.Description = "Hello";
            Service = { ExecStart = "/bin/true"; RemainAfterExit = true; Environment = [ "A=1" "B=2" ]; };
          };
          wantedBy = [ "multi-user.target" ];
          requiredBy = [ "x.target" ];
          aliases = [ "hallo.service" ];
          dropIns."more.conf" = "[Service]\nNice=5\n";
        };
        units."ssh.service".wantedBy = [ "multi-user.target" ];
        units."apt-daily.timer".mask = true;
        lastgood = {
          health = { required-units = [ "hello.service" ]; settle-sec = 3; };
          firewall = { enable = true; interfaces.eth1.allowed-tcp-ports = [ 22 ]; };
          boot.extra-files."EFI/other.efi" = ./boot/vmlinuz-6.1.0-9-amd64;
        };
        sysusers = [ "u app - \"The app\"" ];
        tmpfiles.app = "d /var/lib/app 0700 app app\n";
        sysctl = { "net.ipv4.ip_forward" = true; "vm.swappiness" = 10; };
        activate = "#!/bin/sh\nexit 0\n";
        "##;

/// Files of the closure that it makes, and what they say.
const FILES: [(&str, &str); 15] = [
    ("nixos-version", "12.8"),
    ("kernel-params", "root=UUID=1234 ro"),
    ("initrd", "initrd of 6.1.0-9-amd64\n"),
    ("etc/motd", "made by Nix\n"),
    ("etc/app/secret.conf", "x\n"),
    ("etc/app/secret.conf.mode", "0640"),
    ("etc/app/secret.conf.uid", "www-data"),
    ("etc/app/secret.conf.gid", "+33"),
    ("etc/app/token.mode", "direct-symlink"),
    (
        "etc/systemd/system/hello.service.d/more.conf",
        "[Service]\nNice=5\n",
    ),
    (
        "etc/systemd/system/hello.service",
        "[Service]\nEnvironment=A=1\nEnvironment=B=2\nExecStart=/bin/true\nRemainAfterExit=true\n\n\
             [Unit]\nDescription=Hello\n",
    ),
    ("etc/sysusers.d/60-web.conf", "u app - \"The app\"\n"),
    ("etc/tmpfiles.d/app.conf", "d /var/lib/app 0700 app app\n"),
    (
        "etc/sysctl.d/60-web.conf",
        "net.ipv4.ip_forward = 1\nvm.swappiness = 10\n",
    ),
    ("activate", "#!/bin/sh\nexit 0\n"),
];

/// Links of it, and where they lead.
const LINKS: [(&str, &str); 7] = [
    ("init", "/usr/bin/lastgood"),
    ("etc/app/token", "/var/lib/app/token"),
    ("etc/systemd/system/hallo.service", "hello.service"),
    (
        "etc/systemd/system/multi-user.target.wants/hello.service",
        "../hello.service",
    ),
    (
        "etc/systemd/system/x.target.requires/hello.service",
        "../hello.service",
    ),
    (
        "etc/systemd/system/multi-user.target.wants/ssh.service",
        "../ssh.service",
    ),
    ("etc/systemd/system/apt-daily.timer", "/dev/null"),
];

#[test]
fn a_description_becomes_a_closure_that_installs() -> Result<()> {
    let tree = machine()?;
    let toplevel = build(&tree, DESCRIBED)?;
    for (path, text) in FILES {
        assert_eq!(read(&tree, &toplevel, path)?, text, "{path}");
    }
    for (path, to) in LINKS {
        assert_eq!(leads(&tree, &toplevel, path)?, to, "{path}");
    }
    // The agent reads what was written, and knows every key.
    let config = tree.path("lastgood.toml");
    files::write(
        &config,
        read(&tree, &toplevel, "etc/lastgood/lastgood.toml")?,
    )?;
    ok(&tree.lastgood(&["check-config", config.to_str().context("no text")?])?);

    // Stage 2 and the script's interpreter are the host's.
    files::write(&tree.path("usr/bin/lastgood"), "")?;
    fs::create_dir_all(tree.path("bin"))?;
    symlink("/usr/bin/lastgood", tree.path("bin/sh"))?;
    tree.set(&toplevel)?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(boots(&tree, 0)?, ["1"]);
    let entry = &tree.bootctl_list()?[0];
    let init = toplevel.display();
    assert_eq!(
        entry["title"],
        "web 12.8 (Linux 6.1.0-9-amd64) (generation 1)"
    );
    assert_eq!(
        entry["options"],
        format!("init={init}/init panic=10 root=UUID=1234 ro")
    );
    let rows = json(&tree.lastgood(&["list-generations", "--json"])?);
    assert_eq!(rows[0]["nixosVersion"], "12.8");
    assert_eq!(rows[0]["kernelVersion"], "6.1.0-9-amd64");
    Ok(())
}

#[test]
fn a_specialisation_is_its_closure_and_more() -> Result<()> {
    let tree = machine()?;
    let toplevel = build(
        &tree,
        r#"
        etc."motd" = "plain\n";
        etc."both" = "both\n";
        lastgood.health = { settle-sec = 3; deadline-sec = 60; };
        specialisation.debug = {
          kernelParams = [ "systemd.log_level=debug" ];
          etc."motd" = "debug\n";
          lastgood.health.deadline-sec = 90;
        };
        "#,
    )?;
    let child = PathBuf::from(leads(&tree, &toplevel, "specialisation/debug")?);
    for (closure, words) in [(&toplevel, "plain\n"), (&child, "debug\n")] {
        assert_eq!(read(&tree, closure, "etc/motd")?, words);
        assert_eq!(read(&tree, closure, "etc/both")?, "both\n");
    }
    assert_eq!(
        read(&tree, &child, "etc/lastgood/lastgood.toml")?,
        "\n[health]\ndeadline-sec = 90\nsettle-sec = 3\n"
    );
    // The document of each is in the other's, as NixOS has it.
    let documents = [&toplevel, &child].map(|closure| read(&tree, closure, "boot.json"));
    let [whole, part] =
        documents.map(|text| serde_json::from_str::<Value>(&text.unwrap()).unwrap());
    let (spec, of_child) = ("org.nixos.bootspec.v1", "org.nixos.specialisation.v1");
    assert_eq!(whole[of_child]["debug"][spec], part[spec]);
    tree.set(&toplevel)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["install", "1/debug"])?);
    assert_eq!(boots(&tree, 0)?, ["1/debug"]);
    let entry = tree.entries_titled("1/debug")?.remove(0);
    let entry = fs::read_to_string(tree.path("boot/loader/entries").join(entry))?;
    assert!(
        entry.contains("root=UUID=1234 ro systemd.log_level=debug"),
        "{entry}"
    );
    Ok(())
}

/// apt brings a kernel, and later its initrd: the next closure has the newest that is whole.
#[test]
fn the_next_closure_has_the_newest_kernel_that_is_whole() -> Result<()> {
    const NEWEST: &str = "make (plain // make.newestKernel ./boot)";
    let tree = machine()?;
    let has = |version: &str| -> Result<()> {
        let toplevel = build(&tree, NEWEST)?;
        let initrd = read(&tree, &toplevel, "initrd")?;
        assert_eq!(initrd, format!("initrd of {version}\n"));
        let modules = format!("kernel-modules/lib/modules/{version}");
        let place = format!("/usr/lib/modules/{version}");
        assert_eq!(leads(&tree, &toplevel, &modules)?, place);
        Ok(())
    };
    has("6.1.0-9-amd64")?;
    fs::copy(KERNEL, tree.path("described/boot/vmlinuz-6.1.0-37-amd64"))?;
    has("6.1.0-9-amd64")?;
    kernel(&tree, "6.1.0-37-amd64")?;
    has("6.1.0-37-amd64")?;
    // Where one is rebuilt in its place, the closure is another one.
    let before = build(&tree, NEWEST)?;
    files::write(
        &tree.path("described/boot/initrd.img-6.1.0-37-amd64"),
        "new\n",
    )?;
    assert_ne!(build(&tree, NEWEST)?, before);
    Ok(())
}

/// Programs of the store, in the texts of files too. nixpkgs is not needed to see it: a package is what has a path.
#[test]
fn packages_come_along() -> Result<()> {
    let tree = machine()?;
    let toplevel = build(
        &tree,
        r#"
        let
          pkgs.busybox = builtins.path {
            name = "busybox";
            path = /usr;
            filter = path: _: path == "/usr/bin" || path == "/usr/bin/busybox";
          };
          tool = name: derivation {
            inherit name;
            system = "x86_64-linux";
            builder = "${pkgs.busybox}/bin/busybox";
            args = [ "sh" "-euc" "b=${pkgs.busybox}/bin/busybox; $b mkdir -p $out/bin $out/lib/${name}; echo ${name} >$out/bin/${name}" ];
          };
          one = tool "one";
        in
        make (plain // {
          inherit pkgs;
          packages = [ (tool "two") (tool "three") ];
          units."one.service" = {
            sections.Service.ExecStart = "${one}/bin/one";
            wantedBy = [ "multi-user.target" ];
          };
        })"#,
    )?;
    for name in ["two", "three"] {
        assert_eq!(
            read(&tree, &toplevel, &format!("sw/bin/{name}"))?,
            format!("{name}\n")
        );
    }
    let unit = read(&tree, &toplevel, "etc/systemd/system/one.service")?;
    let program = unit
        .trim()
        .strip_prefix("[Service]\nExecStart=")
        .context("no ExecStart")?;
    assert_eq!(read(&tree, Path::new(program), "")?, "one\n");
    // Nix knows that the closure needs it: with no root but the closure's, collecting garbage leaves it.
    tree.set(&toplevel)?;
    let collected = tree.bare_nix("nix-store", &["--gc"])?;
    ensure!(collected.status == 0, "{collected:?}");
    assert_eq!(read(&tree, Path::new(program), "")?, "one\n");
    tree.set(&build(&tree, "make plain")?)?;
    tree.delete_generation(1)?;
    tree.bare_nix("nix-store", &["--gc"])?;
    assert!(
        read(&tree, Path::new(program), "").is_err(),
        "{program} is still there"
    );
    Ok(())
}

/// Nix has to be told of them: by themselves they are only words.
#[test]
fn store_paths_that_are_written_out_stay_as_long_as_the_closure() -> Result<()> {
    let tree = machine()?;
    let add = |name: &str| -> Result<String> {
        let file = tree.path("described/added").join(name);
        let added = tree.bare_nix("nix-store", &["--add", text(&file)])?;
        ensure!(added.status == 0, "{added:?}");
        Ok(added.stdout.trim().to_owned())
    };
    fs::create_dir_all(tree.path("described/added/tool/bin"))?;
    files::write(&tree.path("described/added/tool/bin/tool"), "tool\n")?;
    files::write(&tree.path("described/added/conf"), "conf\n")?;
    fs::copy(KERNEL, tree.path("described/added/vmlinuz"))?;
    let [kernel, conf, tool] = [add("vmlinuz")?, add("conf")?, add("tool")?];
    let toplevel = build(
        &tree,
        &format!(
            r#"kernel = "{kernel}"; etc."app/conf".source = "{conf}"; packages = [ "{tool}" ];"#
        ),
    )?;
    tree.set(&toplevel)?;
    tree.bare_nix("nix-store", &["--gc"])?;
    for (path, words) in [("etc/app/conf", "conf\n"), ("sw/bin/tool", "tool\n")] {
        assert_eq!(read(&tree, &toplevel, path)?, words);
    }
    ok(&tree.lastgood(&["install"])?);
    let gone = "/nix/store/00000000000000000000000000000000-vmlinuz";
    let said = describe(&tree, "nix-instantiate", &format!("kernel = \"{gone}\";"))?;
    let line = format!("error: closure.nix: kernel: there is no {gone}");
    assert_eq!(said.stderr.lines().next(), Some(line.as_str()), "{said:?}");
    Ok(())
}

/// The agent runs the program where a machine is installed, and not on a tree.
#[test]
fn secrets_of_an_initrd_are_added_by_a_program_of_the_closure() -> Result<()> {
    let tree = machine()?;
    let toplevel = build(
        &tree,
        r##"initrdSecrets = "#!/bin/sh\nset -e\ncat /etc/initrd-secrets.cpio >>\"$1\"\n";"##,
    )?;
    let program = toplevel.join("append-initrd-secrets");
    let document: Value = serde_json::from_str(&read(&tree, &toplevel, "boot.json")?)?;
    let spec = &document["org.nixos.bootspec.v1"];
    assert_eq!(spec["initrdSecrets"], text(&program));
    let place = tree.path(text(&program).trim_start_matches('/'));
    assert_eq!(fs::metadata(place)?.permissions().mode() & 0o777, 0o555);
    tree.set(&toplevel)?;
    let said = tree.lastgood(&["install"])?;
    refused(
        &said,
        &["its initrd needs secrets from", "append-initrd-secrets"],
    );
    Ok(())
}

/// Debian's own file at a place that the closure wants: known before a trial is lost for it.
#[test]
fn a_file_of_the_hosts_in_the_way_is_told_at_install() -> Result<()> {
    let tree = machine()?;
    files::write(&tree.path("etc/motd"), "Debian's\n")?;
    tree.set(&build(&tree, r#"etc."motd" = "made by Nix\n";"#)?)?;
    let warning = "generation 1 will not be healthy: cannot link /etc/motd: lastgood did not make /etc/motd; move it away";
    for arguments in [&["install", "--dry-run"][..], &["install"]] {
        let said = tree.lastgood(arguments)?;
        ok(&said);
        assert!(said.stderr.contains(warning), "{said:?}");
    }
    assert_eq!(fs::read_to_string(tree.path("etc/motd"))?, "Debian's\n");
    fs::rename(tree.path("etc/motd"), tree.path("etc/motd.debian"))?;
    let said = tree.lastgood(&["install"])?;
    ok(&said);
    assert!(!said.stderr.contains("will not be healthy"), "{said:?}");
    Ok(())
}

/// Only what goes into the agent's configuration is not known here: the agent knows it.
#[test]
fn a_misspelt_key_of_lastgood_toml_is_the_agents_to_refuse() -> Result<()> {
    let tree = machine()?;
    tree.set(&build(&tree, "lastgood.health.setle-sec = 3;")?)?;
    refused(
        &tree.lastgood(&["install"])?,
        &["lastgood.toml", "line 3", "setle-sec"],
    );
    Ok(())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
