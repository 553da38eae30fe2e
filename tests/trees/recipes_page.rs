//! docs/recipes.md says what to type. What it types of lastgood is typed here, and the page is compared with the answers.
//!
//! `LASTGOOD_WRITE_SCREENS=1` writes the page's answers anew.

use std::fs;

use anyhow::{Context as _, Result, bail};
use lastgood_tests::mounts::Mounts;
use lastgood_tests::tree::Tree;
use lastgood_tests::{files, paths};

use super::ok;
use super::screens_page::{COLUMNS, seen};
use super::steps::boot;

const PAGE: &str = "docs/recipes.md";
/// What somebody types.
const PROMPT: &str = "# ";
/// A recipe's block is called by the comment before it.
const NAME: &str = "<!-- ";

/// What a closure has that boots.
const WHOLE: &str = "/bin/busybox rm -f $out/init && /bin/busybox ln -s /usr/bin/lastgood $out/init
    /bin/busybox mkdir -p $out/etc/systemd/system
    echo '[Service]' > $out/etc/systemd/system/app.service
    echo 'ExecStart=/bin/true' >> $out/etc/systemd/system/app.service";

/// A machine, and what must stay for as long as it does.
struct Kitchen {
    tree: Tree,
    _mounts: Option<Mounts>,
}

/// The machine on which the block `name` is typed.
fn kitchen(name: &str) -> Result<Kitchen> {
    let mounts = (name == "full").then(Mounts::private).transpose()?;
    let tree = Tree::new()?;
    let another = |name: &str, extra: &str| -> Result<()> {
        tree.set(&tree.build(name, &format!("{WHOLE}\n{extra}"))?)
    };
    another("1", "")?;
    let first = fs::read_link(tree.path("nix/var/nix/profiles/system-1-link"))?;
    let proven = |number: u64| -> Result<()> {
        let name = number.to_string();
        ok(&tree.lastgood(&["install", &name])?);
        let link = tree.path(&format!("nix/var/nix/profiles/system-{number}-link"));
        boot(&tree, &fs::read_link(link)?, u32::try_from(number)?)?;
        ok(&tree.lastgood(&["good", &name])?);
        Ok(())
    };
    match name {
        "first" => {}
        "proven" => proven(1)?,
        "upgrade" => {
            proven(1)?;
            another("2", "")?;
        }
        "roll back" | "reject" => {
            proven(1)?;
            another("2", "")?;
            proven(2)?;
        }
        "again" => {
            proven(1)?;
            another("2", "")?;
            ok(&tree.lastgood(&["install", "2"])?);
            for _ in 0..3 {
                tree.count_a_boot(2)?;
            }
            boot(&tree, &first, 5)?;
        }
        "full" => {
            let mounts = mounts.as_ref().context("no mounts")?;
            proven(1)?;
            another("2", "")?;
            proven(2)?;
            mounts.sized(&tree.path("boot"), "1m")?;
            let large = "mkdir -p $out/etc/lastgood\n\
                 printf '[boot.extra-files]\\n\"EFI/tools/rescue.efi\" = \"rescue.efi\"\\n' > $out/etc/lastgood/lastgood.toml\n\
                 /bin/busybox dd if=/dev/zero of=$out/rescue.efi bs=1M count=2";
            another("3", large)?;
        }
        "bad" | "accept" => {
            ok(&tree.lastgood(&["install"])?);
            for _ in 0..3 {
                tree.count_a_boot(1)?;
            }
            boot(&tree, &first, 5)?;
        }
        _ => bail!("{PAGE} has a recipe {name:?} that nobody can prepare"),
    }
    Ok(Kitchen {
        tree,
        _mounts: mounts,
    })
}

/// Each time of day made the same.
fn at_one_time(text: &str) -> String {
    const SAME: &str = "2026-01-12 08:00:00";
    let is_time = |text: &str| {
        let parsed: Result<jiff::civil::DateTime, _> = text.parse();
        parsed.is_ok()
    };
    let mut same = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(piece) = rest.get(..SAME.len()).filter(|piece| is_time(piece)) {
            same.push_str(SAME);
            rest = &rest[piece.len()..];
        } else {
            same.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    same
}

#[test]
fn the_page_types_what_works_and_shows_what_is_printed() -> Result<()> {
    let path = paths::repository().join(PAGE);
    let page = fs::read_to_string(&path)?;
    let mut new = String::new();
    let mut name = None;
    let mut kitchen_of_block: Option<Kitchen> = None;
    let mut is_answer = false;
    let mut typed = 0;
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix(NAME) {
            name = comment.strip_suffix(" -->");
        }
        if line == "```console" {
            kitchen_of_block = Some(kitchen(name.take().context("a block without a name")?)?);
        } else if line.starts_with("```") {
            kitchen_of_block = None;
            is_answer = false;
        }
        let Some(kitchen) = &kitchen_of_block else {
            new.extend([line, "\n"]);
            continue;
        };
        if let Some(command) = line.strip_prefix(PROMPT) {
            new.extend([line, "\n"]);
            is_answer = true;
            if let Some(arguments) = command.strip_prefix("lastgood ") {
                new.push_str(&at_one_time(&seen(&kitchen.tree, COLUMNS, arguments)?));
                typed += 1;
            }
        } else if !is_answer {
            new.extend([line, "\n"]);
        }
    }
    if std::env::var_os("LASTGOOD_WRITE_SCREENS").is_some() {
        files::write(&path, &new)?;
    }
    assert!(typed >= 12, "{typed} commands");
    assert!(
        page == new,
        "{PAGE} does not show what is printed, which is:\n{new}"
    );
    Ok(())
}

/// The text of a block of shell.
fn shell(name: &str) -> Result<String> {
    block("sh", name)
}

/// The text of a block in that language.
fn block(language: &str, name: &str) -> Result<String> {
    let page = fs::read_to_string(paths::repository().join(PAGE))?;
    let start = format!("{NAME}{language}: {name} -->\n```{language}\n");
    let (_, rest) = page.split_once(&start).context("no such block")?;
    let (text, _) = rest.split_once("```\n").context("no end")?;
    Ok(text.to_owned())
}

/// A server for `FleetLock`: it writes down one request, and says yes.
fn fleet_lock() -> Result<(String, std::thread::JoinHandle<std::io::Result<String>>)> {
    use std::io::{Read as _, Write as _};
    let server = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", server.local_addr()?);
    let asked = std::thread::spawn(move || {
        let (mut client, _) = server.accept()?;
        let mut request = Vec::new();
        let mut part = [0; 4096];
        while !request.ends_with(b"}}") {
            match client.read(&mut part)? {
                0 => break,
                count => request.extend(part.iter().take(count)),
            }
        }
        client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        Ok(String::from_utf8_lossy(&request).into_owned())
    });
    Ok((address, asked))
}

#[test]
fn the_hook_of_the_page_gives_the_lock_back() -> Result<()> {
    let (address, asked) = fleet_lock()?;
    let work = tempfile::tempdir()?;
    let hook = work.path().join("unlock");
    files::write(&hook, shell("unlock")?)?;
    let mut run = std::process::Command::new("sh");
    lastgood_tests::command::output(run.arg(&hook).env("FLEETLOCK", address))?;
    let asked = asked.join().ok().context("the server has died")??;
    let (head, body) = asked.split_once("\r\n\r\n").context("no request")?;
    assert!(
        head.starts_with("POST /v1/steady-state HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.to_lowercase()
            .contains("\r\nfleet-lock-protocol: true"),
        "{head}"
    );
    let body: serde_json::Value = serde_json::from_str(body)?;
    let id = body["client_params"]["id"].as_str().unwrap_or_default();
    assert_eq!(id.len(), 32, "{body}");
    assert_eq!(body["client_params"]["group"], "default");
    Ok(())
}

/// What is checked of containers and the kubelet is understood, and the programs tell one answer from the other.
#[test]
fn the_checks_of_the_page_tell_well_from_unwell() -> Result<()> {
    let tree = Tree::new()?;
    let file = tree.path("lastgood.toml");
    files::write(&file, block("toml", "containers")?)?;
    let path = file.display().to_string();
    let ended = tree.lastgood(&["check-config", &path])?;
    assert_eq!(ok(&ended), format!("{path}: no mistake\n"));

    let work = tempfile::tempdir()?;
    for name in ["container", "node"] {
        files::write(&work.path().join(name), shell(name)?)?;
    }
    // A stand-in: it answers what it is told to, if the words are those of the real one.
    let stand_in = |name: &str, words: &str| -> Result<()> {
        let program = work.path().join("bin").join(name);
        let text = format!(
            "#!/bin/sh\n[ \"$1 $2 $3\" = '{words}' ] || exit 64\nprintf '%s\\n' \"$ANSWER\"\nexit \"$STATUS\"\n"
        );
        files::write(&program, text)?;
        fs::set_permissions(
            &program,
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )?;
        Ok(())
    };
    stand_in("podman", "inspect --type container")?;
    stand_in("docker", "inspect --type container")?;
    stand_in("kubectl", "get node web-1")?;
    let run = |words: &[&str], answer: &str, status: &str| -> Result<bool> {
        let mut run = std::process::Command::new("sh");
        let path = format!("{}:/usr/bin:/bin", work.path().join("bin").display());
        run.args(words).current_dir(work.path()).env("PATH", path);
        let ended = run.env("ANSWER", answer).env("STATUS", status).output()?;
        Ok(ended.status.success())
    };
    for program in ["podman", "docker"] {
        let container = ["container", program, "web"];
        for (answer, is_well) in [
            ("running healthy", true),
            // It has no health check.
            ("running ", true),
            ("running starting", false),
            ("running unhealthy", false),
            ("exited ", false),
            ("exited healthy", false),
            ("created ", false),
            ("", false),
        ] {
            assert_eq!(
                run(&container, answer, "0")?,
                is_well,
                "{program}: {answer}"
            );
        }
        // No such container.
        assert!(!run(&container, "running healthy", "125")?);
    }
    files::write(&work.path().join("bin/uname"), "#!/bin/sh\necho Web-1\n")?;
    fs::set_permissions(
        work.path().join("bin/uname"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    for (answer, status, is_well) in [
        ("True", "0", true),
        ("False", "0", false),
        ("Unknown", "0", false),
        ("", "0", false),
        ("True", "1", false),
    ] {
        assert_eq!(run(&["node"], answer, status)?, is_well, "{answer:?}");
    }
    Ok(())
}
