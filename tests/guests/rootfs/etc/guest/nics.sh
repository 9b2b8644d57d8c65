# SPDX-License-Identifier: Apache-2.0
# Facts on network interfaces, and their addresses.

# nic NAME: says what is known of one.
nic() {
    first "/sys/class/net/$1/address" && mac=$value
    first "/sys/class/net/$1/mtu" && mtu=$value
    link "/sys/class/net/$1/device/driver"
    say "GUEST-NIC: $1 mac=$mac driver=$value mtu=$mtu"
}

# lease NAME: asks for an address, for as long as it takes, in the background.
lease() {
    ip link set "$1" up
    udhcpc -f -i "$1" -s /etc/guest/lease -O mtu -t 10 -T 1 -A 5 >/dev/null 2>&1 &
}
