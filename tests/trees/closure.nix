# A closure in NixOS's layout, as small as it can be. The store of the tree is all there is: busybox, bound in, builds.
#
# `specialisations` are names; each is built as a closure of its own, embedded in boot.json and linked, as NixOS does.
# `more` is merged into boot.json: extensions, or other values for bootspec's keys. `packages` are names of store paths that
# the closure needs.
{ name, extra, kernel, specialisations ? "[]", more ? "{}", packages ? "[]" }:
let
  out = builtins.placeholder "out";
  # Kernel and initrd are store paths of their own, as in NixOS; every generation here shares the kernel.
  kernel' = builtins.path { name = "linux"; path = kernel; };
  initrd = builtins.toFile "initrd" "initrd of ${name}\n";
  # Names may hold what a store path may not.
  children = map
    (child: {
      name = child;
      value = import ./closure.nix {
        inherit kernel extra;
        name = "${name}-${builtins.substring 0 8 (builtins.hashString "sha256" child)}";
      };
    })
    (builtins.fromJSON specialisations);
  # A name in boot.json may be longer than a file's.
  linked = builtins.filter (child: builtins.stringLength child.name < 256) children;
  quoted = text: "'" + builtins.replaceStrings [ "'" ] [ "'\\''" ] text + "'";
  more' = builtins.fromJSON more;
  needs = map
    (package: derivation {
      name = package;
      system = "x86_64-linux";
      builder = "/bin/busybox";
      args = [ "sh" "-c" "echo > $out" ];
    })
    (builtins.fromJSON packages);
in
derivation {
  name = "nixos-system-tree-${name}";
  system = "x86_64-linux";
  builder = "/bin/busybox";
  args = [ "sh" "-euc" ''
    /bin/busybox mkdir -p "$out/etc/lastgood"
    echo "$bootspec" > "$out/boot.json"
    echo "26.05.${name}" > "$out/nixos-version"
    echo -n x86_64-linux > "$out/system"
    echo -n "quiet number=${name}" > "$out/kernel-params"
    /bin/busybox ln -s ${kernel'} "$out/kernel"
    /bin/busybox ln -s ${initrd} "$out/initrd"
    /bin/busybox mkdir "$out/specialisation"
    ${builtins.concatStringsSep "\n" (map (child: ''
      /bin/busybox ln -s ${child.value} "$out/specialisation/"${quoted child.name}
    '') linked)}
    ${builtins.concatStringsSep "\n" (map (package: ''
      echo ${package} >> "$out/packages"
    '') needs)}
    ${extra}
  '' ];
  bootspec = builtins.toJSON (more' // {
    "org.nixos.bootspec.v1" = {
      system = "x86_64-linux";
      init = "${out}/init";
      kernel = kernel';
      inherit initrd;
      kernelParams = [ "quiet" "number=${name}" ];
      label = "NixOS 26.05.${name}";
      toplevel = out;
    } // (more'."org.nixos.bootspec.v1" or { });
    "org.nixos.specialisation.v1" = builtins.listToAttrs (map
      (child: {
        inherit (child) name;
        value."org.nixos.bootspec.v1" = { toplevel = "${child.value}"; };
      })
      children);
    "com.example.unknown" = { any = "thing"; };
  });
}
