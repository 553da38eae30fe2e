# Writes a set as TOML. What lastgood.toml takes, `lastgood check-config` knows; this only knows the language.
let
  inherit (builtins) attrNames concatStringsSep filter isAttrs match toJSON;
  words = import ./words.nix;

  # A name of its own or, for anything else, a text in quotes.
  key = name: if match "[A-Za-z0-9_-]+" name != null then name else toJSON name;

  value =
    where: given:
    let kind = builtins.typeOf given; in
    if given ? outPath || kind == "path" then
      toJSON "${given}"
    else if kind == "set" then
      "{ ${concatStringsSep ", " (pairs where given)} }"
    else if kind == "list" then
      "[${concatStringsSep ", " (map (value "an item of ${where}") given)}]"
    else if words.isOneOf [ "string" "int" "float" "bool" ] kind then
      # JSON's forms of these are TOML's.
      toJSON given
    else
      words.fail where "${words.kinds.${kind}} cannot be written to lastgood.toml; leave the key out instead";

  pairs = where: given: map (name: "${key name} = ${value "${where}.${name}" given.${name}}") (attrNames given);

  isTable = given: isAttrs given && !(given ? outPath);
in
where: given:
let
  tables = filter (name: isTable given.${name}) (attrNames given);
  others = builtins.removeAttrs given tables;
  table = name: [ "" "[${key name}]" ] ++ pairs "${where}.${name}" given.${name};
in
concatStringsSep "\n" (pairs where others ++ builtins.concatMap table tables) + "\n"
