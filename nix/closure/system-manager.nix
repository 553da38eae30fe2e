# What a profile of system-manager says, in the words of this function. Its layout is read, its programs are not run.
#
# `etcFiles/etcFiles.json` lists the files of /etc: those that are to be links are in the tree `staticEnv`, units among
# them, and each other one is `source`/`target`. `services/services.json` says which units are masked.
let
  inherit (builtins) appendContext attrNames concatMap fromJSON match pathExists readFile typeOf unsafeDiscardStringContext;
  words = import ./words.nix;
  where = "systemManager";

  # JSON has no context: without it Nix would not know that the closure needs these paths.
  inStore =
    path:
    let root = match "(/nix/store/[^/]+).*" path; in
    if root == null then
      words.fail where "${words.quoted path} is not in the store"
    else
      appendContext path { ${builtins.head root} = { path = true; }; };

  read =
    profile: name:
    let file = "${profile}/${name}"; in
    if pathExists file then
      fromJSON (unsafeDiscardStringContext (readFile file))
    else
      words.fail where "${profile} has no ${name}, as a profile of system-manager has; give what `nix build` makes of `systemConfigs.NAME`";
in
given:
let
  profile =
    if typeOf given == "set" && given ? outPath then
      "${given}"
    else if !(pathExists given) then
      words.fail where "there is no ${toString given}"
    else if match "/nix/.*" (toString given) == null then
      words.fail where "${toString given} is not in the store; give what `nix build` makes of `systemConfigs.NAME`"
    else
      builtins.storePath given;
  etc = read profile "etcFiles/etcFiles.json";
  services = read profile "services/services.json";
  entry =
    name:
    let
      file = etc.entries.${name};
      text = to: value: { kind = "text"; at = "etc/${file.target}.${to}"; to = value; };
    in
    if file.mode == "symlink" then
      [ ]
    else
      [
        { kind = "link"; at = "etc/${file.target}"; to = "${inStore file.source}/${file.target}"; }
        (text "mode" file.mode)
        (text "uid" file.user)
        (text "gid" file.group)
      ];
  masked = name: if services.${name}.masked or false then [ { kind = "link"; at = "etc/systemd/system/${name}"; to = "/dev/null"; } ] else [ ];
in
{
  staticEnv = inStore etc.staticEnv;
  entries = concatMap entry (attrNames etc.entries) ++ concatMap masked (attrNames services);
}
