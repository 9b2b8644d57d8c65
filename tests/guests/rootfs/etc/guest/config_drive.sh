# SPDX-License-Identifier: Apache-2.0
# The config drive: https://docs.openstack.org/nova/latest/user/metadata.html

# read_config_drive: sets HOSTNAME, UUID, KEYS, USERDATA and NETWORKDATA from $CONFIG_DRIVE.
read_config_drive() {
    latest=/config/openstack/latest
    mount -t "$CONFIG_FS" -o ro "$CONFIG_DRIVE" /config || return
    if [ -r $latest/meta_data.json ]; then
        awk -f /etc/guest/json.awk $latest/meta_data.json >/run/meta_data
        while IFS='=' read -r path value; do
            case $path in
                hostname) HOSTNAME=$value ;;
                uuid) UUID=$value ;;
                public_keys.*)
                    echo "$value" >>/root/.ssh/authorized_keys
                    KEYS=$((KEYS + 1))
                    ;;
            esac
        done </run/meta_data
    fi
    first $latest/user_data && USERDATA=$value
    [ -r $latest/network_data.json ] && NETWORKDATA=yes
}

# run_userdata: runs user data that is a script, its output going to the consoles.
run_userdata() {
    /bin/sh /config/openstack/latest/user_data >/run/userdata.log 2>&1 </dev/null
    status=$?
    while read -r line; do say "$line"; done </run/userdata.log
    say "GUEST-USERDATA-RC: $status"
}
