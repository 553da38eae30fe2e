# Evaluates the module against a nixpkgs, and compares what comes of it:
#
#   nix-instantiate --eval --strict nix/check.nix --arg nixpkgs /path/to/nixpkgs
#
# It builds nothing. `flake.nix` has it among its checks.
{
  nixpkgs,
  pkgs ? import nixpkgs { system = "x86_64-linux"; },
}:

let
  inherit (pkgs) lib;

  eval =
    configuration:
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      inherit lib pkgs;
      system = null;
      modules = [
        ./module.nix
        {
          services.lastgood.enable = true;
          fileSystems."/" = {
            device = "/dev/disk/by-label/root";
            fsType = "ext4";
          };
          fileSystems."/boot" = {
            device = "/dev/disk/by-label/ESP";
            fsType = "vfat";
          };
          system.stateVersion = lib.trivial.release;
        }
        configuration
      ];
    }).config;

  # The texts of the module's own assertions that fail.
  refusals =
    configuration:
    lib.filter (lib.hasPrefix "services.lastgood") (
      map (one: one.message) (lib.filter (one: !one.assertion) (eval configuration).assertions)
    );
  isRefused = words: configuration: lib.any (lib.hasInfix words) (refusals configuration);

  plain = eval { };
  nftables = eval {
    networking.nftables.enable = true;
    services.openssh = {
      enable = true;
      ports = [ 2222 ];
    };
  };
  without = eval { networking.firewall.enable = false; };
  ofItsOwn = eval {
    networking.nftables.enable = true;
    services.lastgood.settings.firewall.ruleset = "etc/nftables.conf";
  };
  named = eval {
    networking.firewall.enable = false;
    services.lastgood.settings.firewall.unit = "ufw.service";
  };
  initrd = eval { boot.initrd.systemd.enable = true; };
  scripted = eval { boot.initrd.systemd.enable = false; };
  patient = eval {
    boot.initrd.systemd.enable = true;
    services.lastgood.stage1DeadlineSec = null;
  };
  set = eval {
    boot.loader.efi = {
      canTouchEfiVariables = true;
      efiSysMountPoint = "/efi";
    };
    boot.loader.timeout = 3;
  };

  unswitchable = eval { system.switch.enable = false; };
  ownOnly = eval {
    system.switch.enable = false;
    services.lastgood.switch.enable = true;
  };
  nixpkgsOnly = eval { services.lastgood.switch.enable = false; };
  inactive = eval { system.activatable = false; };
  special = eval {
    specialisation.same.configuration = { };
    specialisation.without.configuration.services.lastgood.switch.enable = false;
  };

  # What the builder of the closure does for bin/switch-to-configuration, in its order.
  commandsOf = config: config.system.systemBuilderCommands;
  isSwitchedBy = lib.hasInfix "/bin/lastgood switch-to-configuration --toplevel $out ";
  makesDirectory = lib.hasInfix "mkdir $out/bin\n";

  firewallOf = config: config.services.lastgood.settings.firewall.unit;
  service = config: name: config.systemd.services.${name};

  checks = {
    "nixos-rebuild writes through lastgood" =
      plain.boot.loader.external.enable
      && lib.hasInfix "lastgood-install" "${plain.system.build.installBootLoader}";
    "a toplevel can be made" = lib.all (config: lib.isString config.system.build.toplevel.drvPath) [
      nftables
      initrd
      scripted
    ];
    "nixos-rebuild switch switches through lastgood" =
      isSwitchedBy (commandsOf plain)
      # nixpkgs' program is made before: its own `mkdir` fails where something is there.
      && makesDirectory (lib.head (lib.splitString "mkdir -p $out/bin" (commandsOf plain)))
      && lib.hasInfix "nixpkgs-switch-to-configuration" (commandsOf plain)
      && lib.hasInfix "export LOCALE_ARCHIVE=" (commandsOf plain)
      && lib.hasInfix ''-- "\$@"'' (commandsOf plain);
    "the closure's own checks are asked where this nixpkgs has some" =
      lib.hasInfix "--pre-switch-check /" (commandsOf plain) == (plain.system ? preSwitchChecks);
    "with the option off, nixpkgs' program switches" =
      !isSwitchedBy (commandsOf nixpkgsOnly)
      && !lib.hasInfix "nixpkgs-switch-to-configuration" (commandsOf nixpkgsOnly)
      && makesDirectory (commandsOf nixpkgsOnly);
    "what is not to be switched is not, unless somebody says so" =
      !isSwitchedBy (commandsOf unswitchable)
      && isSwitchedBy (commandsOf ownOnly)
      && !makesDirectory (commandsOf ownOnly);
    "a closure without an activation has no switch, and the separate script stays nixpkgs'" =
      !isSwitchedBy (commandsOf inactive) && !isSwitchedBy plain.system.activatableSystemBuilderCommands;
    "a specialisation has its own" =
      let
        of = name: commandsOf special.specialisation.${name}.configuration;
      in
      isSwitchedBy (of "same") && !isSwitchedBy (of "without") && isSwitchedBy (commandsOf special);
    "units are wanted as their [Install] says" =
      (service plain "lastgood-begin").wantedBy == [ "sysinit.target" ]
      && (service plain "lastgood-assess").wantedBy == [ "sysinit.target" ]
      && (service plain "lastgood-assess").requiredBy == [ "boot-complete.target" ]
      && (service plain "lastgood-bless").wantedBy == [ "multi-user.target" ]
      && (service plain "lastgood-probation").wantedBy == [ ]
      && (service plain "lastgood-fall-back").wantedBy == [ ];
    "a live switch leaves them alone" = lib.all (
      name: !(service plain name).restartIfChanged
    ) (lib.filter (lib.hasPrefix "lastgood-") (lib.attrNames plain.systemd.services));
    "journalctl learns what the messages mean" =
      lib.hasSuffix "/lib/systemd/catalog/lastgood.catalog" plain.environment.etc."systemd/catalog/lastgood.catalog".source
      && lib.hasPrefix "-/" (service plain "journal-catalog-lastgood").serviceConfig.ExecStart;
    "whoever logs in is told" = lib.hasInfix "/run/motd.d/lastgood" plain.environment.loginShellInit;
    "the firewall is iptables' unit" =
      firewallOf plain == "firewall.service"
      && (service plain "lastgood-firewall").after == [ "firewall.service" ];
    "the firewall is nftables' unit" =
      firewallOf nftables == "nftables.service"
      && (service nftables "lastgood-firewall").after == [ "nftables.service" ]
      && nftables.services.lastgood.settings.firewall.management-ports == [ 2222 ];
    "lastgood looks after a unit that is named" =
      (service named "lastgood-firewall").after == [ "ufw.service" ];
    "no firewall is none" = firewallOf without == null && (service without "lastgood-firewall").after == [ ];
    "a ruleset of its own is all that is asked for" =
      firewallOf ofItsOwn == null && (service ofItsOwn "lastgood-firewall").after == [ ];
    "a trial does not stay in stage 1" =
      (initrd.boot.initrd.systemd.timers ? lastgood-deadline)
      && (initrd.boot.initrd.systemd.timers ? lastgood-no-prompt)
      && lib.hasInfix "reboot -f" scripted.boot.initrd.preFailCommands;
    "where somebody types a passphrase it waits" =
      !(patient.boot.initrd.systemd.timers ? lastgood-deadline);
    "what NixOS's own options say is the default" =
      set.services.lastgood.settings.boot.esp == "/efi"
      && set.services.lastgood.settings.boot.timeout == 3
      && set.services.lastgood.settings.boot.can-touch-efi-variables;
    "another loader is refused" =
      isRefused "boot.loader.systemd-boot.enable = false" { boot.loader.systemd-boot.enable = true; }
      && isRefused "From GRUB" { boot.loader.grub.enable = true; }
      && isRefused "From lanzaboote" {
        options.boot.lanzaboote.enable = lib.mkEnableOption "lanzaboote";
        config.boot.lanzaboote.enable = true;
      };
    "a menu without end is refused" = isRefused "boot.loader.timeout" { boot.loader.timeout = null; };
    "a container is refused" = isRefused "container" { boot.isContainer = true; };
    "a script is refused" = isRefused "activation" {
      services.lastgood.settings.activation.script = "activate";
    };
    "all is well without another loader" = refusals { } == [ ];
  };
  failed = lib.attrNames (lib.filterAttrs (_: passes: !passes) checks);
in
if failed == [ ] then
  "${toString (lib.length (lib.attrNames checks))} checks pass"
else
  throw "nix/check.nix: not so: ${lib.concatStringsSep "; " failed}"
