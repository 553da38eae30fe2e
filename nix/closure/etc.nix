# Files of /etc, with NixOS's `NAME.mode`, `NAME.uid` and `NAME.gid` beside those that are to be copies.
{ files }:
let
  inherit (builtins) attrNames concatMap elemAt filter isAttrs match removeAttrs split typeOf;
  words = import ./words.nix;
  inherit (words) fail quoted;

  # What is made of something else, or is not a closure's to bring (docs/boot.md).
  elsewhere = {
    "lastgood/lastgood.toml" = "give it as `lastgood`";
    "NIXOS" = "it would make this host out to be NixOS";
    "static" = "the agent's own link has this name";
    ".lastgood-etc" = "it is the agent's own";
    ".lastgood-etc-seal" = "it is the agent's own";
  };

  # Why a path cannot be one inside a directory.
  oddPath =
    of: path:
    let parts = filter builtins.isString (split "/" path); in
    if words.isControlled path then
      "there is a control character in its name"
    else if match "/.*" path != null then
      "names are relative to ${of}: write ${quoted (elemAt (match "/+(etc/+)?(.*)" path) 1)}"
    else if builtins.any (words.isOneOf [ "" "." ".." ]) parts then
      "its name is no plain path below ${of}"
    else
      null;

  check =
    all: name:
    let
      where = "etc.${quoted name}";
      odd = oddPath "/etc" name;
      about = match "(.*)\\.(mode|uid|gid)" name;
    in
    if odd != null then
      fail where odd
    else if elsewhere ? ${name} then
      fail where "cannot be given here: ${elsewhere.${name}}"
    else if match "systemd/system(/.*)?" name != null then
      fail where "give units as `units`"
    else if about != null && all ? ${elemAt about 0} then
      fail where "give it as ${elemAt about 1} of ${quoted (elemAt about 0)}"
    else
      where;

  owner =
    where: given:
    if typeOf given == "int" && given >= 0 then
      "+${toString given}"
    else if typeOf given == "string" && match "\\+?[0-9]+|[a-zA-Z_][a-zA-Z0-9_.-]*\\$?" given != null then
      given
    else
      fail where "must be a name (\"www-data\") or a number (33)";

  # A root that the initrd mounts read-only is written to from its line in fstab on.
  checkedFstab =
    where: text:
    let
      isRoot = line: match "[ \t]*[^# \t][^ \t]*[ \t]+/[ \t].*" line != null;
    in
    if builtins.any isRoot (words.lines text) then
      true
    else
      fail where "there is no line for `/`, so a root that is mounted read-only at first would stay so";

  entry =
    all: name:
    let
      where = check all name;
      given = builtins.seq where all.${name};
      isSet = isAttrs given && !(given ? outPath);
      set = words.onlyKnown where [ "text" "source" "mode" "user" "group" ] given;
      mode = if isSet then words.isA "${where}.mode" [ "string" ] (set.mode or "symlink") else "symlink";
      isCopy = match "[0-7]?[0-7][0-7][0-7]" mode != null;
      content = files.content where (baseNameOf name)
        (if isSet then removeAttrs set [ "mode" "user" "group" ] else given);
      isDirectory = content ? path && files.kindAt content.path == "directory";
      text = to: value: { kind = "text"; at = "etc/${name}.${to}"; to = value; };
      file = { kind = "link"; at = "etc/${name}"; inherit (content) to; };
      fstab = name != "fstab" || !(content ? text) || checkedFstab where content.text;
    in
    if !isCopy && !(words.isOneOf [ "symlink" "direct-symlink" ] mode) then
      fail "${where}.mode" "${quoted mode} is neither octal permissions (\"0640\"), \"symlink\" nor \"direct-symlink\""
    else if !isCopy && isSet && (set ? user || set ? group) then
      fail where "a link has no owner of its own; give a mode as well (\"0640\"), and it is copied"
    else if isCopy && isDirectory then
      fail where "${toString content.path} is a directory, and only files are copied; leave the mode out"
    else
      assert fstab;
      [ file ]
      ++ (if mode == "symlink" then [ ] else [ (text "mode" mode) ])
      ++ (
        if isCopy then
          [
            (text "uid" (owner "${where}.user" (set.user or 0)))
            (text "gid" (owner "${where}.group" (set.group or 0)))
          ]
        else
          [ ]
      );

  # A file cannot be where a directory must be.
  parents =
    name:
    let found = match "(.*)/[^/]*" name; in
    if found == null then [ ] else [ (elemAt found 0) ] ++ parents (elemAt found 0);
in
{
  inherit oddPath;

  entries =
    given:
    let
      all = words.isA "etc" [ "set" ] given;
      names = attrNames all;
      below = concatMap (name: map (parent: { inherit name parent; }) (parents name)) names;
      clashes = filter (one: all ? ${one.parent}) below;
      clash = builtins.head clashes;
    in
    if clashes != [ ] then
      fail "etc.${quoted clash.name}" "${quoted clash.parent} is a file, and would have to be a directory"
    else
      concatMap (entry all) names;
}
