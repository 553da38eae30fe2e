# Run by Nix with busybox as `$builder`.
set -eu
"$builder" cp "$textPath" "$out"
