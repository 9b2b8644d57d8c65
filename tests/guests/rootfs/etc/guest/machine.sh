# SPDX-License-Identifier: Apache-2.0
# Facts on the machine itself.

# processor: sets CPUS, CPU_MODEL and VIRT. Each architecture has its own words.
processor() {
    CPUS=0 CPU_MODEL=none VIRT=none
    while IFS=: read -r key value; do
        case $key in
            processor*) CPUS=$((CPUS + 1)) ;;
            flags*) case $value in *hypervisor*) VIRT=tcg ;; esac ;;
        esac
        case $key in
            "model name"* | "CPU part"* | "cpu	"* | isa* | "processor 0") CPU_MODEL=${value# } ;;
        esac
    done </proc/cpuinfo
    case $(uname -m) in
        i?86 | x86_64)
            # Only a guest of KVM sees the clock of KVM; the emulator shows the flag only.
            first /sys/devices/system/clocksource/clocksource0/available_clocksource
            case $value in *kvm-clock*) VIRT=kvm ;; esac
            [ -r /sys/hypervisor/type ] && first /sys/hypervisor/type && VIRT=$value
            ;;
        *) other_virtualisation ;;
    esac
}

# other_virtualisation: sets VIRT by the firmware, for processors that do not show it: a machine of
# QEMU without a sign of KVM is emulated.
other_virtualisation() {
    for file in /sys/class/dmi/id/product_name /proc/device-tree/compatible /proc/device-tree/model; do
        first $file
        case $value in QEMU* | *qemu* | linux,dummy-virt*) VIRT=tcg ;; esac
    done
    first /proc/device-tree/hypervisor/compatible
    case $value in linux,kvm*) VIRT=kvm ;; esac
    while IFS=: read -r key value; do
        # The emulator, too, calls itself KVM, but names QEMU as the manufacturer.
        case $key:$value in
            Manufacturer:*QEMU*) VIRT=tcg && break ;;
            *"Control Program":*KVM*) VIRT=kvm ;;
        esac
    done 2>/dev/null </proc/sysinfo
    # KVM on ARM and RISC-V answers calls that the kernel makes to recognise KVM.
    dmesg | grep -q -e "smccc: KVM: hypervisor" -e "SBI implementation ID=0x3 " && VIRT=kvm
}

# firmware: sets FIRMWARE and SECUREBOOT.
firmware() {
    FIRMWARE=none SECUREBOOT=none
    case $(uname -m) in i?86 | x86_64) FIRMWARE=bios ;; esac
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
