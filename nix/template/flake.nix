# For `nix build --impure`: kernel and initrd are in /boot, which a pure evaluation does not see.
{
  inputs.lastgood = {
    url = "path:/usr/share/lastgood/nix";
    flake = false;
  };
  # inputs.nixpkgs.url = "nixpkgs/nixos-unstable";

  outputs =
    { self, lastgood }:
    {
      packages.x86_64-linux.default = import ./system.nix {
        make = import "${lastgood}/closure.nix";
        # pkgs = nixpkgs.legacyPackages.x86_64-linux;
      };
    };
}
