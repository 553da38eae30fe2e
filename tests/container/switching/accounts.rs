//! Accounts that a closure's own script makes and removes, as nixpkgs' does on NixOS.

use anyhow::{Context as _, Result, ensure};
use lastgood_tests::container::Container;
use lastgood_tests::debian::Debian;
use lastgood_tests::scenario::in_container;
use lastgood_tests::switching::{Closure, is_nixos};

use super::{ends, laid, proven_first, started, switched};

on_one_debian! {
    Twelve: an_account_that_was_removed_comes_back_as_it_was,
}

/// What nixpkgs' `update-users-groups.pl` does with accounts that are declared without an id, but shorter: one that is gone
/// is removed, and its id is written down (`/var/lib/nixos/uid-map` there) and given to nobody else.
const ACCOUNTS: &str = r#"
map=/var/lib/nixos/uid-map
mkdir -p /var/lib/nixos
touch $map
for name in $(sed -n 's/^\(rig-[a-z]*\):.*/\1/p' /etc/passwd); do
    grep -qx "$name" "$1/accounts" || userdel "$name"
done
while read -r name; do
    if ! getent passwd "$name" >/dev/null; then
        id=$(sed -n "s/^$name //p" $map)
        if [ -z "$id" ]; then
            id=899
            while getent passwd $id >/dev/null || getent group $id >/dev/null || grep -q " $id\$" $map; do id=$((id - 1)); done
            echo "$name $id" >>$map
        fi
        useradd --system --uid "$id" --home-dir "/var/lib/$name" "$name"
    fi
    if [ ! -d "/var/lib/$name" ]; then
        mkdir "/var/lib/$name"
        chown "$name:" "/var/lib/$name"
    fi
done <"$1/accounts"
"#;

fn closure(server: &Container, names: &[&str]) -> Result<Closure> {
    let mut closure = Closure::new().for_nixos(server)?.activates_also(ACCOUNTS);
    for name in names {
        // It writes into its home, so that whoever has the id by then is seen.
        closure = closure.wanted(
            &format!("{name}.service"),
            format!(
                "[Service]\nUser={name}\nExecStart=/bin/sh -c 'touch /var/lib/{name}/file; exec sleep infinity'\n"
            ),
        );
    }
    Ok(closure.file("accounts", format!("{}\n", names.join("\n"))))
}

/// Its line in passwd, and whose its home is and what is in it. None: there is no such account.
fn account(server: &Container, name: &str) -> Result<Option<String>> {
    let found = server.run(&format!(
        "getent passwd {name} && getent group {name} && stat -c '%u:%g %U %n' /var/lib/{name} /var/lib/{name}/file"
    ))?;
    Ok((found.status == 0).then_some(found.stdout))
}

/// Forward, which frees an id and makes another account; undone; and forward, back, forward.
fn an_account_that_was_removed_comes_back_as_it_was(debian: Debian) -> Result<()> {
    in_container("switch-accounts-freed", debian, |server| {
        is_nixos(server)?;
        let fails = "[Service]\nType=exec\nExecStart=/bin/false\n";
        let closures = [
            closure(server, &["rig-alpha"])?,
            closure(server, &["rig-alpha", "rig-beta"])?,
            closure(server, &["rig-alpha", "rig-gamma"])?,
            closure(server, &["rig-alpha", "rig-delta"])?.wanted("bad.service", fails),
        ];
        let subjects = laid(server, &closures)?;
        proven_first(server, &subjects)?;
        // What stage 2 has done on NixOS.
        let first = subjects.first().context("no closure")?.toplevel.display();
        let before = std::fs::read_to_string(server.disk().join("/rig/before"))?;
        server.write("/rig/before", format!("{before}{first}/activate {first}\n"))?;
        started(server)?;
        switched(server, 2)?;
        let of = |name: &str| -> Result<String> {
            account(server, name)?.with_context(|| format!("{name} is no account"))
        };
        let (alpha, beta) = (of("rig-alpha")?, of("rig-beta")?);
        let is_as_it_was = |what: &str| -> Result<()> {
            let now = (of("rig-alpha")?, of("rig-beta")?);
            ensure!(now == (alpha.clone(), beta.clone()), "{what}: {now:?}");
            Ok(())
        };
        // rig-beta is removed on the way, and rig-delta is made: that is what is undone.
        ends(server, "test 4", 4)?;
        is_as_it_was("undone")?;
        ensure!(account(server, "rig-delta")?.is_none());
        let mut ids = vec![];
        for number in [3, 2, 3, 2] {
            switched(server, number)?;
            if number == 3 {
                ensure!(account(server, "rig-beta")?.is_none());
                ids.push(of("rig-gamma")?);
                // What the account that is gone has left behind is nobody's.
                let left = server.run_ok("stat -c %U /var/lib/rig-beta /var/lib/rig-beta/file")?;
                ensure!(left == "UNKNOWN\nUNKNOWN", "{left}");
            } else {
                is_as_it_was("forward again")?;
            }
        }
        ensure!(ids.first() == ids.last(), "{ids:?}");
        server.power_off()
    })
}
