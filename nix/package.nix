# The static agent, with all that belongs to it. On NixOS nothing is in /usr: what the units name by its path on another
# distribution gets its path in the store, and the build fails if one is left.
{
  lib,
  rustPlatform,
  runtimeShell,
  coreutils,
  nftables,
  installShellFiles,
}:

let
  manifest = lib.importTOML ../Cargo.toml;
in
rustPlatform.buildRustPackage {
  pname = "lastgood";
  inherit (manifest.workspace.package) version;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../.cargo
      ../Cargo.toml
      ../Cargo.lock
      ../agent
      ../boot-entries
      ../systemd-boot-model
      # The manual and the completions are made by the project's own commands, and these by the harness of the tests.
      ../tests
      ../xtask
      ../units
      # Files that these compile in, or take for their example.
      ../docs
      ../initrd
      ../nix/options.json
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [
    "--package"
    "lastgood"
  ];
  nativeBuildInputs = [ installShellFiles ];

  # They start systemd, virtual machines and nft as root, which no sandbox allows. `cargo xtask test` runs them.
  doCheck = false;

  postInstall = ''
    units=$out/lib/systemd/system
    mkdir -p $units $out/lib/systemd/system-generators $out/lib/tmpfiles.d $out/lib/lastgood $out/lib/systemd/catalog
    cp units/*.service $units/
    cp units/tmpfiles.d/*.conf $out/lib/tmpfiles.d/
    cp units/lockdown.nft $out/lib/lastgood/
    cp units/lastgood.catalog $out/lib/systemd/catalog/
    # It knows by the name it is called by what it is to do.
    ln -s $out/bin/lastgood $out/lib/systemd/system-generators/lastgood-generator

    sed -i \
      -e "s|/usr/bin/lastgood|$out/bin/lastgood|g" \
      -e "s|/usr/lib/lastgood/|$out/lib/lastgood/|g" \
      -e 's|/bin/sh -c|${runtimeShell} -c|g' \
      -e 's|/bin/sleep|${coreutils}/bin/sleep|g' \
      -e 's#|| nft list#|| ${nftables}/bin/nft list#g' \
      -e 's#exec nft -f#exec ${nftables}/bin/nft -f#g' \
      $units/*.service

    # NixOS loads its firewall by a unit of its own, which is ordered after sysinit.target, and lastgood looks how that
    # ended. So it cannot be before that target. module.nix says after which unit it is. Neither is anything else of
    # Debian's order wanted here.
    sed -i \
      -e '/^After=nftables.service$/d' \
      -e '/^# Debian.s own ruleset file/d' \
      -e 's/^Before=network-pre.target sysinit.target shutdown.target$/Before=network-pre.target shutdown.target/' \
      $units/lastgood-firewall.service
    if grep -E '^(Before|After)=.*(sysinit.target|nftables.service)' $units/lastgood-firewall.service; then
      echo "the order of lastgood-firewall.service is not the one for NixOS: mend nix/package.nix" >&2
      exit 1
    fi
    if grep -nE '^[^#]*([= '"'"']/(usr|bin|sbin)/|[|;] *nft |exec nft)' $units/*.service; then
      echo "a unit names a program that is not in the store: mend nix/package.nix" >&2
      exit 1
    fi

    cargo run --quiet --offline --package xtask -- manuals manuals
    installManPage manuals/man8/lastgood.8 manuals/man5/lastgood.toml.5
    installShellCompletion --cmd lastgood \
      --bash manuals/bash/lastgood --zsh manuals/zsh/_lastgood --fish manuals/fish/lastgood.fish
  '';

  meta = {
    description = "Boots the newest generation that works";
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "lastgood";
    platforms = [ "x86_64-linux" ];
  };
}
