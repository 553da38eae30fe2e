# Prometheus, and the exporter that it watches this machine by: Debian's programs, or nixpkgs'.
#
#     nix-build --argstr root UUID=... /usr/share/lastgood/nix/examples/prometheus
#
# On Debian: apt install prometheus prometheus-node-exporter. Units of the closure take the place of the package's own
# ones, which have the same names.
{ root
, boot ? /boot
, pkgs ? null
, make ? import ../../closure.nix
}:
let
  prometheus = if pkgs == null then "/usr/bin/prometheus" else "${pkgs.prometheus}/bin/prometheus";
  exporter =
    if pkgs == null then
      "/usr/bin/prometheus-node-exporter"
    else
      "${pkgs.prometheus-node-exporter}/bin/node_exporter";
in
make (make.newestKernel boot // {
  name = "metrics";
  kernelParams = [ "root=${root}" "ro" "quiet" ];

  units."prometheus.service" = {
    sections = {
      Unit = {
        Description = "Prometheus";
        After = [ "network.target" ];
      };
      Service = {
        ExecStart = "${prometheus} --config.file=${./prometheus.yml} --storage.tsdb.path=/var/lib/prometheus --web.listen-address=127.0.0.1:9090";
        User = "prometheus";
        StateDirectory = "prometheus";
        Restart = "on-failure";
        # It writes down what it has in memory.
        TimeoutStopSec = 60;
        NoNewPrivileges = true;
        ProtectSystem = "strict";
        ProtectHome = true;
        PrivateTmp = true;
      };
    };
    wantedBy = [ "multi-user.target" ];
  };

  units."prometheus-node-exporter.service" = {
    sections = {
      Unit.Description = "What Prometheus asks about this machine";
      Service = {
        ExecStart = "${exporter} --web.listen-address=127.0.0.1:9100";
        User = "prometheus";
        Restart = "on-failure";
        NoNewPrivileges = true;
        ProtectSystem = "strict";
      };
    };
    wantedBy = [ "multi-user.target" ];
  };

  # Where a package of Debian's has made it, nothing happens.
  sysusers = [ "u prometheus - \"Prometheus\" /var/lib/prometheus" ];

  # A service that dies and is started again has not passed: `settle-sec` is longer than a start takes.
  lastgood.health = {
    required-units = [ "prometheus.service" "prometheus-node-exporter.service" ];
    settle-sec = 30;
  };
})
