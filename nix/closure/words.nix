# What is said of a mistake, and small things about texts that Nix has no word for.
let
  inherit (builtins)
    attrNames concatStringsSep elemAt filter foldl' genList head length match replaceStrings sort split
    stringLength substring typeOf;

  characters = text: genList (at: substring at 1 text) (stringLength text);
  least = foldl' (a: b: if b < a then b else a);

  # How many letters have to be added, removed or changed to make `a` of `b` (Levenshtein).
  distance =
    a: b:
    let
      others = characters b;
      next =
        before: letter:
        foldl'
          (row: at:
            let
              left = elemAt row at;
              above = elemAt before (at + 1);
              across = elemAt before at + (if letter == elemAt others at then 0 else 1);
            in
            row ++ [ (least across [ (left + 1) (above + 1) ]) ])
          [ (head before + 1) ]
          (genList (at: at) (length others));
      last = foldl' next (genList (at: at) (length others + 1)) (characters a);
    in
    elemAt last (length others);
in
rec {
  # Ends the evaluation with one line: what is wrong, where, and what to do.
  fail = where: what: throw "closure.nix: ${where}: ${what}";

  quoted = builtins.toJSON;
  list = names: concatStringsSep ", " names;
  isOneOf = names: name: builtins.elem name names;
  lines = text: filter builtins.isString (split "\n" text);
  has = part: text: replaceStrings [ part ] [ "" ] text != text;
  isControlled = text: match ".*[[:cntrl:]].*" text != null;

  # The name that was probably meant, or all there are.
  suggestion =
    names: name:
    let
      near = filter (found: found.far <= 2) (map (other: { inherit other; far = distance name other; }) names);
      nearest = head (sort (a: b: a.far < b.far) near);
    in
    if near == [ ] then "there are ${list names}" else "did you mean ${quoted nearest.other}?";

  # Refuses attributes that mean nothing.
  onlyKnown =
    where: known: given:
    let unknown = filter (name: !(isOneOf known name)) (attrNames given); in
    if unknown == [ ] then
      given
    else
      fail where "there is no ${quoted (head unknown)}; ${suggestion known (head unknown)}";

  kinds = {
    string = "a text";
    path = "a path";
    list = "a list [ ... ]";
    set = "a set { ... }";
    int = "a number";
    float = "a number";
    bool = "true or false";
    null = "null";
    lambda = "a function";
  };
  isA =
    where: wanted: value:
    if isOneOf wanted (typeOf value) then
      value
    else
      fail where "must be ${concatStringsSep " or " (map (kind: kinds.${kind}) wanted)}, and is ${kinds.${typeOf value}}";

  stringsOf =
    where: value:
    map (isA "an item of ${where}" [ "string" ]) (isA where [ "list" ] value);
}
