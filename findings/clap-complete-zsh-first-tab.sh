#!/bin/sh
# The zsh file that clap_complete's dynamic engine writes offers nothing at the first TAB, if it is installed as a file.
#
# Versions: clap 4.6.9, clap_complete 4.6.11 (feature unstable-dynamic), zsh 5.9-4+b15 (Debian 12).
# Behaviour: the file begins with `#compdef NAME`, by which compinit(1) autoloads it as `_NAME` from $fpath. zsh runs it as
#   the completion function when NAME is completed for the first time. But it only defines another function and calls
#   `compdef` for the next time. The first call offers nothing; every later one offers all.
# Why it surprises: with `source <(COMPLETE=zsh NAME)` in .zshrc all is well, so nobody sees it who tries it that way. A
#   package puts the file into vendor-completions, and each new shell then has one dead TAB.
# A way round: end the file with `if [ "${funcstack[1]}" = _NAME ]; then the-function "$@"; fi`.
# Fails if that changes. Needs cargo, apt, and no root.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get download -qq zsh=5.9-4+b15 zsh-common=5.9-4 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
zsh=$work/root/bin/zsh
[ -x "$zsh" ] || zsh=$work/root/usr/bin/zsh

mkdir -p demo/src
cat > demo/Cargo.toml <<'TOML'
[package]
name = "demo"
version = "0.1.0"
edition = "2024"
[dependencies]
clap = { version = "=4.6.9", features = ["derive"] }
clap_complete = { version = "=4.6.11", features = ["unstable-dynamic"] }
TOML
cat > demo/src/main.rs <<'RUST'
use clap::{CommandFactory, Parser};
#[derive(Parser)]
struct Cli {
    #[arg(value_parser = ["apple", "pear"])]
    fruit: String,
}
fn main() {
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    println!("{}", Cli::parse().fruit);
}
RUST
cargo build --quiet --manifest-path demo/Cargo.toml --target-dir "$work/target"
mkdir functions
COMPLETE=zsh target/debug/demo > functions/_demo

# As compinit would: the file is a function, and it is called for what is typed. `_describe` works within a key press only,
# so it prints what it is given.
cat > try.zsh <<'ZSH'
fpath=($PWD/functions)
compdef() { compdefs+=("$*") }
_describe() { print -r -- ${(P)argv[-1]} }
autoload -Uz _demo
path=($PWD/target/debug $path)
words=(demo '') CURRENT=2
print -r -- "first: $(_demo)"
_demo > first
print -r -- "registered: ${(j:; :)compdefs}"
print -r -- "later: $(${${(z)compdefs[1]}[1]})"
ZSH
"$zsh" -f try.zsh > said

failed=0
expect() { # the line that is wanted
    if grep -qxF -- "$1" said; then echo "as before: $1"; else echo "CHANGED: no line \"$1\""; failed=1; fi
}
"$zsh" --version
expect "first: "
expect "registered: _clap_dynamic_completer_demo demo"
if grep -q '^later: .*apple.*pear' said; then echo "as before: $(grep '^later' said)"; else echo "CHANGED: later calls"; failed=1; fi
[ "$failed" = 0 ] || cat said
exit "$failed"
