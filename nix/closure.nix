# Makes a closure that lastgood boots on a plain systemd host (Debian, say) from a short description.
#
#     import /usr/share/lastgood/nix/closure.nix {
#       name = "web";
#       kernel = /boot/vmlinuz-6.1.0-50-amd64;
#       initrd = /boot/initrd.img-6.1.0-50-amd64;
#       kernelParams = [ "root=UUID=..." "ro" ];
#       etc."motd.d/web" = "made by Nix\n";
#       units."hello.service" = { source = ./hello.service; wantedBy = [ "multi-user.target" ]; };
#     }
#
# The result has the layout of a NixOS toplevel. Nothing but Nix is needed for it; `pkgs` is for programs of nixpkgs.
# docs/closures.md has every argument, with examples. A mistake ends the evaluation with one line.
let
  inherit (builtins)
    attrNames compareVersions concatMap concatStringsSep elemAt filter head isAttrs isList length listToAttrs match
    readDir removeAttrs sort typeOf;
  words = import ./closure/words.nix;
  inherit (words) fail isA quoted;
  toTOML = import ./closure/toml.nix;

  arguments = [
    "name" "version" "label" "kernel" "initrd" "kernelVersion" "kernelParams" "init" "etc" "units" "lastgood"
    "packages" "sysusers" "tmpfiles" "sysctl" "activate" "initrdSecrets" "specialisation" "systemManager" "pkgs"
    "busybox"
  ];

  # Which kernels of Debian's are there, the newest first: those that have an initrd.
  kernels =
    boot:
    let
      there = readDir boot;
      versions = concatMap
        (name: let found = match "vmlinuz-(.+)" name; in if found == null then [ ] else found)
        (attrNames there);
      whole = filter (version: there ? "initrd.img-${version}") versions;
    in
    map
      (version: {
        kernel = boot + "/vmlinuz-${version}";
        initrd = boot + "/initrd.img-${version}";
        kernelVersion = version;
      })
      (sort (a: b: compareVersions a b > 0) whole);

  newestKernel =
    boot:
    let found = kernels boot; in
    if found == [ ] then
      fail "newestKernel" "${toString boot} has no vmlinuz-VERSION with its initrd.img-VERSION"
    else
      head found;

  # A file to boot: of the host's, of the store, or the one of this name in a package.
  payload =
    files: where: inPackage: given:
    let
      path = if typeOf given == "path" then given else /. + given;
      others =
        if builtins.pathExists (dirOf path) then
          filter (name: match "(vmlinuz|initrd).*" name != null) (attrNames (readDir (dirOf path)))
        else
          [ ];
      hint = if others == [ ] then "" else "; ${words.suggestion others (baseNameOf path)}";
    in
    if isAttrs given && given ? outPath then
      "${given}/${given.target or inPackage}"
    else if match "/.*" (toString (isA where [ "path" "string" "set" ] given)) == null then
      fail where "${quoted given} is no absolute path"
    else if typeOf given == "string" && match "/nix/store/.+" given != null then
      files.ofStore where given
    else if !(builtins.pathExists path) then
      fail where "there is no ${toString path}${hint}"
    else
      files.ofPath where path;

  parameter =
    given:
    if words.isControlled given then
      fail "kernelParams" "there is a control character in ${builtins.toJSON given}"
    else if match "(.* )?\"?init=.*" given != null then
      fail "kernelParams" "${quoted given}: the boot entry says init= itself"
    else
      given;

  # Lines for one directory of /etc, by file.
  confs =
    where: directory: name: given:
    let
      text = at: value: if isList value then concatStringsSep "\n" (words.stringsOf at value) + "\n" else isA at [ "string" "list" ] value;
      # No package has a file of this name, which the closure's would take the place of.
      all = if isList given then { "60-${name}" = given; } else isA where [ "list" "set" ] given;
      file = of: {
        name = "${directory}/${of}.conf";
        value = text (if isList given then where else "${where}.${quoted of}") all.${of};
      };
    in
    listToAttrs (map file (attrNames all));

  sysctls =
    name: given:
    let
      value = key: given.${key};
      line = key: "${key} = ${if typeOf (value key) == "bool" then (if value key then "1" else "0") else toString (isA "sysctl.${quoted key}" [ "int" "string" "bool" ] (value key))}\n";
    in
    if isA "sysctl" [ "set" ] given == { } then
      { }
    else
      { "sysctl.d/60-${name}.conf" = concatStringsSep "" (map line (attrNames given)); };

  # What a specialisation says is added to what its closure says.
  specialised =
    of: more:
    let
      merge =
        a: b:
        a // builtins.mapAttrs
          (name: value: if isPlain value && isPlain (a.${name} or null) then merge a.${name} value else value)
          b;
      isPlain = value: isAttrs value && !(value ? outPath);
      both = name: (of.${name} or [ ]) ++ (more.${name} or [ ]);
      added = filter (name: more ? ${name}) [ "kernelParams" "packages" ];
    in
    merge (removeAttrs of [ "specialisation" "pkgs" "busybox" ]) (removeAttrs more added)
    // listToAttrs (map (name: { inherit name; value = both name; }) added)
    // { pkgs = of.pkgs or null; busybox = of.busybox or null; };

  make =
    given:
    let
      args = words.onlyKnown "argument" arguments (isA "the description" [ "set" ] given);
      needed = name: what: args.${name} or (fail name "is missing: ${what}");
      build = import ./closure/build.nix { pkgs = args.pkgs or null; busybox = args.busybox or null; };
      files = import ./closure/files.nix { inherit build; };
      etc = import ./closure/etc.nix { inherit files; };
      units = import ./closure/units.nix { inherit files; };

      word =
        where: value:
        if match "[A-Za-z0-9][A-Za-z0-9+._-]*" (isA where [ "string" ] value) != null && builtins.stringLength value < 100 then
          value
        else
          fail where "${quoted value} may hold letters, digits and `+._-` only, 100 at most";
      name = word "name" (needed "name" "what this machine is called");
      version = word "version" (args.version or "1");

      kernel = payload files "kernel" "bzImage" (needed "kernel" "a path such as /boot/vmlinuz-VERSION (`ls /boot`), or a kernel of nixpkgs");
      initrd = payload files "initrd" "initrd" (needed "initrd" "a path such as /boot/initrd.img-VERSION (`ls /boot`)");
      # Once it is known to be one.
      inName = builtins.seq kernel (match "vmlinuz-(.+)" (if isAttrs args.kernel then "" else baseNameOf args.kernel));
      kernelVersion = args.kernelVersion or (
        if inName != null then
          head inName
        else if isAttrs args.kernel then
          args.kernel.modDirVersion or args.kernel.version or null
        else
          null
      );
      kernelParams = map parameter (words.stringsOf "kernelParams" (args.kernelParams or [ ]));
      rooted =
        if builtins.any (one: match "(.* )?root=.*" one != null) kernelParams then
          kernelParams
        else
          fail "kernelParams" "there is no root=, so the initrd would find no root; `cat /proc/cmdline` says what this machine has";
      label = args.label or "${name} ${version}${if kernelVersion == null then "" else " (Linux ${kernelVersion})"}";
      checkedLabel = if words.isControlled (isA "label" [ "string" ] label) then fail "label" "there is a control character in it" else label;
      init =
        if match "/[^ \"]+" (isA "init" [ "string" ] (args.init or "/usr/bin/lastgood")) == null then
          fail "init" "${quoted args.init} is no absolute path without blanks"
        else
          args.init or "/usr/bin/lastgood";

      # A script of the closure's own.
      script =
        where:
        let file = files.content where where args.${where}; in
        if args.${where} or null == null then
          null
        else if file ? text && match "#!/[^\n]+\n.*" file.text == null then
          fail where "must begin with a line such as #!/bin/sh"
        else
          file;
      activate = script "activate";
      initrdSecrets = script "initrdSecrets";

      settings = args.lastgood or { };
      isSet = isAttrs settings && !(settings ? outPath);
      withScript =
        if activate == null || settings ? activation.script then
          settings
        else
          settings // { activation = (settings.activation or { }) // { script = "activate"; }; };
      ruleset = settings.firewall.ruleset or null;
      hasRuleset =
        let found = match "etc/(.*)" ruleset; in
        found == null || args ? systemManager || (args.etc or { }) ? ${head found};
      config =
        if isSet then
          (
            if typeOf ruleset == "string" && !hasRuleset then
              fail "lastgood.firewall.ruleset" "there is no ${quoted ruleset} in `etc`"
            else
              files.ofText "lastgood" "lastgood.toml" (toTOML "lastgood" withScript)
          )
        else if activate != null then
          fail "lastgood" "is a file of its own, so that `activate` would not be run; say script = \"activate\" there, and write it here as a set"
        else
          (files.content "lastgood" "lastgood.toml" settings).to;

      generated =
        confs "sysusers" "sysusers.d" name (args.sysusers or [ ])
        // confs "tmpfiles" "tmpfiles.d" name (args.tmpfiles or [ ])
        // sysctls name (args.sysctl or { });
      own = isA "etc" [ "set" ] (args.etc or { });
      twice = filter (path: own ? ${path}) (attrNames generated);
      plain = filter (path: generated.${path} != "\n") (attrNames generated);
      allOfEtc =
        if twice != [ ] then
          fail "etc.${quoted (head twice)}" "is made of sysusers, tmpfiles or sysctl already; give it in one place"
        else
          own // listToAttrs (map (path: { name = path; value = generated.${path}; }) plain);

      systemManager =
        if args.systemManager or null == null then
          { staticEnv = ""; entries = [ ]; }
        else
          import ./closure/system-manager.nix args.systemManager;

      packages = isA "packages" [ "list" ] (args.packages or [ ]);
      package =
        one:
        if isAttrs one && one ? outPath then
          one
        else if typeOf one == "path" then
          files.ofPath "packages" one
        else if match "/nix/store/.+" (isA "an item of packages" [ "set" "path" "string" ] one) == null then
          fail "packages" "${quoted one} is not in the store; give a package of `pkgs`, or a path"
        else
          files.ofStore "packages" one;

      child =
        of: more:
        if match "[^/[:cntrl:]]{1,255}" of == null || of == "." || of == ".." then
          fail "specialisation.${quoted of}" "this cannot be the name of a file"
        else if more ? specialisation then
          fail "specialisation.${quoted of}" "a specialisation has none of its own"
        else
          let said = words.onlyKnown "specialisation.${quoted of}" arguments (isA "specialisation.${quoted of}" [ "set" ] more); in
          make (specialised args said);
      children = builtins.mapAttrs child (isA "specialisation" [ "set" ] (args.specialisation or { }));

      link = at: to: { kind = "link"; inherit at to; };
      text = at: to: { kind = "text"; inherit at to; };
      modules = "/lib/modules/${kernelVersion}";
      entries =
        etc.entries allOfEtc
        ++ units (args.units or { })
        ++ systemManager.entries
        ++ [
          (link "kernel" kernel)
          (link "initrd" initrd)
          (link "init" init)
          (text "kernel-params" (concatStringsSep " " rooted))
          (text "nixos-version" version)
          (text "system" "x86_64-linux")
        ]
        # A file that says nothing is refused: it may be what a power cut left.
        ++ (if isSet && withScript == { } then [ ] else [ (link "etc/lastgood/lastgood.toml" config) ])
        ++ (if packages == [ ] then [ ] else [ (link "sw" "${build.together "${name}-packages" (map package packages)}") ])
        ++ (if kernelVersion == null then [ ] else [
          # Of a package's they are in the store; the distribution's stay where they are.
          (link "kernel-modules${modules}" (if isAttrs args.kernel then "${args.kernel.modules or args.kernel}${modules}" else "/usr${modules}"))
        ])
        ++ (if activate == null then [ ] else [ { kind = "script"; at = "activate"; inherit (activate) to; } ])
        ++ (if initrdSecrets == null then [ ] else [ { kind = "script"; at = "append-initrd-secrets"; inherit (initrdSecrets) to; } ])
        ++ map (of: link "specialisation/${of}" "${children.${of}}") (attrNames children);

      # Two that want one place.
      sorted = sort (a: b: a.at < b.at) entries;
      doubles = filter (at: (elemAt sorted at).at == (elemAt sorted (at + 1)).at) (builtins.genList (at: at) (length sorted - 1));
      whole =
        if doubles == [ ] then
          sorted
        else
          fail (elemAt sorted (head doubles)).at "is given twice";

      out = builtins.placeholder "out";
      bootspec = toplevel: {
        "org.nixos.bootspec.v1" = {
          system = "x86_64-linux";
          init = "${toplevel}/init";
          kernelParams = rooted;
          label = checkedLabel;
          inherit kernel initrd toplevel;
        } // (if initrdSecrets == null then { } else { initrdSecrets = "${toplevel}/append-initrd-secrets"; });
      };
      document = bootspec out // {
        "org.nixos.specialisation.v1" = builtins.mapAttrs (_: one: one.bootspec) children;
      };
      toplevel = build.toplevel "system-${name}-${version}" whole (builtins.toJSON document) systemManager.staticEnv;
    in
    # Mistakes are told before there is a derivation, or newer releases of Nix tell of their own steps first. `bootspec` is
    # for a closure that has this one as a specialisation.
    builtins.deepSeq [ whole document ] (toplevel // { bootspec = bootspec "${toplevel}"; });
in
{
  __functor = _: make;
  inherit kernels newestKernel toTOML;
}
