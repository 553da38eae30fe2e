# The tables of others, as they make them: by iptables-nft, and by nft itself.
set -eu

# dockerd: a published port, its networks kept apart.
iptables-nft-restore --noflush <<'RULES'
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
RULES

# kube-proxy: what nft alone could not say (`xt match`), and marks.
iptables-nft-restore --noflush <<'RULES'
*nat
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SVC-A - [0:0]
:KUBE-SEP-A - [0:0]
:KUBE-SEP-B - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 443 -j KUBE-SVC-A
-A KUBE-SVC-A ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ
-A KUBE-SVC-A -m statistic --mode random --probability 0.5 -j KUBE-SEP-A
-A KUBE-SVC-A -j KUBE-SEP-B
-A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination 10.244.0.5:6443
-A KUBE-SEP-B -p tcp -m recent --set --name KUBE-SEP-B -m tcp -j DNAT --to-destination 10.244.0.6:6443
COMMIT
RULES

# libvirt: a network of its own, for both families.
for iptables in iptables-nft ip6tables-nft; do
    $iptables -N LIBVIRT_INP
    $iptables -I INPUT -j LIBVIRT_INP
    $iptables -A LIBVIRT_INP -i virbr0 -p udp -m udp --dport 53 -j ACCEPT
    $iptables -N LIBVIRT_FWX
    $iptables -I FORWARD -j LIBVIRT_FWX
    $iptables -A LIBVIRT_FWX -i virbr0 -o virbr0 -j ACCEPT
    $iptables -t mangle -N LIBVIRT_PRT
    $iptables -t mangle -A POSTROUTING -j LIBVIRT_PRT
    $iptables -t mangle -A LIBVIRT_PRT -o virbr0 -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill
done

# The same two by nft: maps of verdicts, elements that come and go.
nft -f - <<'RULES'
table ip kube-proxy {
    map service-ips {
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 10.96.0.1 . tcp . 443 : goto service-web }
    }
    set affinity {
        type ipv4_addr
        flags dynamic, timeout
        timeout 3h
        elements = { 10.0.2.2 }
    }
    chain service-web {
        update @affinity { ip saddr }
        meta l4proto tcp dnat to 10.244.0.5:6443
    }
    chain services {
        ip daddr . meta l4proto . th dport vmap @service-ips
    }
    chain nat-prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        jump services
    }
}
table ip libvirt_network {
    counter seen { }
    chain guest_input {
        type filter hook input priority filter; policy accept;
        counter name seen
        iif lo counter
        tcp dport { 80, 443 } counter
    }
}
RULES
