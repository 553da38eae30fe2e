#!/bin/sh
# systemd-analyze verify exits 0 although a boot would leave a unit out to break an ordering cycle.
#
# Versions: systemd 252.39-1~deb12u2 (Debian 12).
# Behaviour: two services that are each After= the other, both wanted by the target that is verified. systemd prints
#   "Found ordering cycle on ..." and "Job .../start deleted to break ordering cycle ...", and exits 0. With
#   --recursive-errors=one and =yes it exits 0 as well. With --recursive-errors=no it prints nothing: dependencies are not
#   looked at at all, so the cycle is not there.
# Why it surprises: systemd-analyze(1) says that a non-zero exit status is returned for errors in the units and their
#   dependencies with =yes, and a job that is dropped is a service that does not start. Whoever checks units in CI by the
#   exit status learns nothing. What was printed has to be read.
# Fails if that changes. Needs apt, and no root.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

version=252.39-1~deb12u2
apt-get download -qq "systemd=$version" "libsystemd-shared=$version" >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
libraries=$work/root/usr/lib/x86_64-linux-gnu/systemd:$work/root/lib/x86_64-linux-gnu/systemd

mkdir -p units/both.target.wants
for pair in one:other other:one; do
    name=${pair%:*}
    cat > "units/$name.service" <<UNIT
[Unit]
DefaultDependencies=no
After=${pair#*:}.service
[Service]
Type=oneshot
ExecStart=/bin/true
UNIT
    ln -s "../$name.service" units/both.target.wants/
done
printf '[Unit]\nDefaultDependencies=no\n' > units/both.target

analyze() {
    status=0
    LD_LIBRARY_PATH=$libraries SYSTEMD_UNIT_PATH=$work/units \
        root/usr/bin/systemd-analyze verify --man=no "$@" both.target > said 2>&1 || status=$?
}

failed=0
expect() { # what, wanted, found
    if [ "$2" = "$3" ]; then echo "as before: $1: $3"; else echo "CHANGED: $1: $3, was $2"; failed=1; fi
}

LD_LIBRARY_PATH=$libraries root/usr/bin/systemd-analyze --version | head -n 1
for errors in "" --recursive-errors=one --recursive-errors=yes; do
    # shellcheck disable=SC2086
    analyze $errors
    expect "exit status with '$errors'" 0 "$status"
    expect "lines about a job that is dropped with '$errors'" 1 "$(grep -c 'deleted to break ordering cycle' said || :)"
done
analyze --recursive-errors=no
expect "exit status with --recursive-errors=no" 0 "$status"
expect "what is said with --recursive-errors=no" "" "$(cat said)"
exit "$failed"
