# A Docker Compose stack on Debian's docker.io and docker-compose.
#
#     docker pull nginx
#     image=$(docker image inspect --format '{{index .RepoDigests 0}}' nginx)
#     nix-build --argstr root UUID=... --argstr image "$image" /usr/share/lastgood/nix/examples/compose
#
# Images and volumes are Docker's, in /var/lib/docker, and no closure brings them. A fallback starts the stack of the
# last good generation, so its images must still be there: keep them from `docker image prune`. They are named by digest,
# because what a tag means may change between two boots. Pull before the reboot, or the trial waits for a registry.
{ root
, image
, boot ? /boot
, make ? import ../../closure.nix
}:
let
  # restart: a container of another generation must not be started behind the unit's back, as `always` would.
  file = builtins.toFile "compose.yaml" ''
    version: "3.8"
    services:
      web:
        image: ${exact}
        restart: on-failure
        ports:
          - "80:80"
  '';
  exact =
    if builtins.match ".+@sha256:[0-9a-f]{64}" image != null then
      image
    else
      throw "compose: ${image} is not named by digest (NAME@sha256:...); `docker image inspect --format '{{index .RepoDigests 0}}' ${image}` says it";
  compose = command: "/usr/bin/docker-compose --project-name web --file ${file} ${command}";
in
make (make.newestKernel boot // {
  name = "stack";
  kernelParams = [ "root=${root}" "ro" "quiet" ];

  # For people; the unit names the file in the store.
  etc."compose/web.yaml".source = file;

  units."compose-web.service" = {
    sections = {
      Unit = {
        Description = "The web stack";
        Requires = [ "docker.service" ];
        After = [ "docker.service" "network-online.target" ];
        Wants = [ "network-online.target" ];
      };
      Service = {
        Type = "oneshot";
        RemainAfterExit = true;
        # Containers that this file does not name are another generation's.
        ExecStart = compose "up --detach --no-build --remove-orphans";
        ExecStop = compose "stop";
        TimeoutStartSec = 240;
      };
    };
    wantedBy = [ "multi-user.target" ];
  };

  lastgood.health = {
    required-units = [ "docker.service" "compose-web.service" ];
    settle-sec = 20;
    deadline-sec = 400;
  };
})
