# SPDX-License-Identifier: Apache-2.0
# Shared by the guest's scripts. Forks cost much under emulation, so builtins do most of the work.

# The kernel's consoles: the serial line, and the screen where there is one.
read -r CONSOLES </sys/class/tty/console/active

# say TEXT: one line on every console.
say() {
    for tty in $CONSOLES; do
        echo "$*" >"/dev/$tty"
    done
}

# first FILE: its first line, or "none", in $value.
first() {
    value=
    [ -r "$1" ] && read -r value <"$1"
    value=${value:-none}
}

# link LINK: the last part of what a symbolic link points to, or "none", in $value.
link() {
    value=none
    [ -L "$1" ] && value=$(readlink "$1") && value=${value##*/}
}

# Without these functions the shell runs the commands of busybox, which take two seconds longer.
poweroff() { /etc/guest/down poweroff; }
reboot() { /etc/guest/down reboot; }
halt() { /etc/guest/down halt; }
