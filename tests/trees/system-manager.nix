# A profile as system-manager lays one out (`nix/lib.nix` and `nix/modules/` of its sources, 2026-07), made without it:
# a tree of links with `etcFiles/etcFiles.json`, `services/services.json` and `bin/`.
let
  busybox = builtins.path {
    name = "busybox";
    path = /usr;
    filter = path: _: path == "/usr/bin" || path == "/usr/bin/busybox";
  };
  run = name: script: more: derivation (more // {
    inherit name;
    system = "x86_64-linux";
    builder = "${busybox}/bin/busybox";
    args = [ "sh" "-euc" script ];
  });
  write = name: at: text: run name ''b=$builder; $b mkdir -p "$out"; $b cp "$textPath" "$out/$at"'' {
    inherit at text;
    passAsFile = [ "text" ];
  };

  unit = write "unit-app.service" "app.service" ''
    [Service]
    Type=oneshot
    RemainAfterExit=yes
    ExecStart=/bin/echo app of system-manager
  '';
  target = write "unit-system-manager.target" "system-manager.target" "[Unit]\n";
  units = run "system-manager-units" ''
    b=$builder
    $b mkdir -p "$out/system-manager.target.wants" "$out/default.target.wants"
    $b ln -s ${unit}/app.service ${target}/system-manager.target "$out/"
    $b ln -s ../app.service "$out/system-manager.target.wants/"
    $b ln -s ../system-manager.target "$out/default.target.wants/"
  '' { };

  # As `addToStore` does: the file, at its place.
  placed = target: source: run "${builtins.baseNameOf target}-etc-link" ''
    b=$builder
    $b mkdir -p "$out/$($b dirname "$target")"
    $b ln -s "$source" "$out/$target"
  '' { inherit target source; };
  conf = builtins.toFile "etc-app.conf" "plain\n";
  secret = builtins.toFile "etc-secret.conf" "secret\n";
  static = [ (placed "app/app.conf" conf) (placed "systemd/system" units) ];
  staticEnv = derivation {
    name = "etc-static-env";
    system = "builtin";
    builder = "builtin:buildenv";
    derivations = map (one: [ "true" 5 1 "${one}" ]) static;
    manifest = builtins.toFile "manifest.nix" "[ ]";
  };
  entry = target: source: mode: {
    inherit target mode;
    source = "${placed target source}";
    enable = true;
    text = null;
    user = "+0";
    group = "www-data";
    uid = 0;
    gid = 0;
    replaceExisting = false;
  };
  etcFiles = write "etcFiles" "etcFiles.json" (builtins.toJSON {
    entries = {
      "app/app.conf" = entry "app/app.conf" conf "symlink";
      "app/secret.conf" = entry "app/secret.conf" secret "0640";
      "systemd/system" = entry "systemd/system" units "symlink";
    };
    staticEnv = "${staticEnv}";
  });
  services = write "services" "services.json" (builtins.toJSON {
    "app.service" = { storePath = "${unit}/app.service"; masked = false; };
    "systemd-tmpfiles-clean.timer" = { storePath = null; masked = true; };
  });
in
run "system-manager" ''
  b=$builder
  $b mkdir -p "$out/bin"
  $b ln -s ${etcFiles} "$out/etcFiles"
  $b ln -s ${services} "$out/services"
  for script in activate deactivate prepopulate preActivationAssertions register-profile; do
    echo "#!/bin/sh" >"$out/bin/$script"
    $b chmod 555 "$out/bin/$script"
  done
'' { }
