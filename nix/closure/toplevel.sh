# Lays a closure out. Run by Nix with busybox as `$builder`: there need not be any other program.
set -eu
tab=$(printf '\t')

refuse() {
    echo "closure.nix: $*" >&2
    exit 1
}

# place KIND AT TO
place() {
    path=$out/$2
    "$builder" mkdir -p "${path%/*}" || refuse "$2: something else has the name of its directory"
    case $1 in
    link) "$builder" ln -s "$3" "$path" ;;
    text) printf '%s' "$3" >"$path" ;;
    script)
        "$builder" cp "$3" "$path"
        "$builder" chmod 555 "$path"
        ;;
    esac
}

# Links what is in the tree $1 below $2. Directories are gone into where both have them.
merge() {
    for item in "$1"/* "$1"/.[!.]*; do
        [ -e "$item" ] || [ -L "$item" ] || continue
        at=$2/${item##*/}
        if [ -d "$item" ] && [ -d "$out/$at" ] && [ ! -L "$out/$at" ]; then
            merge "$item" "$at"
        elif [ -e "$out/$at" ] || [ -L "$out/$at" ]; then
            refuse "$at is system-manager's, and is given here as well; one of them must go"
        else
            "$builder" ln -s "$item" "$out/$at"
        fi
    done
}

"$builder" mkdir -p "$out/etc/systemd/system" "$out/specialisation"
"$builder" cp "$bootJsonPath" "$out/boot.json"
while IFS=$tab read -r kind at to; do
    place "$kind" "$at" "$to"
done <"$layoutPath"
[ -z "$staticEnv" ] || merge "$staticEnv" etc
