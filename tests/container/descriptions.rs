//! Closures of `nix/closure.nix`, built on the machine by its own Nix (2.8 on Debian 12, 2.26 on Debian 13), as somebody
//! does who follows `docs/closures.md`, and booted as a trial.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use boot_entries::generation::GenerationId;
use lastgood::state::{Event, Subject};
use lastgood_tests::container::{Boot, Container, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;
use lastgood_tests::tree::KERNEL;
use lastgood_tests::{command, files, paths, prometheus};

use crate::proven;

on_each_debian! {
    the_example_with_nginx_is_built_and_proven,
    the_example_with_prometheus_is_built_and_proven,
    every_example_is_built_and_its_units_are_right,
    a_profile_of_system_manager_is_proven,
    the_steps_of_the_page_end_in_a_proven_trial,
}

/// Where the package puts `nix/`.
const NIX: &str = "/usr/share/lastgood/nix";

/// What this Nix calls itself.
fn nix(debian: Debian) -> &'static str {
    match debian {
        Debian::Twelve => "nix (Nix) 2.8.0",
        Debian::Thirteen => "nix (Nix) 2.26.3",
        Debian::Sid => "nix (Nix) 2.34.8",
    }
}

/// A machine that is on, with the function and a kernel where Debian's packages have them.
fn ready(server: &mut Container) -> Result<()> {
    put(server, &paths::repository().join("nix"), NIX)?;
    server.write("/boot/vmlinuz-6.1.0-9-amd64", fs::read(KERNEL)?)?;
    server.write("/boot/initrd.img-6.1.0-9-amd64", "initrd\n")?;
    proven(server, 1, &[])?;
    server.start(Boot::Uncounted(1))?;
    server.wait_for(Fact::Proven(1))?;
    Ok(())
}

fn put(server: &Container, from: &Path, to: &str) -> Result<()> {
    for path in files::sorted_entries(from)? {
        let name = path.file_name().context("no name")?.to_string_lossy();
        let to = format!("{to}/{name}");
        if path.is_dir() {
            put(server, &path, &to)?;
        } else {
            server.write(&to, fs::read(&path)?)?;
        }
    }
    Ok(())
}

/// A certificate that nobody has signed, and its key, for root alone.
fn certificate(server: &Container) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [key, pem] = ["web.key", "web.pem"].map(|name| directory.path().join(name));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req", "-x509", "-newkey", "ec", "-nodes", "-subj", "/CN=web",
    ]);
    openssl.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command::output(openssl.arg("-keyout").arg(&key).arg("-out").arg(&pem))?;
    server.write("/etc/ssl/certs/web.pem", fs::read(pem)?)?;
    server.write("/etc/ssl/private/web.key", fs::read(key)?)?;
    let key = server.disk().join("/etc/ssl/private/web.key");
    Ok(fs::set_permissions(key, fs::Permissions::from_mode(0o600))?)
}

/// Makes what was built generation 2, and see [`trial`].
fn set_and_try(server: &mut Container, built: &str) -> Result<()> {
    let profile = "/nix/var/nix/profiles/system";
    server.run_ok(&format!("nix-env --profile {profile} --set {built}"))?;
    trial(server, 2, built)
}

/// Selects what is generation `number` and boots it as a trial until it is proven.
fn trial(server: &mut Container, number: u32, built: &str) -> Result<()> {
    server.power_off()?;
    // There is no boot partition here for `lastgood install` to write to: this is what it leaves on record.
    let subject = Subject {
        generation: GenerationId::system(number.into()),
        toplevel: PathBuf::from(built),
    };
    server.past(&Event::Selected {
        subject: subject.clone(),
        by: None,
    })?;
    server.start(Boot::Counted(number.into()))?;
    server.wait_longer(Fact::Proven(number), Duration::from_mins(2))?;
    assert_eq!(server.state()?.last_good(), Some(&subject));
    Ok(())
}

fn the_example_with_nginx_is_built_and_proven(debian: Debian) -> Result<()> {
    in_container("container-described-nginx", debian, |server| {
        certificate(server)?;
        ready(server)?;
        assert_eq!(server.run_ok("nix --version")?, nix(debian));
        let built = server.run_ok(&format!(
            "nix-build --no-out-link --argstr root UUID=1234 {NIX}/examples/nginx"
        ))?;
        set_and_try(server, &built)?;
        // What was started is the closure's, from before systemd on.
        assert_eq!(server.run_ok("readlink -f /run/booted-system")?, built);
        let stage_2 = server.run_ok("cat /run/lastgood/stage-2.json")?;
        assert!(stage_2.contains("\"problems\":[]"), "{stage_2}");
        let page = server.run_ok("curl --silent --fail --insecure https://127.0.0.1/")?;
        assert!(page.contains("This page came with the closure."), "{page}");
        // From outside: what the rules let in, and nothing else.
        server.run_ok("nft list table inet lastgood-fw")?;
        for port in [80, 443] {
            server.call(port)?;
        }
        assert_eq!(server.reach(8080)?, Reach::Silent);
        server.power_off()
    })
}

/// Debian's own packages, without what they depend on.
fn the_example_with_prometheus_is_built_and_proven(debian: Debian) -> Result<()> {
    in_container("container-described-prometheus", debian, |server| {
        server.has(prometheus::unpacked(debian)?);
        ready(server)?;
        let built = server.run_ok(&format!(
            "nix-build --no-out-link --argstr root UUID=1234 {NIX}/examples/prometheus"
        ))?;
        set_and_try(server, &built)?;
        let get =
            |what: &str| server.run_ok(&format!("curl --silent --fail http://127.0.0.1:{what}"));
        assert!(get("9090/-/ready")?.contains("Ready"));
        assert!(get("9100/metrics")?.contains("node_boot_time_seconds"));
        // The user came with the closure.
        let process = server.property("prometheus.service", "MainPID")?;
        let user = server.run_ok(&format!("stat --format %U /proc/{process}"))?;
        assert_eq!(user, "prometheus");
        server.power_off()
    })
}

/// Programs of examples that the guest does not have, so that systemd-analyze misses none.
const PROGRAMS: [&str; 4] = [
    "/usr/bin/prometheus",
    "/usr/bin/prometheus-node-exporter",
    "/usr/bin/docker-compose",
    "/usr/bin/dockerd",
];

fn every_example_is_built_and_its_units_are_right(debian: Debian) -> Result<()> {
    in_container("container-described", debian, |server| {
        for program in PROGRAMS {
            server.write(program, "#!/bin/sh\n")?;
            let program = server.disk().join(program);
            fs::set_permissions(program, fs::Permissions::from_mode(0o755))?;
        }
        let docker = "[Service]\nExecStart=/usr/bin/dockerd\n";
        server.write("/usr/lib/systemd/system/docker.service", docker)?;
        ready(server)?;
        let image = format!("nginx@sha256:{}", "0123456789abcdef".repeat(4));
        let root = "--argstr root UUID=1234";
        for (description, arguments) in [
            (format!("{NIX}/examples/nginx"), root.to_owned()),
            (format!("{NIX}/examples/prometheus"), root.to_owned()),
            (
                format!("{NIX}/examples/compose"),
                format!("{root} --argstr image {image}"),
            ),
        ] {
            let command = format!("nix-build --no-out-link {arguments} {description}");
            let built = server.run_ok(&command)?;
            server.run_ok(&format!(
                "lastgood check-config {built}/etc/lastgood/lastgood.toml"
            ))?;
            let units = format!("{built}/etc/systemd/system");
            // Any unknown key, missing program or missing unit.
            let said = server.run(&format!(
                "systemd-analyze verify --man=no --recursive-errors=one {units}/*.service"
            ))?;
            assert_eq!(said.status, 0, "{description}: {said:?}");
        }
        // Where Nix tells of its own steps, the line that counts is the last one.
        let told = server.run(&format!(
            "nix-instantiate --expr 'import {NIX}/closure.nix {{ nmae = \"web\"; }}'"
        ))?;
        let mut lines = told.stderr.lines().rev();
        let line = lines.find(|line| !line.trim().is_empty() && !line.starts_with("(use "));
        let said = "error: closure.nix: argument: there is no \"nmae\"; did you mean \"name\"?";
        assert_eq!(line.map(str::trim), Some(said), "{told:?}");
        let tag = server.run(&format!(
            "nix-build --no-out-link {root} --argstr image nginx:latest {NIX}/examples/compose"
        ))?;
        assert!(
            tag.stderr.contains("nginx:latest is not named by digest"),
            "{tag:?}"
        );
        server.power_off()
    })
}

/// Made as system-manager's sources make one. None of its programs is run.
fn a_profile_of_system_manager_is_proven(debian: Debian) -> Result<()> {
    in_container("container-system-manager", debian, |server| {
        let profile = paths::repository().join("tests/trees/system-manager.nix");
        server.write("/root/profile.nix", fs::read(profile)?)?;
        server.write(
            "/root/default.nix",
            format!(
                "let make = import {NIX}/closure.nix; in make (make.newestKernel /boot // {{
                   name = \"managed\";
                   kernelParams = [ \"root=UUID=1234\" ];
                   systemManager = import ./profile.nix;
                   tmpfiles = [ \"d /srv/made 0750 root www-data\" ];
                   lastgood.health = {{ required-units = [ \"app.service\" ]; settle-sec = 1; }};
                 }})"
            ),
        )?;
        ready(server)?;
        let built = server.run_ok("nix-build --no-out-link /root")?;
        set_and_try(server, &built)?;
        assert_eq!(
            server.run_ok("cat /etc/app/app.conf /etc/app/secret.conf")?,
            "plain\nsecret"
        );
        let owned = server.run_ok("stat --format '%F %a %U %G' /etc/app/secret.conf")?;
        assert_eq!(owned, "regular file 640 root www-data");
        let made = server.run_ok("stat --format '%F %a %G' /srv/made")?;
        assert_eq!(made, "directory 750 www-data");
        for unit in ["app.service", "system-manager.target"] {
            assert_eq!(server.property(unit, "ActiveState")?, "active", "{unit}");
        }
        let masked = server.property("systemd-tmpfiles-clean.timer", "LoadState")?;
        assert_eq!(masked, "masked");
        server.power_off()
    })
}

/// What a container has no use for.
fn is_for_here(command: &str) -> bool {
    let not = ["apt install ", "lastgood install", "systemctl reboot"];
    !not.iter().any(|start| command.starts_with(start))
}

/// The blocks of a part of `docs/closures.md`, from one heading to another.
fn blocks(from: &str, to: &str) -> Result<Vec<String>> {
    let page = fs::read_to_string(paths::repository().join("docs/closures.md"))?;
    let (_, rest) = page.split_once(from).context("no first heading")?;
    let (part, _) = rest.split_once(to).context("no second heading")?;
    let blocks = part.split("```").skip(1).step_by(2);
    Ok(blocks.map(str::to_owned).collect())
}

/// What is typed in the first two sections.
fn typed() -> Result<String> {
    let blocks = blocks("\n## From an empty", "\n## What a description")?;
    let lines = blocks.iter().flat_map(|block| block.lines());
    let commands = lines.filter_map(|line| line.strip_prefix("# "));
    let here: Vec<&str> = commands.filter(|command| is_for_here(command)).collect();
    Ok(here.join("\n"))
}

/// The script that is run when apt has brought a kernel.
fn hook() -> Result<String> {
    let blocks = blocks("\n## Kernels", "\n## Secrets")?;
    let script = blocks.first().context("no script")?;
    let lines = script.lines().skip(1).map(str::trim_start);
    let here: Vec<&str> = lines.filter(|command| is_for_here(command)).collect();
    Ok(here.join("\n"))
}

fn the_steps_of_the_page_end_in_a_proven_trial(debian: Debian) -> Result<()> {
    in_container("container-page", debian, |server| {
        ready(server)?;
        // Generation 1 is what this machine runs; the page begins with none.
        let script = typed()?
            .replace("system-2-link", "system-3-link")
            .replace("system-1-link", "system-2-link");
        assert_eq!(script.matches("nix-env").count(), 2, "{script}");
        let said = server.run_ok(&format!("set -e\n{script}"))?;
        assert!(said.contains("lastgood.toml: no mistake"), "{said}");
        assert!(said.contains("system-server: 1 → 2"), "{said}");
        // apt has brought a kernel. What it runs has little in its environment.
        for file in ["vmlinuz", "initrd.img"] {
            server.run_ok(&format!(
                "cp /boot/{file}-6.1.0-9-amd64 /boot/{file}-6.1.0-10-amd64"
            ))?;
        }
        let hook = hook()?;
        let place = "/etc/kernel/postinst.d/zz-closure";
        server.run_ok(&format!(
            "mkdir -p {}; cat >{place} <<'EOF'\n{hook}\nEOF\nchmod +x {place}",
            "/etc/kernel/postinst.d"
        ))?;
        server.run_ok(&format!(
            "env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin {place} 6.1.0-10-amd64"
        ))?;
        let built = server.run_ok("readlink -f /nix/var/nix/profiles/system")?;
        let kernel = server.run_ok(&format!("readlink {built}/kernel"))?;
        assert!(kernel.ends_with("-vmlinuz-6.1.0-10-amd64"), "{kernel}");
        trial(server, 4, &built)?;
        let greeting = server.run_ok("cat /etc/motd.d/server")?;
        assert!(greeting.contains("falls back by itself"), "{greeting}");
        let hello = server.property("hello.service", "ActiveState")?;
        assert_eq!(hello, "active");
        server.power_off()
    })
}
