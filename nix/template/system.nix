# What this machine is to be. Each change is a new generation: build, `nix-env --set`, `lastgood install`, reboot.
# Every argument is in docs/closures.md; nginx, Prometheus and Docker Compose are in nix/examples/.
{ make
, boot ? /boot
, pkgs ? null
}:
# The newest kernel of the distribution's that has an initrd. To stay with one, name both instead:
#     kernel = /boot/vmlinuz-6.1.0-50-amd64;
#     initrd = /boot/initrd.img-6.1.0-50-amd64;
make (make.newestKernel boot // {
  name = "server";
  version = "1";

  kernelParams = [
    (throw "system.nix: say here where the root is, as `cat /proc/cmdline` does: \"root=UUID=...\"")
    "ro"
    "quiet"
  ];

  # Linked to /etc; with a mode it is a copy. What Debian has at the same place stays, and the generation is not healthy.
  etc."motd.d/server" = "This machine falls back by itself: see `lastgood status`.\n";
  # etc."app/app.conf" = { source = ./app.conf; mode = "0640"; group = "www-data"; };

  units."hello.service" = {
    sections = {
      Unit.Description = "An example: take it out";
      Service = {
        Type = "oneshot";
        ExecStart = "/bin/echo hello from the closure";
        RemainAfterExit = true;
      };
    };
    wantedBy = [ "multi-user.target" ];
  };

  # What lastgood is told, in the keys of lastgood.toml. Add what makes this machine worth its power: "ssh.service", say.
  lastgood = {
    health.required-units = [ "hello.service" ];
    # firewall = { enable = true; allowed-tcp-ports = [ 22 ]; };
  };
})
