# `pkgs.lastgood`.
final: _: {
  lastgood = final.callPackage ./package.nix { inherit (final.pkgsStatic) rustPlatform; };
}
