{
  description = "lastgood: boots the newest generation that works";

  # `nix flake lock` writes flake.lock. It is not here yet, because the place where this was written reaches no nixpkgs; a
  # flake that takes this one as its input pins nixpkgs by `inputs.lastgood.inputs.nixpkgs.follows = "nixpkgs"`.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system}.extend self.overlays.default;
    in
    {
      overlays.default = import ./nix/overlay.nix;

      # For Debian and other systemd hosts: docs/closures.md.
      lib.closure = import ./nix/closure.nix;
      templates.default = {
        path = ./nix/template;
        description = "A closure for a Debian server";
      };

      packages.${system} = {
        inherit (pkgs) lastgood;
        default = pkgs.lastgood;
      };

      nixosModules = {
        lastgood = ./nix/module.nix;
        default = self.nixosModules.lastgood;
      };

      checks.${system} = {
        package = pkgs.lastgood;
        module = pkgs.writeText "lastgood-module" (import ./nix/check.nix { inherit nixpkgs pkgs; });
      }
      # Virtual machines.
      // import ./nix/tests { inherit pkgs; };
    };
}
