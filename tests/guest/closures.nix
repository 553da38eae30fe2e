# Every closure the rig boots, as NixOS lays a toplevel out. Built offline, by real Nix, inside the guest's own root.
# `payload` holds what the rig prepared: bzImage, initrd, initrd-panic. `version` is the kernel's.
{ payload, version }:
let
  dir = name: builtins.path { inherit name; path = payload + "/${name}"; };
  kernel = dir "linux-${version}";
  initrd = dir "initrd-linux-${version}";
  initrdPanic = dir "initrd-panic-linux-${version}";

  kernelParams = [
    "root=/dev/nvme0n1p2"
    "console=ttyS0"
    "panic=1"
    "quiet"
    "systemd.show_status=0"
    "loglevel=4"
    # The rest only saves time under emulation.
    "mitigations=off"
    "audit=0"
    "apparmor=0"
    "tsc=reliable"
    "no_timer_check"
    "nokaslr"
    "cryptomgr.notests"
    "rcupdate.rcu_expedited=1"
    "8250.nr_uarts=1"
  ];

  toplevel =
    { number, page, nginxConf ? ./closure/nginx.conf, initrd' ? initrd }:
    let
      label = "26.05.lastgood-demo.${toString number}";
      out = builtins.placeholder "out";
    in
    derivation {
      name = "nixos-system-rig-${label}";
      system = "x86_64-linux";
      builder = "/bin/sh";
      args = [ ./closure/build ];
      PATH = "/usr/bin:/bin";
      bootspec = builtins.toJSON {
        "org.nixos.bootspec.v1" = {
          system = "x86_64-linux";
          init = "${out}/init";
          kernel = "${kernel}/bzImage";
          initrd = "${initrd'}/initrd";
          inherit kernelParams label;
          toplevel = out;
        };
        "org.nixos.specialisation.v1" = { };
        "org.nixos.systemd-boot" = { sortKey = "nixos"; };
      };
      kernelParams = builtins.concatStringsSep " " kernelParams;
      initrd = initrd';
      unit = ./closure/nginx.service;
      ruleset = ./closure/nftables.conf;
      config = ./closure/lastgood.toml;
      inherit kernel label page nginxConf;
    };
in
{
  one = toplevel { number = 1; page = "one"; };
  two = toplevel { number = 2; page = "two"; };
  bad-nginx = toplevel { number = 3; page = "bad-nginx"; nginxConf = ./closure/nginx-misspelt.conf; };
  panic = toplevel { number = 4; page = "panic"; initrd' = initrdPanic; };
  four = toplevel { number = 5; page = "four"; };
}
