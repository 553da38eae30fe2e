# What needs a build: everything else is put into the store by the evaluation.
#
# One program does it all, busybox. It is static and in the store, so it runs in Nix's sandbox, where a host has neither
# /bin/sh nor cp, and without the sandbox alike.
{ pkgs, busybox }:
let
  inherit (builtins) pathExists;
  words = import ./words.nix;

  # Debian's package of that name wants libraries, which a build does not see.
  isDynamic = pathExists /var/lib/dpkg/info/busybox.list && !(pathExists /var/lib/dpkg/info/busybox-static.list);
  # In a directory: by its name in the store alone it would not know what it is.
  alone =
    directory:
    builtins.path { name = "busybox"; path = directory; filter = path: _: baseNameOf path == "busybox"; };
  shell =
    if busybox != null then
      "${busybox}/bin/busybox"
    else if pkgs != null then
      "${pkgs.busybox}/bin/busybox"
    else if !(pathExists /usr/bin/busybox) then
      words.fail "busybox" "there is no /usr/bin/busybox to build with; `apt install busybox-static`, or give `pkgs` (nixpkgs) or `busybox` (a package of it)"
    else if isDynamic then
      words.fail "busybox" "/usr/bin/busybox is not static, and a build does not see its libraries; `apt install busybox-static`, or give `pkgs` or `busybox`"
    else
      "${alone /usr/bin}/busybox";

  run =
    name: script: more:
    derivation (more // {
      inherit name;
      system = "x86_64-linux";
      builder = shell;
      args = [ "sh" script ];
      # Nothing of it is worth a download or another machine.
      preferLocalBuild = true;
      allowSubstitutes = false;
    });
in
{
  # A file with this text.
  text = name: text: run name ./text.sh { inherit text; passAsFile = [ "text" ]; };

  # What packages have in common places, linked together, by what `nix-env` makes profiles with.
  together =
    name: packages:
    derivation {
      inherit name;
      system = "builtin";
      builder = "builtin:buildenv";
      derivations = map (package: [ "true" 5 1 "${package}" ]) packages;
      manifest = builtins.toFile "manifest.nix" "[ ]\n";
      preferLocalBuild = true;
      allowSubstitutes = false;
    };

  # The closure itself: `entries` are what is in it, each with its kind, its place and what it leads to or says.
  toplevel =
    name: entries: bootJson: staticEnv:
    let
      line = entry: "${entry.kind}\t${entry.at}\t${entry.to}\n";
    in
    run name ./toplevel.sh {
      layout = builtins.concatStringsSep "" (map line entries);
      inherit bootJson staticEnv;
      passAsFile = [ "layout" "bootJson" ];
    };
}
