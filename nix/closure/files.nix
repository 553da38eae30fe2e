# Where the content of a file comes from: a text, a path that is copied into the store, something of the store, or,
# written as a text, the place that a link leads to.
{ build }:
let
  inherit (builtins) baseNameOf getContext match pathExists readDir readFile replaceStrings substring toFile typeOf;
  words = import ./words.nix;
  inherit (words) fail quoted;

  # A store path's name may hold little.
  storeName =
    name:
    let
      odd = builtins.filter builtins.isString (builtins.split "[^A-Za-z0-9+._?=-]" name);
      plain = builtins.concatStringsSep "-" odd;
    in
    substring 0 100 (if match "\\..*" plain != null then "x${plain}" else plain);

  # Everybody can read the store, and every copy of it.
  secretless =
    where: text:
    if words.has "PRIVATE KEY-----" text then
      fail where "there is a private key in it, and everybody can read the store; keep it outside, and name its place as a text: source = \"/var/lib/...\""
    else
      text;

  isBuilt = text: builtins.any (of: of ? outputs || of ? allOutputs) (builtins.attrValues (getContext text));

  ofText =
    where: name: text:
    let sure = secretless where text; in
    # What names a package can only be written by a build.
    if isBuilt sure then build.text (storeName name) sure else toFile (storeName name) sure;

  # The kind of what is at a path: regular, directory or symlink.
  kindAt = path: (readDir (dirOf path)).${baseNameOf path} or "regular";

  # A key that is a file of one's own, or in a directory of one's own.
  checkKeys =
    where: path: kind:
    if kind == "directory" then
      let there = readDir path; in
      builtins.all (name: checkKeys where (path + "/${name}") there.${name}) (builtins.attrNames there)
    else if kind == "regular" && match ".*\\.(key|pem)" (baseNameOf path) != null then
      builtins.seq (secretless "${where}: ${toString path}" (readFile path)) true
    else
      true;

  ofPath =
    where: path:
    let kind = kindAt path; in
    if !(pathExists path) then
      fail where "there is no ${toString path}"
    else if kind == "symlink" then
      fail where "${toString path} is a link; name what it leads to"
    else
      assert checkKeys where path kind;
      builtins.path { inherit path; name = storeName (baseNameOf path); };
  # A store path that is written as a text. Nix has to know that the closure needs it, or it is garbage one day.
  ofStore =
    where: text:
    if builtins.hasContext text then
      text
    else if pathExists text then
      builtins.storePath text
    else
      fail where "there is no ${text}";
in
{
  inherit kindAt ofPath ofStore ofText;

  # Gives where a link to the content leads, and what is known of the text.
  content =
    where: name: given:
    let
      kind = typeOf given;
      file = words.onlyKnown where [ "text" "source" ] given;
      source = file.source;
    in
    if kind == "string" then
      { to = ofText where name given; text = given; }
    else if kind == "path" then
      { to = ofPath where given; path = given; }
    else if kind == "set" && given ? outPath then
      { to = "${given}"; }
    else if kind != "set" then
      words.isA where [ "string" "path" "set" ] given
    else if file ? text && file ? source then
      fail where "has a text and a source; one of them must go"
    else if file ? text then
      { to = ofText where name (words.isA "${where}.text" [ "string" ] file.text); inherit (file) text; }
    else if !(file ? source) then
      fail where "has neither a text nor a source"
    else if typeOf source == "path" then
      { to = ofPath where source; path = source; }
    else if typeOf source == "set" && source ? outPath then
      { to = "${source}"; }
    else if match "/.+" (words.isA "${where}.source" [ "string" "path" ] source) == null then
      fail "${where}.source" "${quoted source} is no absolute path"
    else if match "/nix/store/.+" source != null then
      { to = ofStore "${where}.source" source; }
    else
      { to = source; };
}
