# A closure in NixOS's layout, as small as it can be. The store of the tree is all there is: busybox, bound in, builds.
{ name, extra, kernel }:
let
  out = builtins.placeholder "out";
  # Kernel and initrd are store paths of their own, as in NixOS; every generation here shares the kernel.
  kernel' = builtins.path { name = "linux"; path = kernel; };
  initrd = builtins.toFile "initrd" "initrd of ${name}\n";
in
derivation {
  name = "nixos-system-tree-${name}";
  system = "x86_64-linux";
  builder = "/bin/busybox";
  args = [ "sh" "-euc" ''
    /bin/busybox mkdir -p "$out/etc/lastgood"
    echo "$bootspec" > "$out/boot.json"
    echo "26.05.${name}" > "$out/nixos-version"
    ${extra}
  '' ];
  bootspec = builtins.toJSON {
    "org.nixos.bootspec.v1" = {
      system = "x86_64-linux";
      init = "${out}/init";
      kernel = kernel';
      inherit initrd;
      kernelParams = [ "quiet" "number=${name}" ];
      label = "NixOS 26.05.${name}";
      toplevel = out;
    };
    "org.nixos.specialisation.v1" = { };
    "com.example.unknown" = { any = "thing"; };
  };
}
