# SPDX-License-Identifier: Apache-2.0
# The power button. acpid is no choice: it takes the keyboard from all other programs.

# watch_power_buttons: waits in the background for a press: any event of such a device.
watch_power_buttons() {
    for entry in /sys/class/input/event*; do
        first "$entry/device/name"
        case $value in
            "Power Button" | gpio-keys) power_button "/dev/input/${entry##*/}" & ;;
        esac
    done
}

power_button() {
    dd if="$1" of=/dev/null bs=24 count=1 2>/dev/null
    say "GUEST-POWERBUTTON"
    exec /etc/guest/down poweroff
}
