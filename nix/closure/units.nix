# Units as NixOS lays them out: `NAME`, `TARGET.wants/NAME`, `NAME.d/*.conf`, other names as links.
{ files }:
let
  inherit (builtins) attrNames concatMap concatStringsSep elemAt isAttrs isList match removeAttrs typeOf;
  words = import ./words.nix;
  inherit (words) fail quoted;

  suffixes = [
    "service" "socket" "target" "timer" "mount" "automount" "path" "slice" "swap" "device" "scope"
  ];
  isUnit = name: match "[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]*)?\\.(${concatStringsSep "|" suffixes})" name != null;

  checkedName =
    usual: where: name:
    let stem = match "(.*)\\.[^.]*" name; in
    if isUnit name then
      name
    else if match "[A-Za-z0-9:_.@\\-]+" name == null then
      fail where "${quoted name} is no name of a unit"
    else
      fail where "${quoted name} does not end with the kind of unit it is, such as .${usual}; did you mean ${quoted "${if stem == null then name else elemAt stem 0}.${usual}"}?";

  isOurs = name: match "lastgood-.*" name != null || name == "systemd-bless-boot.service";

  # One value, or several, each on a line of its own.
  setting =
    where: key: value:
    if isList value then
      map (one: "${key}=${word where one}") value
    else
      [ "${key}=${word where value}" ];
  word =
    where: value:
    if typeOf value == "bool" then
      (if value then "true" else "false")
    else if typeOf value == "int" then
      toString value
    else if typeOf value == "path" || (isAttrs value && value ? outPath) then
      "${value}"
    else
      words.isA where [ "string" "int" "bool" ] value;
  section =
    where: name: settings:
    let
      lines = concatMap (key: setting "${where}.${name}.${key}" key settings.${key})
        (attrNames (words.isA "${where}.${name}" [ "set" ] settings));
    in
    concatStringsSep "\n" ([ "[${name}]" ] ++ lines) + "\n";
  ofSections =
    where: sections:
    concatStringsSep "\n" (map (name: section where name sections.${name}) (attrNames (words.isA where [ "set" ] sections)));

  pulls = { wantedBy = "wants"; requiredBy = "requires"; upheldBy = "upholds"; };

  unit =
    name: given:
    let
      where = "units.${quoted name}";
      isSet = isAttrs given && !(given ? outPath);
      set = words.onlyKnown where
        ([ "text" "source" "sections" "aliases" "dropIns" "mask" ] ++ attrNames pulls)
        given;
      contents = removeAttrs set ([ "sections" "aliases" "dropIns" "mask" ] ++ attrNames pulls)
        // (if set ? sections then { text = ofSections "${where}.sections" set.sections; } else { });
      place = "etc/systemd/system";
      link = at: to: { kind = "link"; at = "${place}/${at}"; inherit to; };
      names = key: if isSet then words.stringsOf "${where}.${key}" (set.${key} or [ ]) else [ ];
      content = files.content where name (if isSet then contents else given);

      # Known without a build: what is written here, and files of one's own.
      text = content.text or (if content ? path then builtins.readFile content.path else "");
      saysWantedBy = builtins.any (line: match "[ \t]*(WantedBy|RequiredBy|UpheldBy)[ \t]*=.*" line != null) (words.lines text);
      isPulled = builtins.any (key: names key != [ ]) (attrNames pulls);

      file =
        if isSet && (set.mask or false) then
          if contents != { } then
            fail where "is masked, and has a content; one of them must go"
          else
            [ (link name "/dev/null") ]
        else if isSet && contents == { } then
          if isPulled || names "aliases" != [ ] || set ? dropIns then
            [ ]
          else
            fail where "says nothing: give a text, a source, sections, or what to do with the host's unit (wantedBy, dropIns, mask)"
        else if saysWantedBy && !isPulled then
          fail where "its [Install] section is read by `systemctl enable` only, so nothing would start it; say wantedBy = [ \"multi-user.target\" ]"
        else
          [ (link name content.to) ];
      pulled =
        key:
        map
          (target: link "${checkedName "target" "${where}.${key}" target}.${pulls.${key}}/${name}" "../${name}")
          (names key);
      alias = other: link (checkedName "service" "${where}.aliases" other) name;
      dropIns = words.isA "${where}.dropIns" [ "set" ] (if isSet then set.dropIns or { } else { });
      dropIn =
        file:
        let at = "${where}.dropIns.${quoted file}"; in
        if match "[^/]+\\.conf" file == null then
          fail at "must end with .conf, or systemd does not read it; did you mean ${quoted "${file}.conf"}?"
        else
          link "${name}.d/${file}" (files.content at file dropIns.${file}).to;
    in
    if checkedName "service" where name != name then
      null
    else if isOurs name then
      fail where "the agent's own units are the host's, and a closure's are left out"
    else if isSet && set ? sections && (set ? text || set ? source) then
      fail where "has sections and a text or a source; one of them must go"
    else
      file
      ++ concatMap pulled (attrNames pulls)
      ++ map alias (names "aliases")
      ++ map dropIn (attrNames dropIns);
in
given: concatMap (name: unit name given.${name}) (attrNames (words.isA "units" [ "set" ] given))
