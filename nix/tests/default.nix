# Virtual machines of NixOS that boot, fail and come back: `nix build .#checks.x86_64-linux.healthy`, or `nix flake check`
# for all. They need KVM and a nixpkgs.
#
# NOT RUN by those who wrote them: the place where this was written reaches no nixpkgs. They parse, and that is all that is
# known of them. docs/nixos.md says what was checked instead.
{ pkgs }:

let
  inherit (pkgs) lib;

  machine = {
    imports = [ ../module.nix ];
    virtualisation.useBootLoader = true;
    virtualisation.useEFIBoot = true;
    boot.loader.efi.canTouchEfiVariables = true;
    # An assessment of a small machine is soon over.
    services.lastgood.settings.health = {
      settle-sec = 5;
      deadline-sec = 240;
    };
    networking.nftables.enable = true;
  };
  ours = {
    imports = [ machine ];
    services.lastgood.enable = true;
  };

  # A test whose machine, `good`, has the closures of the other nodes in its store. They are never started by
  # themselves.
  test =
    name:
    {
      first ? ours,
      others ? { },
      script,
    }:
    pkgs.testers.runNixOSTest {
      name = "lastgood-${name}";
      nodes = {
        good =
          { nodes, ... }:
          {
            imports = [ first ];
            environment.systemPackages = [ pkgs.jq ];
            system.extraDependencies = map (other: nodes.${other}.system.build.toplevel) (lib.attrNames others);
          };
      }
      // others;
      testScript =
        { nodes, ... }:
        ''
          import json

          toplevels = json.loads('${
            builtins.toJSON (lib.mapAttrs (_: node: node.system.build.toplevel.outPath) nodes)
          }')


          def generations():
              return json.loads(good.succeed("lastgood list-generations --json"))


          def state_of(toplevel):
              states = [one["state"] for one in generations() if one["toplevel"] == toplevel]
              assert states, f"{toplevel} is no generation: {generations()}"
              return states[0]


          def running():
              return good.succeed("readlink -f /run/booted-system").strip()


          def install(toplevel):
              """As nixos-rebuild boot does it."""
              good.succeed(f"nix-env --profile /nix/var/nix/profiles/system --set {toplevel}")
              good.succeed(f"{toplevel}/bin/switch-to-configuration boot")


          def proven(toplevel):
              good.wait_for_unit("lastgood-bless.service", timeout=600)
              assert running() == toplevel, f"{running()} runs, and not {toplevel}"
              assert state_of(toplevel) == "proven", f"{generations()}"


          def comes_back(toplevel):
              """After as many reboots as it takes."""
              good.wait_until_succeeds(
                  f"test $(readlink -f /run/booted-system) = {toplevel} && systemctl is-active lastgood-assess.service",
                  timeout=1800,
              )


          good.start(allow_reboot=True)
        ''
        + script;
    };

  failing = {
    imports = [ ours ];
    systemd.services.broken = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        Type = "oneshot";
        ExecStart = "${pkgs.coreutils}/bin/false";
      };
    };
  };
  panicking = {
    imports = [ ours ];
    systemd.services.panics = {
      wantedBy = [ "sysinit.target" ];
      unitConfig.DefaultDependencies = false;
      script = "echo c > /proc/sysrq-trigger";
      serviceConfig.Type = "oneshot";
    };
  };
  # What a live switch can reach without a boot.
  changed = {
    imports = [ ours ];
    systemd.services.added = {
      wantedBy = [ "multi-user.target" ];
      script = "exec sleep infinity";
    };
    system.activationScripts.asks = "echo $NIXOS_ACTION > /run/asked; echo added.service >> /run/nixos/activation-restart-list";
  };
  # Its own kernel command line, so that it is another closure, and all is well with it.
  next = {
    imports = [ ours ];
    boot.kernelParams = [ "lastgood.test=next" ];
  };
in
{
  healthy = test "healthy" {
    others = { inherit next; };
    script = ''
      proven(toplevels["good"])
      good.succeed("nft list ruleset | grep -q nixos-fw")
      good.fail("nft list table inet lastgood-lockdown")
      install(toplevels["next"])
      good.succeed("lastgood next-boot | head -1 | grep -q trial")
      good.reboot()
      proven(toplevels["next"])
      good.succeed("lastgood verify")
      assert good.succeed("systemctl --failed --quiet").strip() == ""
    '';
  };

  failing-unit = test "failing-unit" {
    others = { inherit failing; };
    script = ''
      proven(toplevels["good"])
      install(toplevels["failing"])
      good.reboot()
      comes_back(toplevels["good"])
      assert state_of(toplevels["failing"]) == "rejected"
      good.succeed("lastgood why | grep -q broken.service")
      # The profile leads back, and no automatism selects it again.
      good.succeed("test $(readlink -f /nix/var/nix/profiles/system) = " + toplevels["good"])
      good.fail(toplevels["failing"] + "/bin/switch-to-configuration boot")
    '';
  };

  switch = test "switch" {
    others = { inherit changed failing; };
    script = ''
      def active():
          return good.succeed("readlink -f /run/current-system").strip()


      def switch(toplevel, action):
          """As nixos-rebuild does it. Gives the exit status, and what was said."""
          good.succeed(f"nix-env --profile /nix/var/nix/profiles/system --set {toplevel}")
          return good.execute(
              "systemd-run -E LOCALE_ARCHIVE -E NIXOS_INSTALL_BOOTLOADER -E NIXOS_NO_CHECK --collect --no-ask-password --pipe "
              "--quiet --service-type=exec --wait --unit=nixos-rebuild-switch-to-configuration "
              f"{toplevel}/bin/switch-to-configuration {action} 2>&1"
          )


      proven(toplevels["good"])
      for wrong in ["", "--help", "reboot"]:
          status, said = good.execute(toplevels["changed"] + f"/bin/switch-to-configuration {wrong} 2>&1")
          assert status == 1 and "Usage:" in said, (wrong, status, said)
      status, said = switch(toplevels["changed"], "dry-activate")
      assert status == 0 and "added.service" in said, said
      assert active() == toplevels["good"]
      status, said = switch(toplevels["changed"], "switch")
      assert status == 0, said
      assert active() == toplevels["changed"]
      good.succeed("systemctl is-active added.service")
      assert good.succeed("cat /run/asked").strip() == "switch"
      good.succeed("lastgood next-boot | head -1 | grep -q trial")

      # A unit that fails: all is as before, and the profile leads there.
      status, said = switch(toplevels["failing"], "switch")
      assert status == 4 and "broken.service" in said, (status, said)
      assert active() == toplevels["changed"]
      good.succeed("systemctl is-active added.service")
      good.fail("systemctl cat broken.service")
      good.succeed("test $(readlink -f /nix/var/nix/profiles/system) = " + toplevels["changed"])
      # It was rejected.
      status, said = switch(toplevels["failing"], "test")
      assert status == 1, (status, said)

      # nixpkgs' own program is still there, and keeps lastgood's out while it works.
      good.succeed("test -x /run/current-system/bin/nixpkgs-switch-to-configuration")
      good.succeed("systemd-run --unit=holder flock /run/nixos/switch-to-configuration.lock sleep infinity")
      good.wait_until_fails("flock --nonblock /run/nixos/switch-to-configuration.lock true")
      status, said = switch(toplevels["good"], "test")
      assert status == 1 and "switch-to-configuration is at work" in said, (status, said)
    '';
  };

  panic = test "panic" {
    others = { inherit panicking; };
    script = ''
      proven(toplevels["good"])
      install(toplevels["panicking"])
      good.reboot()
      comes_back(toplevels["good"])
      assert state_of(toplevels["panicking"]) == "rejected"
    '';
  };

  full-esp = test "full-esp" {
    others = { inherit next; };
    script = ''
      proven(toplevels["good"])
      before = good.succeed("lastgood next-boot --json --failures 9")
      good.execute("dd if=/dev/zero of=/boot/filler bs=1M")
      good.succeed(f"nix-env --profile /nix/var/nix/profiles/system --set {toplevels['next']}")
      good.fail(f"{toplevels['next']}/bin/switch-to-configuration boot")
      assert good.succeed("lastgood next-boot --json --failures 9") == before
      good.reboot()
      comes_back(toplevels["good"])
      good.succeed("rm /boot/filler")
      good.succeed(f"{toplevels['next']}/bin/switch-to-configuration boot")
      good.reboot()
      proven(toplevels["next"])
    '';
  };

  all-bad = test "all-bad" {
    first = failing;
    script = ''
      # Nothing is proven, so there is nothing to go back to: it stays up, it is reached, and it says so.
      good.wait_for_unit("multi-user.target")
      good.wait_until_succeeds("systemctl is-failed lastgood-assess.service", timeout=600)
      boot = good.succeed("cat /proc/sys/kernel/random/boot_id")
      good.sleep(120)
      assert good.succeed("cat /proc/sys/kernel/random/boot_id") == boot
      status = json.loads(good.succeed("lastgood status --json"))
      assert status["degraded"] is not None, status
    '';
  };

  takeover = test "takeover" {
    first = {
      imports = [ machine ];
      boot.loader.systemd-boot.enable = true;
    };
    others = { inherit next; };
    script = ''
      good.wait_for_unit("multi-user.target")
      good.succeed("ls /boot/loader/entries/nixos-*")
      install(toplevels["next"])
      # What ran before is still there, should the first trial fail.
      good.succeed("ls /boot/loader/entries/nixos-*")
      good.reboot()
      proven(toplevels["next"])
      good.wait_until_fails("ls /boot/loader/entries/nixos-*", timeout=60)
      good.succeed("lastgood verify")
    '';
  };

  removal = test "removal" {
    others.without = {
      imports = [ machine ];
      boot.loader.systemd-boot.enable = true;
    };
    script = ''
      proven(toplevels["good"])
      good.succeed("lastgood uninstall")
      good.fail("ls /boot/loader/entries/lastgood-*")
      good.succeed("ls /boot/loader/entries/nixos-*")
      install(toplevels["without"])
      good.reboot()
      good.wait_for_unit("multi-user.target")
      assert running() == toplevels["without"], running()
      good.fail("systemctl cat lastgood-assess.service")
    '';
  };
}
