//! Every mistake a person makes, as far as it was thought of: one line each, with what to do.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::Result;
use lastgood_tests::files;

use super::{describe, machine};

/// A mistake, and what is said of it. `DIR` is where the description is.
const MISTAKES: [(&str, &str); 82] = [
    (
        "etcc = {};",
        r#"argument: there is no "etcc"; did you mean "etc"?"#,
    ),
    (
        r#"name = "";"#,
        r#"name: "" may hold letters, digits and `+._-` only, 100 at most"#,
    ),
    ("name = 3;", "name: must be a text, and is a number"),
    (
        r#"version = "a/b";"#,
        r#"version: "a/b" may hold letters, digits and `+._-` only, 100 at most"#,
    ),
    (
        r#"label = "a\nb";"#,
        "label: there is a control character in it",
    ),
    (
        r#"init = "lastgood";"#,
        r#"init: "lastgood" is no absolute path without blanks"#,
    ),
    (
        r#"kernel = "vmlinuz-6.1.0-9-amd64";"#,
        r#"kernel: "vmlinuz-6.1.0-9-amd64" is no absolute path"#,
    ),
    (
        "kernel = 5;",
        "kernel: must be a path or a text or a set { ... }, and is a number",
    ),
    (
        "kernel = /nowhere/vmlinuz;",
        "kernel: there is no /nowhere/vmlinuz",
    ),
    (
        "kernel = ./boot/vmlinuz-6.1.0-8-amd64;",
        r#"kernel: there is no DIR/boot/vmlinuz-6.1.0-8-amd64; did you mean "vmlinuz-6.1.0-9-amd64"?"#,
    ),
    (
        "kernel = ./vmlinuz;",
        "kernel: DIR/vmlinuz is a link; name what it leads to",
    ),
    (
        "initrd = ./boot/initrd.img-6.1.0-9-amd46;",
        r#"initrd: there is no DIR/boot/initrd.img-6.1.0-9-amd46; did you mean "initrd.img-6.1.0-9-amd64"?"#,
    ),
    (
        "kernelParams = [ ];",
        "kernelParams: there is no root=, so the initrd would find no root; `cat /proc/cmdline` says what this machine has",
    ),
    (
        r#"kernelParams = "root=/dev/sda1 ro";"#,
        "kernelParams: must be a list [ ... ], and is a text",
    ),
    (
        r#"kernelParams = [ "root=/dev/sda1" "init=/bin/sh" ];"#,
        r#"kernelParams: "init=/bin/sh": the boot entry says init= itself"#,
    ),
    (
        r#"kernelParams = [ "root=/dev/sda1" "a\nb" ];"#,
        r#"kernelParams: there is a control character in "a\nb""#,
    ),
    (
        "kernelParams = [ 5 ];",
        "an item of kernelParams: must be a text, and is a number",
    ),
    (r#"etc = "x";"#, "etc: must be a set { ... }, and is a text"),
    (
        r#"etc."/etc/motd" = "x";"#,
        r#"etc."/etc/motd": names are relative to /etc: write "motd""#,
    ),
    (
        r#"etc."../x" = "x";"#,
        r#"etc."../x": its name is no plain path below /etc"#,
    ),
    (
        r#"etc."a//b" = "x";"#,
        r#"etc."a//b": its name is no plain path below /etc"#,
    ),
    (
        r#"etc."a\tb" = "x";"#,
        r#"etc."a\tb": there is a control character in its name"#,
    ),
    (
        "etc.motd = 5;",
        r#"etc."motd": must be a text or a path or a set { ... }, and is a number"#,
    ),
    (
        "etc.motd = ./missing;",
        r#"etc."motd": there is no DIR/missing"#,
    ),
    (
        r#"etc.motd = { source = "motd"; };"#,
        r#"etc."motd".source: "motd" is no absolute path"#,
    ),
    (
        "etc.motd = { };",
        r#"etc."motd": has neither a text nor a source"#,
    ),
    (
        r#"etc.motd = { text = "x"; source = ./a; };"#,
        r#"etc."motd": has a text and a source; one of them must go"#,
    ),
    (
        r#"etc.motd = { text = "x"; mod = "0600"; };"#,
        r#"etc."motd": there is no "mod"; did you mean "mode"?"#,
    ),
    (
        r#"etc.motd = { text = "x"; mode = "rw-r--r--"; };"#,
        r#"etc."motd".mode: "rw-r--r--" is neither octal permissions ("0640"), "symlink" nor "direct-symlink""#,
    ),
    (
        r#"etc.motd = { text = "x"; mode = "888"; };"#,
        r#"etc."motd".mode: "888" is neither octal permissions ("0640"), "symlink" nor "direct-symlink""#,
    ),
    (
        r#"etc.motd = { text = "x"; mode = 600; };"#,
        r#"etc."motd".mode: must be a text, and is a number"#,
    ),
    (
        r#"etc.motd = { text = "x"; user = "root"; };"#,
        r#"etc."motd": a link has no owner of its own; give a mode as well ("0640"), and it is copied"#,
    ),
    (
        r#"etc.motd = { text = "x"; mode = "0600"; user = "two words"; };"#,
        r#"etc."motd".user: must be a name ("www-data") or a number (33)"#,
    ),
    (
        r#"etc.motd = { source = ./boot; mode = "0600"; };"#,
        r#"etc."motd": DIR/boot is a directory, and only files are copied; leave the mode out"#,
    ),
    (
        r#"etc = { "motd.mode" = "0600"; "motd" = "x"; };"#,
        r#"etc."motd.mode": give it as mode of "motd""#,
    ),
    (
        r#"etc = { "a" = "x"; "a/b/c" = "x"; };"#,
        r#"etc."a/b/c": "a" is a file, and would have to be a directory"#,
    ),
    (
        r#"etc."systemd/system/a.service" = "x";"#,
        r#"etc."systemd/system/a.service": give units as `units`"#,
    ),
    (
        r#"etc."lastgood/lastgood.toml" = "x";"#,
        r#"etc."lastgood/lastgood.toml": cannot be given here: give it as `lastgood`"#,
    ),
    (
        r#"etc."NIXOS" = "x";"#,
        r#"etc."NIXOS": cannot be given here: it would make this host out to be NixOS"#,
    ),
    (
        r#"etc."fstab" = "/dev/sda2 /srv ext4 defaults 0 2\n";"#,
        r#"etc."fstab": there is no line for `/`, so a root that is mounted read-only at first would stay so"#,
    ),
    (
        r#"etc."key" = "-----BEGIN RSA PRIVATE KEY-----\n";"#,
        r#"etc."key": there is a private key in it, and everybody can read the store; keep it outside, and name its place as a text: source = "/var/lib/...""#,
    ),
    (
        r#"etc."ssl/host.key" = ./host.key;"#,
        r#"etc."ssl/host.key": DIR/host.key: there is a private key in it, and everybody can read the store; keep it outside, and name its place as a text: source = "/var/lib/...""#,
    ),
    (
        r#"etc."ssl" = ./keys;"#,
        r#"etc."ssl": DIR/keys/web/host.key: there is a private key in it, and everybody can read the store; keep it outside, and name its place as a text: source = "/var/lib/...""#,
    ),
    (
        r#"initrdSecrets = "cat /key >>$1\n";"#,
        "initrdSecrets: must begin with a line such as #!/bin/sh",
    ),
    (
        r#"sysctl."a.b" = 1; etc."sysctl.d/60-web.conf" = "x";"#,
        r#"etc."sysctl.d/60-web.conf": is made of sysusers, tmpfiles or sysctl already; give it in one place"#,
    ),
    (
        r#"sysctl."net.ipv4.ip_forward" = [ 1 ];"#,
        r#"sysctl."net.ipv4.ip_forward": must be a number or a text or true or false, and is a list [ ... ]"#,
    ),
    (
        "sysusers = [ 5 ];",
        "an item of sysusers: must be a text, and is a number",
    ),
    (
        "tmpfiles = 5;",
        "tmpfiles: must be a list [ ... ] or a set { ... }, and is a number",
    ),
    (
        r#"units."hello" = "x";"#,
        r#"units."hello": "hello" does not end with the kind of unit it is, such as .service; did you mean "hello.service"?"#,
    ),
    (
        r#"units."hello.servise" = "x";"#,
        r#"units."hello.servise": "hello.servise" does not end with the kind of unit it is, such as .service; did you mean "hello.service"?"#,
    ),
    (
        r#"units."a b.service" = "x";"#,
        r#"units."a b.service": "a b.service" is no name of a unit"#,
    ),
    (
        r#"units."lastgood-assess.service" = "x";"#,
        r#"units."lastgood-assess.service": the agent's own units are the host's, and a closure's are left out"#,
    ),
    (
        r#"units."a.service" = { };"#,
        r#"units."a.service": says nothing: give a text, a source, sections, or what to do with the host's unit (wantedBy, dropIns, mask)"#,
    ),
    (
        r#"units."a.service" = { text = "x"; wantedby = [ ]; };"#,
        r#"units."a.service": there is no "wantedby"; did you mean "wantedBy"?"#,
    ),
    (
        r#"units."a.service" = { text = "x"; wantedBy = [ "multi-user" ]; };"#,
        r#"units."a.service".wantedBy: "multi-user" does not end with the kind of unit it is, such as .target; did you mean "multi-user.target"?"#,
    ),
    (
        r#"units."a.service" = { text = "x"; wantedBy = "multi-user.target"; };"#,
        r#"units."a.service".wantedBy: must be a list [ ... ], and is a text"#,
    ),
    (
        r#"units."a.service" = "[Install]\nWantedBy=multi-user.target\n";"#,
        r#"units."a.service": its [Install] section is read by `systemctl enable` only, so nothing would start it; say wantedBy = [ "multi-user.target" ]"#,
    ),
    (
        r#"units."a.service" = ./enabled.service;"#,
        r#"units."a.service": its [Install] section is read by `systemctl enable` only, so nothing would start it; say wantedBy = [ "multi-user.target" ]"#,
    ),
    (
        r#"units."a.service" = { text = "x"; dropIns."a" = "x"; };"#,
        r#"units."a.service".dropIns."a": must end with .conf, or systemd does not read it; did you mean "a.conf"?"#,
    ),
    (
        r#"units."a.service" = { text = "x"; mask = true; };"#,
        r#"units."a.service": is masked, and has a content; one of them must go"#,
    ),
    (
        r#"units."a.service" = { text = "x"; sections.Service.ExecStart = "/bin/true"; };"#,
        r#"units."a.service": has sections and a text or a source; one of them must go"#,
    ),
    (
        r#"units."a.service" = { sections.Service.ExecStart = null; };"#,
        r#"units."a.service".sections.Service.ExecStart: must be a text or a number or true or false, and is null"#,
    ),
    (
        r#"units."a.service" = { text = "x"; aliases = [ "b" ]; };"#,
        r#"units."a.service".aliases: "b" does not end with the kind of unit it is, such as .service; did you mean "b.service"?"#,
    ),
    (
        r#"units = { "a.service" = { text = "x"; aliases = [ "b.service" ]; }; "b.service" = "x"; };"#,
        "etc/systemd/system/b.service: is given twice",
    ),
    (
        r#"lastgood.firewall.ruleset = "etc/nftables.conf";"#,
        r#"lastgood.firewall.ruleset: there is no "etc/nftables.conf" in `etc`"#,
    ),
    (
        "lastgood.health.settle-sec = null;",
        "lastgood.health.settle-sec: null cannot be written to lastgood.toml; leave the key out instead",
    ),
    ("lastgood = ./a.toml;", "lastgood: there is no DIR/a.toml"),
    (
        "lastgood = ./enabled.service; activate = ./enabled.service;",
        r#"lastgood: is a file of its own, so that `activate` would not be run; say script = "activate" there, and write it here as a set"#,
    ),
    (
        r#"activate = "true\n";"#,
        "activate: must begin with a line such as #!/bin/sh",
    ),
    (
        r#"packages = [ "nginx" ];"#,
        r#"packages: "nginx" is not in the store; give a package of `pkgs`, or a path"#,
    ),
    (
        r#"packages = "nginx";"#,
        "packages: must be a list [ ... ], and is a text",
    ),
    (
        "specialisation.debug = { kernelparams = [ ]; };",
        r#"specialisation."debug": there is no "kernelparams"; did you mean "kernelParams"?"#,
    ),
    (
        "specialisation.debug = { specialisation = { }; };",
        r#"specialisation."debug": a specialisation has none of its own"#,
    ),
    (
        r#"specialisation."a/b" = { };"#,
        r#"specialisation."a/b": this cannot be the name of a file"#,
    ),
    (
        r#"specialisation.debug = { kernelParams = [ "init=/x" ]; };"#,
        r#"kernelParams: "init=/x": the boot entry says init= itself"#,
    ),
    (
        "systemManager = ./boot;",
        "systemManager: DIR/boot is not in the store; give what `nix build` makes of `systemConfigs.NAME`",
    ),
    (
        "systemManager = /nowhere;",
        "systemManager: there is no /nowhere",
    ),
    (
        "make { kernel = ./boot/vmlinuz-6.1.0-9-amd64; }",
        "name: is missing: what this machine is called",
    ),
    (
        r#"make { name = "web"; initrd = ./boot/initrd.img-6.1.0-9-amd64; }"#,
        "kernel: is missing: a path such as /boot/vmlinuz-VERSION (`ls /boot`), or a kernel of nixpkgs",
    ),
    (
        r#"make { name = "web"; kernel = ./boot/vmlinuz-6.1.0-9-amd64; }"#,
        "initrd: is missing: a path such as /boot/initrd.img-VERSION (`ls /boot`)",
    ),
    (
        "make [ ]",
        "the description: must be a set { ... }, and is a list [ ... ]",
    ),
    (
        "make (plain // make.newestKernel ./empty)",
        "newestKernel: DIR/empty has no vmlinuz-VERSION with its initrd.img-VERSION",
    ),
];

#[test]
fn each_mistake_is_one_line_that_says_what_to_do() -> Result<()> {
    let tree = machine()?;
    let directory = tree.path("described");
    symlink("boot/vmlinuz-6.1.0-9-amd64", directory.join("vmlinuz"))?;
    fs::create_dir(directory.join("empty"))?;
    for key in ["host.key", "keys/web/host.key"] {
        let text = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
        files::write(&directory.join(key), text)?;
    }
    let enabled = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    files::write(&directory.join("enabled.service"), enabled)?;
    let mut other = Vec::new();
    for (mistake, said) in MISTAKES {
        let said = said.replace("DIR", &directory.display().to_string());
        let ended = describe(&tree, "nix-instantiate", mistake)?;
        let told = ended.stderr.lines().next().unwrap_or_default();
        if told != format!("error: closure.nix: {said}") {
            other.push(format!("{mistake}\n  {told}\n  and not {said}"));
        }
    }
    assert!(other.is_empty(), "{}", other.join("\n"));
    Ok(())
}
