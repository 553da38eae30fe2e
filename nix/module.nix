# NixOS: `nixos-rebuild boot` and `switch` write boot entries through lastgood, and each boot is judged.
#
# docs/nixos.md says how it is used, and what each part is for.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.lastgood;
  toml = pkgs.formats.toml { };

  # The configuration's keys, from the one table of the agent. A test holds the two together.
  keys = lib.importJSON ./options.json;

  typeOf =
    t:
    {
      bool = lib.types.bool;
      int =
        if t ? min && t ? max then
          lib.types.ints.between t.min t.max
        else if t ? min then
          lib.types.addCheck lib.types.int (number: number >= t.min)
        else
          lib.types.int;
      str = lib.types.str;
      # Absolute, or inside the closure: the agent says which, in the build.
      path = lib.types.either lib.types.path lib.types.str;
      enum = lib.types.enum t.values;
      listOf = lib.types.listOf (typeOf t.of);
      attrsOf = lib.types.attrsOf (typeOf t.of);
      either = lib.types.oneOf (map typeOf t.of);
      nullOr = lib.types.nullOr (typeOf t.of);
      anything = toml.type;
    }
    .${t.type};

  optionOf =
    _: key:
    lib.mkOption (
      {
        type = if key.default == null then lib.types.nullOr (typeOf key.type) else typeOf key.type;
        inherit (key) default description;
      }
      // lib.optionalAttrs (key.example or null != null) { inherit (key) example; }
    );

  # What is not said, or is what the agent does anyway, is left out: an older generation's agent then need not know a key
  # that nobody has set.
  isSaid =
    section: name: value:
    value != null && !(keys ? ${section}.${name} && keys.${section}.${name}.default == value);
  said = lib.filterAttrs (_: section: section != { }) (
    lib.mapAttrs (
      section: values:
      if lib.isAttrs values then lib.filterAttrs (isSaid section) values else values
    ) cfg.settings
  );

  # What the messages in the journal mean. journalctl finds it in /etc: of the store it reads its own package only.
  catalogue = "${cfg.package}/lib/systemd/catalog/lastgood.catalog";

  # The agent itself reads it, so that a mistake is a failed build and no failed install.
  checked =
    pkgs.runCommand "lastgood.toml" { written = toml.generate "lastgood.toml" said; }
      ''
        ${cfg.package}/bin/lastgood check-config $written
        cp $written $out
      '';

  # `$1` is the toplevel. What else is in the environment (NIXOS_INSTALL_BOOTLOADER) has no say: where there is no
  # systemd-boot yet it is installed, and where there is one it is kept up to date.
  installHook = pkgs.writeShellScript "lastgood-install" ''
    exec ${cfg.package}/bin/lastgood install "$1"
  '';

  # What nixpkgs' own program gives to a closure's check and to its activation. Not every nixpkgs has checks, and not every
  # system has an archive of locales.
  preSwitchCheck =
    config.system.preSwitchChecksScript or config.system.preSwitchChecks.script or null;
  locales = config.i18n.glibcLocales;
  # In front of nixpkgs' program, which stays beside it: a closure that is built without `services.lastgood.switch` has that
  # one alone. $out is the closure, also a specialisation's. Of the separate activation script ($toplevelVar) nothing
  # changes.
  switchCommands = ''
    mkdir -p $out/bin
    if [ -e $out/bin/switch-to-configuration ]; then
      mv $out/bin/switch-to-configuration $out/bin/nixpkgs-switch-to-configuration
    fi
    cat > $out/bin/switch-to-configuration <<EOF
    #!${pkgs.runtimeShell}
    ${lib.optionalString (
      locales != null
    ) "export LOCALE_ARCHIVE=${locales}/lib/locale/locale-archive"}
    exec ${cfg.package}/bin/lastgood switch-to-configuration --toplevel $out ${
      lib.optionalString (preSwitchCheck != null) "--pre-switch-check ${preSwitchCheck} "
    }-- "\$@"
    EOF
    chmod +x $out/bin/switch-to-configuration
  '';

  # NixOS does not look at [Install]. What it says is read here, so that it stands in one place.
  units = lib.filter (lib.hasSuffix ".service") (lib.attrNames (builtins.readDir ../units));
  installOf =
    unit: key:
    let
      lines = lib.splitString "\n" (builtins.readFile (../units + "/${unit}"));
      ours = lib.filter (lib.hasPrefix "${key}=") lines;
    in
    lib.concatMap (line: lib.filter (name: name != "") (lib.splitString " " (lib.removePrefix "${key}=" line))) ours;

  serviceOf =
    unit:
    let
      wantedBy = installOf unit "WantedBy";
      requiredBy = installOf unit "RequiredBy";
    in
    lib.nameValuePair (lib.removeSuffix ".service" unit) {
      inherit wantedBy requiredBy;
      # They are about a boot, and not about what a live switch makes of it.
      restartIfChanged = false;
      stopIfChanged = false;
      # A live switch starts what a target has come to want. In a boot without lastgood there is nothing to judge.
      unitConfig = lib.mkIf (wantedBy != [ ] || requiredBy != [ ]) {
        ConditionPathExists = "/run/booted-system/sw/bin/lastgood";
      };
    };

  # What NixOS loads its firewall with.
  firewallUnit =
    # Newer trees of nixpkgs have it.
    if config.networking.firewall.enable && config.networking.firewall.backend or null == "firewalld" then
      "firewalld.service"
    else if config.networking.nftables.enable then
      "nftables.service"
    else if config.networking.firewall.enable then
      "firewall.service"
    else
      null;
  asksForItsOwn = cfg.settings.firewall.ruleset != null || cfg.settings.firewall.enable == true;
  usesFirewallUnit = firewallUnit != null && !asksForItsOwn;

  # There only if the loader counts this boot: a trial. (The name is systemd-boot's.)
  countedBoot = "/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
  # The variable outlives a kexec. Only a loader tells the kernel where its initrd is.
  byTheLoader = "initrd";
  deadline = cfg.stage1DeadlineSec;
  hasDeadline = deadline != null && config.boot.initrd.enable;
  # What a timer does to a trial: the next try, or the generation that the loader falls back to.
  nextTry = {
    description = "Reboot out of a Failed Trial";
    unitConfig = {
      DefaultDependencies = false;
      ConditionPathExists = countedBoot;
      ConditionKernelCommandLine = byTheLoader;
      SuccessAction = "reboot-force";
    };
  };
  timerOf = description: time: {
    inherit description;
    conflicts = [ "shutdown.target" ];
    before = [ "shutdown.target" ];
    unitConfig = {
      DefaultDependencies = false;
      ConditionPathExists = countedBoot;
      ConditionKernelCommandLine = byTheLoader;
    };
    timerConfig = {
      OnActiveSec = time;
      AccuracySec = "1s";
      Unit = "lastgood-next-try.service";
    };
  };

  # Whether another loader is asked for. Some are in newer trees of nixpkgs only, and one is nobody's there.
  asksFor = path: lib.attrByPath path false config == true;
  others = lib.filter (other: asksFor other.option) [
    {
      option = [ "boot" "loader" "systemd-boot" "enable" ];
      way = "lastgood writes systemd-boot's entries, and installs and updates systemd-boot itself. It takes over the entries that are there";
    }
    {
      option = [ "boot" "loader" "grub" "enable" ];
      way = "the machine has to start by UEFI, from a FAT partition that is mounted. See \"From GRUB\" in docs/nixos.md";
    }
    {
      option = [ "boot" "lanzaboote" "enable" ];
      way = "lastgood signs nothing, so Secure Boot has to be off. See \"From lanzaboote\" in docs/nixos.md";
    }
    {
      option = [ "boot" "loader" "limine" "enable" ];
      way = "lastgood works with systemd-boot only";
    }
    {
      option = [ "boot" "loader" "refind" "enable" ];
      way = "lastgood works with systemd-boot only";
    }
    {
      option = [ "boot" "loader" "generic-extlinux-compatible" "enable" ];
      way = "lastgood works with systemd-boot only";
    }
    {
      option = [ "boot" "loader" "generationsDir" "enable" ];
      way = "lastgood works with systemd-boot only";
    }
    {
      option = [ "boot" "loader" "initScript" "enable" ];
      way = "lastgood works with systemd-boot only";
    }
  ];
in
{
  options.services.lastgood = {
    enable = lib.mkEnableOption "lastgood, which boots the newest generation that works";

    package = lib.mkOption {
      type = lib.types.package;
      default =
        pkgs.lastgood or (pkgs.callPackage ./package.nix { inherit (pkgs.pkgsStatic) rustPlatform; });
      defaultText = lib.literalExpression "pkgs.lastgood";
      description = "The lastgood to use. It is part of each generation, and goes back with it.";
    };

    settings = lib.mkOption {
      type = lib.types.submodule {
        freeformType = toml.type;
        options = lib.mapAttrs (_: lib.mapAttrs optionOf) keys;
      };
      default = { };
      example = lib.literalExpression ''
        {
          boot.mirrors = [ "/boot2" ];
          health.required-units = [ "sshd.service" ];
        }
      '';
      description = ''
        What becomes {file}`/etc/lastgood/lastgood.toml` of the generation; see {manpage}`lastgood.toml(5)`. The build
        fails if lastgood finds a mistake in it.
      '';
    };

    switch.enable = lib.mkOption {
      type = lib.types.bool;
      default = config.system.switch.enable;
      defaultText = lib.literalExpression "config.system.switch.enable";
      description = ''
        Whether {file}`bin/switch-to-configuration` of the closure is lastgood's: {command}`nixos-rebuild switch` and
        deploy tools then get a live switch that is undone if it does not end well. nixpkgs' own program stays beside it
        as {file}`bin/nixpkgs-switch-to-configuration`.
      '';
    };

    stage1DeadlineSec = lib.mkOption {
      type = lib.types.nullOr lib.types.ints.positive;
      default = 600;
      description = ''
        After how many seconds in stage 1 (the initrd) a trial is rebooted, so that the loader counts it. Half a minute
        after stage 1 has failed it is rebooted as well. A proven generation waits, as NixOS has it. `null`: a trial
        waits as well, which is right where somebody types a passphrase.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    assertions =
      map (other: {
        assertion = false;
        message = "services.lastgood.enable and ${lib.concatStringsSep "." other.option} are both set, and only one can write boot entries: set ${lib.concatStringsSep "." other.option} = false (with lib.mkForce if a module sets it); ${other.way}.";
      }) others
      ++ [
        {
          assertion = !config.boot.isContainer;
          message = "services.lastgood.enable: a container has no boot loader; enable lastgood on its host.";
        }
        {
          assertion = config.boot.loader.timeout != null || cfg.settings.boot.timeout != null;
          message = "services.lastgood.enable: with boot.loader.timeout = null the loader waits at its menu until somebody presses a key, and nobody does after a fallback: set boot.loader.timeout to seconds.";
        }
        {
          assertion = cfg.settings.activation.script == null;
          message = "services.lastgood.settings.activation.script: NixOS runs the activation of a generation by itself; leave it out.";
        }
      ];

    services.lastgood.settings = {
      boot = {
        esp = lib.mkDefault config.boot.loader.efi.efiSysMountPoint;
        can-touch-efi-variables = lib.mkDefault config.boot.loader.efi.canTouchEfiVariables;
        timeout = lib.mkIf (config.boot.loader.timeout != null) (lib.mkDefault config.boot.loader.timeout);
      };
      firewall = {
        # The firewall is NixOS's own, and lastgood closes the machine if it is not in the kernel before the network.
        unit = lib.mkIf usesFirewallUnit (lib.mkDefault firewallUnit);
        management-ports = lib.mkIf config.services.openssh.enable (
          lib.mkDefault config.services.openssh.ports
        );
      };
    };

    environment.etc."lastgood/lastgood.toml" = lib.mkIf (said != { }) { source = checked; };
    # nft is what closes the machine, whatever loads its firewall.
    environment.systemPackages = [
      cfg.package
      pkgs.nftables
    ];

    boot.loader.external = {
      enable = true;
      inherit installHook;
    };
    boot.loader.supportsInitrdSecrets = true;

    # After nixpkgs' own. Of a system that cannot be activated nothing can be switched.
    system.systemBuilderCommands = lib.mkIf (cfg.switch.enable && config.system.activatable) (
      lib.mkAfter switchCommands
    );

    # The units, and the generator: NixOS links lib/systemd/system-generators of these packages, too.
    systemd.packages = [ cfg.package ];
    systemd.tmpfiles.packages = [ cfg.package ];
    systemd.services = lib.mkMerge [
      (lib.listToAttrs (map serviceOf units))
      # Also one that somebody has named: before it has run, it is not active.
      (lib.mkIf (cfg.settings.firewall.unit != null) {
        lastgood-firewall.after = [ cfg.settings.firewall.unit ];
      })
      {
        # NixOS makes the journal's database of texts anew when /usr has changed, which it never does there. Nothing of a boot
        # waits for it, and nothing is rejected for it.
        journal-catalog-lastgood = {
          description = "Have journalctl Know lastgood's Messages";
          wantedBy = [ "multi-user.target" ];
          after = [ "systemd-journal-catalog-update.service" ];
          restartTriggers = [ catalogue ];
          serviceConfig = {
            Type = "oneshot";
            RemainAfterExit = true;
            ExecStart = "-${config.systemd.package}/bin/journalctl --update-catalog";
          };
        };
      }
    ];
    environment.etc."systemd/catalog/lastgood.catalog".source = catalogue;
    # The line for whoever logs in. NixOS's rules for PAM name a file, so that pam_motd leaves the directory out. Not for what
    # is run by a login shell without a terminal: it is no news to a program.
    environment.loginShellInit = ''
      if [ -t 1 ] && [ -r /run/motd.d/lastgood ]; then
        cat /run/motd.d/lastgood
      fi
    '';
    # Not every nixpkgs has it among its units. Where it has, this adds nothing to it.
    systemd.targets.boot-complete = {
      description = "Boot Completion Check";
      requires = [ "sysinit.target" ];
      after = [ "sysinit.target" ];
    };

    # A trial must not hang in stage 1, nor wait at a prompt there: nobody may be at the console.
    boot.initrd = lib.mkIf hasDeadline (
      lib.mkMerge [
        { availableKernelModules = [ "efivarfs" ]; }
        (lib.mkIf config.boot.initrd.systemd.enable {
          systemd.services = lib.mkMerge [
            { lastgood-next-try = nextTry; }
            # These come after initrd-switch-root.target, which ends the timer.
            (
              if config.system.nixos-init.enable or false then
                { initrd-switch-root.serviceConfig.TimeoutStartSec = deadline; }
              else
                { initrd-nixos-activation.serviceConfig.TimeoutStartSec = deadline; }
            )
          ];
          systemd.timers = {
            lastgood-deadline = timerOf "Limit of Stage 1 on a Trial" deadline // {
              wantedBy = [ "initrd.target" ];
            };
            lastgood-no-prompt = timerOf "Limit of an Emergency on a Trial" 30 // {
              wantedBy = [ "emergency.target" ];
            };
          };
        })
        (lib.mkIf (!config.boot.initrd.systemd.enable) {
          # Stage 1 kills what it has left running before it starts stage 2.
          preDeviceCommands = lib.mkBefore ''
            mount -t efivarfs efivarfs /sys/firmware/efi/efivars 2>/dev/null || true
            if [ -e ${countedBoot} ]; then
              (
                sleep ${toString deadline}
                echo "lastgood: stage 1 of this trial takes too long: the next try"
                reboot -f
              ) &
            fi
          '';
          preFailCommands = lib.mkAfter ''
            if [ -e ${countedBoot} ]; then
              echo "lastgood: stage 1 of this trial has failed: the next try comes in half a minute"
              sleep 30
              reboot -f
            fi
          '';
        })
      ]
    );
  };
}
