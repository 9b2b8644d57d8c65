# SPDX-License-Identifier: Apache-2.0
# Facts on block devices. The source of the offsets is each file system's on-disk format.

# at OFFSET LENGTH: LENGTH bytes of $device, from OFFSET on.
at() { dd if="$device" bs=1 skip="$1" count="$2" 2>/dev/null; }

# probe NAME: file system type and label, or "none", in $fs and $label.
probe() {
    device=/dev/$1 fs=none label=
    case $(at 54 5) in FAT1[26]) fs=vfat label=$(at 43 11) ;; esac
    [ $fs = none ] && [ "$(at 82 5)" = FAT32 ] && fs=vfat label=$(at 71 11)
    [ $fs = none ] && [ "$(at 1080 2)" = "$EXT_MAGIC" ] && fs=ext label=$(at 1144 16)
    [ $fs = none ] && [ "$(at 4086 10)" = SWAPSPACE2 ] && fs=swap label=$(at 1052 16)
    [ $fs = none ] && [ "$(at 32769 5)" = CD001 ] && fs=iso9660 label=$(at 32808 32)
    label=${label%"${label##*[! ]}"}
    label=${label:-none}
}
EXT_MAGIC=$(printf 'S\357')

# attachment NAME: bus and driver of a whole disk, in $bus and $driver.
attachment() {
    path=$(readlink -f "/sys/class/block/$1")
    case $path in
        */host[0-9]*)
            host=${path#*/host}
            first "/sys/class/scsi_host/host${host%%/*}/proc_name"
            driver=$value
            case $driver in
                ata_piix) bus=ide ;;
                ahci) bus=sata ;;
                usb-storage | uas) bus=usb ;;
                *) bus=scsi ;;
            esac
            ;;
        */nvme/*) bus=nvme driver=nvme ;;
        *) link "/sys/class/block/$1/device/driver" && driver=$value bus=${value%_blk} ;;
    esac
}

# serial NAME: the serial number the host gave a disk, in $serial.
serial() {
    serial=none
    if [ -r "/sys/class/block/$1/serial" ]; then
        first "/sys/class/block/$1/serial" && serial=$value
    elif [ -r "/sys/class/block/$1/device/serial" ]; then
        first "/sys/class/block/$1/device/serial" && serial=$value
    elif [ -r "/sys/class/block/$1/device/vpd_pg80" ]; then
        # Four bytes of header, then padded text.
        serial=$(tail -c +5 "/sys/class/block/$1/device/vpd_pg80" 2>/dev/null | tr -d ' ')
    fi
    serial=${serial:-none}
}

# contents NAME: size in bytes, read-only flag, file system and label of a disk or partition.
contents() {
    first "/sys/class/block/$1/size" && size=$((value * 512))
    first "/sys/class/block/$1/ro" && ro=$value
    # An empty CD drive still claims a size.
    true 2>/dev/null <"/dev/$1" || size=0
    probe "$1"
    case $label in
        config-2 | CONFIG-2) CONFIG_DRIVE=/dev/$1 CONFIG_FS=$fs ;;
        CDGUEST) [ "$ro" = 0 ] && OWN_DISK=/dev/$1 ;;
    esac
}

# disk NAME: prints the facts of a whole disk and its partitions.
disk() {
    attachment "$1"
    serial "$1"
    contents "$1"
    say "GUEST-DISK: $1 size=$size bus=$bus driver=$driver ro=$ro serial=$serial fs=$fs label=$label"
    for entry in /sys/class/block/"$1"/"$1"*; do
        [ -e "$entry/partition" ] || continue
        contents "${entry##*/}"
        say "GUEST-PARTITION: ${entry##*/} size=$size ro=$ro fs=$fs label=$label"
    done
}
