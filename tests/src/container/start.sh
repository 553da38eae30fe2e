# Boots one container; run in mount, network and PID namespaces of its own, so that nothing of this outlives it.
# $1: the machine's directory, $2: the trees it starts from, with colons between. What it changes stays in $1/upper from
# boot to boot.
exec 2>&1
# Network namespaces, and what nspawn keeps: out of the host's sight.
mount -t tmpfs tmpfs /run
# Whatever hierarchy the host has, the container's systemd gets the unified one, and a group that is this machine's
# alone: two that share one take each other's processes for their own.
mount -t cgroup2 cgroup2 /sys/fs/cgroup
group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/lastgood-$(printf %s "$1" | cksum | tr -d ' ')
clear() { [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true; }
clear
mkdir -p "$group"

mkdir -p "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"

# A cable. This end is the world; the other one is down until the machine itself brings it up.
ip netns add machine
ip link add world type veth peer name eth0 netns machine
ip address add 10.0.2.2/24 dev world
ip link set world up

# --keep-unit: a reboot then ends nspawn, with status 133. Not --boot: /rig/init goes before systemd.
status=0
sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$group" \
    systemd-nspawn --quiet --machine=rig --register=no --keep-unit \
    --directory="$1/root" --link-journal=no --resolv-conf=off --timezone=off --console=read-only \
    --network-namespace-path=/run/netns/machine --capability=CAP_NET_ADMIN --kill-signal=SIGRTMIN+3 \
    /rig/init || status=$?
clear
exit "$status"
