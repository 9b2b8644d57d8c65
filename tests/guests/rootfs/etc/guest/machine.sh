# SPDX-License-Identifier: Apache-2.0
# Facts on the machine itself.

# processor: sets CPUS, CPU_MODEL and VIRT.
processor() {
    CPUS=0 CPU_MODEL=none VIRT=none
    while IFS=: read -r key value; do
        case $key in
            processor*) CPUS=$((CPUS + 1)) ;;
            "model name"*) CPU_MODEL=${value# } ;;
            flags*) case $value in *hypervisor*) VIRT=tcg ;; esac ;;
        esac
    done </proc/cpuinfo
    # Only a guest of KVM sees its clock; the emulator shows no more than the flag.
    first /sys/devices/system/clocksource/clocksource0/available_clocksource
    case $value in *kvm-clock*) VIRT=kvm ;; esac
    [ -r /sys/hypervisor/type ] && first /sys/hypervisor/type && VIRT=$value
}

# firmware: sets FIRMWARE and SECUREBOOT.
firmware() {
    FIRMWARE=bios SECUREBOOT=none
    [ -d /sys/firmware/efi ] || return
    FIRMWARE=uefi SECUREBOOT=no
    mount -t efivarfs efivarfs /sys/firmware/efi/efivars 2>/dev/null
    variable=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
    # Four bytes of attributes, then the flag.
    [ -r $variable ] && [ "$(tail -c 1 $variable | od -An -tu1 | tr -d ' ')" = 1 ] && SECUREBOOT=yes
}

# boots: counts the starts of this disk on its own partition; the count is in BOOTS.
boots() {
    BOOTS=none
    [ -n "$OWN_DISK" ] && mount -t vfat -o rw "$OWN_DISK" /disk 2>/dev/null || return
    first /disk/boots
    [ "$value" = none ] && value=0
    echo $((value + 1)) >/disk/boots && BOOTS=$((value + 1))
    umount /disk
}
