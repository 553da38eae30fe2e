# A web server with a certificate: Debian's nginx, or nixpkgs'.
#
#     nix-build --argstr root UUID=... /usr/share/lastgood/nix/examples/nginx
#
# The certificate and its key are the machine's own files, whoever renews them (certbot, say). They are not in the store,
# which everybody can read, and a fallback leaves them alone.
{ root
, boot ? /boot
, pkgs ? null
, make ? import ../../closure.nix
, certificate ? "/etc/ssl/certs/web.pem"
, key ? "/etc/ssl/private/web.key"
}:
let
  nginx = if pkgs == null then "/usr/sbin/nginx" else "${pkgs.nginx}/bin/nginx";

  # Not /etc/nginx/nginx.conf: Debian's package has a file of that name, and lastgood replaces none that it did not make.
  conf = builtins.toFile "nginx.conf" ''
    user www-data;
    pid /run/nginx.pid;
    error_log stderr;
    events { }
    http {
      access_log off;
      types { text/html html; text/css css; image/svg+xml svg; }
      default_type application/octet-stream;
      client_body_temp_path /var/cache/nginx/body;
      proxy_temp_path /var/cache/nginx/proxy;
      fastcgi_temp_path /var/cache/nginx/fastcgi;
      uwsgi_temp_path /var/cache/nginx/uwsgi;
      scgi_temp_path /var/cache/nginx/scgi;
      server {
        listen 80;
        location / { return 301 https://$host$request_uri; }
      }
      server {
        listen 443 ssl;
        ssl_certificate ${certificate};
        ssl_certificate_key ${key};
        root ${./www};
      }
    }
  '';
in
make (make.newestKernel boot // {
  name = "web";
  kernelParams = [ "root=${root}" "ro" "quiet" ];

  units."nginx.service" = {
    sections = {
      Unit = {
        Description = "The web server";
        After = [ "network.target" ];
      };
      Service = {
        # Started only once nginx listens: a certificate that is missing is known at once.
        Type = "forking";
        PIDFile = "/run/nginx.pid";
        ExecStartPre = "${nginx} -t -q -c ${conf}";
        ExecStart = "${nginx} -c ${conf}";
        ExecReload = "${nginx} -c ${conf} -s reload";
        KillMode = "mixed";
        CacheDirectory = "nginx";
        PrivateTmp = true;
        ProtectHome = true;
      };
    };
    wantedBy = [ "multi-user.target" ];
  };

  # Debian's package has made that user; nixpkgs' has not.
  sysusers = [ "u www-data 33 - /var/www" ];

  lastgood = {
    health.required-units = [ "nginx.service" ];
    firewall = {
      enable = true;
      allowed-tcp-ports = [ 22 80 443 ];
    };
  };
})
