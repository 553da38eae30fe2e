# Every closure the rig boots, as NixOS lays a toplevel out. Built offline, by real Nix, inside the guest's own root.
# `payload` holds what the rig prepared: bzImage and initrds. `version` is the kernel's.
{ payload, version }:
let
  dir = name: builtins.path { inherit name; path = payload + "/${name}"; };
  kernel = dir "linux-${version}";
  initrd = dir "initrd-linux-${version}";
  initrdPanic = dir "initrd-panic-linux-${version}";

  # The rig's own initrd mounts the root to be written to, and knows no other name for it.
  ownRoot = [ "root=/dev/nvme0n1p2" ];
  # As Debian's installer has it.
  debianRoot = [ "root=PARTUUID=aaaaaaaa-0000-4000-8000-000000000002" "ro" ];
  nixPartition = [ "lastgood.nix=PARTUUID=aaaaaaaa-0000-4000-8000-000000000003" ];
  otherParams = [
    "console=ttyS0"
    "panic=1"
    "quiet"
    "systemd.show_status=0"
    "loglevel=4"
    # The emulated processor's counter is the host's, and is measured early in the boot: on a busy host the guest's clock has run
    # four times too fast for that (seen: 623 MHz instead of 2,596). This timer is the machine's own. It wraps after 4.7 s, and
    # when the host stands still for longer the guest misses that.
    "clocksource=acpi_pm"
    "tsc=unstable"
    # The rest only saves time under emulation.
    "mitigations=off"
    "audit=0"
    "apparmor=0"
    "no_timer_check"
    "nokaslr"
    "cryptomgr.notests"
    "rcupdate.rcu_expedited=1"
    "8250.nr_uarts=1"
  ];

  toplevel =
    { number, page, nginxConf ? ./closure/nginx.conf, initrd' ? initrd, rootParams ? ownRoot
    , init ? "/usr/lib/systemd/systemd", fstab ? "", dropIn ? "", furtherConfig ? "grace-sec = 0\n" }:
    let
      kernelParams = rootParams ++ otherParams;
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
      inherit kernel label page nginxConf init fstab dropIn furtherConfig;
    };

  # With a stage 2, an fstab of its own, and an initrd as Debian makes it.
  debian = name: {
    initrd' = dir "initrd-${name}-linux-${version}";
    rootParams = debianRoot;
    init = "/usr/bin/lastgood";
    fstab = ./closure/fstab;
  };
  staged =
    name: number: where:
    let
      closure = more: toplevel (debian name // { rootParams = debianRoot ++ where; } // more);
    in
    {
      "${name}-one" = closure { number = number + 1; page = "one"; };
      "${name}-bad-fstab" = closure {
        number = number + 2;
        page = "bad-fstab";
        furtherConfig = ""; # there is time to pull the plug
        fstab = ./closure/fstab-broken;
      };
      "${name}-bad-both" = closure {
        number = number + 3;
        page = "bad-both";
        fstab = ./closure/fstab-broken;
        nginxConf = ./closure/nginx-misspelt.conf;
      };
    };
in
staged "initramfs-tools" 10 [ ] // staged "dracut" 20 nixPartition // {
  nix-partition = toplevel (debian "initramfs-tools" // {
    number = 31;
    page = "nix-partition";
    fstab = ./closure/fstab-nix;
    rootParams = debianRoot ++ nixPartition;
  });
  nix-untold = toplevel (debian "initramfs-tools" // {
    number = 32;
    page = "nix-untold";
    fstab = ./closure/fstab-nix;
  });
  one = toplevel { number = 1; page = "one"; };
  two = toplevel { number = 2; page = "two"; };
  bad-nginx = toplevel { number = 3; page = "bad-nginx"; nginxConf = ./closure/nginx-misspelt.conf; };
  bad-nginx-live = toplevel {
    number = 7;
    page = "bad-nginx-live";
    nginxConf = ./closure/nginx-misspelt.conf;
    furtherConfig = "grace-sec = 0\nlive = true\n";
  };
  held = toplevel {
    number = 8;
    page = "held";
    dropIn = ./closure/nginx-held.conf;
    furtherConfig = "[switch]\npatience-sec = 600\n";
  };
  other-parameters = toplevel {
    number = 9;
    page = "other-parameters";
    rootParams = ownRoot ++ [ "rig.other=1" ];
  };
  panic = toplevel { number = 4; page = "panic"; initrd' = initrdPanic; };
  late-fstab = toplevel { number = 6; page = "late-fstab"; fstab = ./closure/fstab-broken; };
  four = toplevel { number = 5; page = "four"; };
}
