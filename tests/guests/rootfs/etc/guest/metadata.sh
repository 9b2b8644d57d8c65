# SPDX-License-Identifier: Apache-2.0
# The data of a cloud for its guest, from the config drive or the metadata service:
# https://docs.openstack.org/nova/latest/user/metadata.html
LATEST=/config/openstack/latest

# read_config_drive: sets HOSTNAME, UUID, KEYS, USERDATA and NETWORKDATA from $CONFIG_DRIVE.
read_config_drive() {
    mount -t "$CONFIG_FS" -o ro "$CONFIG_DRIVE" /config && read_metadata
}

# fetch_metadata: sets the same variables from the metadata service, which may answer late.
fetch_metadata() {
    mkdir -p $LATEST
    tries=0
    until fetch meta_data.json; do
        tries=$((tries + 1))
        [ $tries -lt 30 ] || return
        sleep 1
    done
    fetch user_data
    fetch network_data.json
    read_metadata
}

# fetch NAME: one document. Debian's static busybox has a wget that crashes beside a libc.
fetch() {
    printf 'GET /openstack/latest/%s HTTP/1.0\r\nHost: 169.254.169.254\r\n\r\n' "$1" |
        nc -w 10 169.254.169.254 80 >/run/answer 2>/dev/null
    first /run/answer
    case $value in "HTTP/1."?" 200"*) sed '1,/^\r$/d' /run/answer >$LATEST/"$1" ;; *) false ;; esac
}

read_metadata() {
    if [ -r $LATEST/meta_data.json ]; then
        awk -f /etc/guest/json.awk $LATEST/meta_data.json >/run/meta_data
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
    first $LATEST/user_data && USERDATA=$value
    [ -r $LATEST/network_data.json ] && NETWORKDATA=yes
}

# run_userdata: runs user data that is a script; the output goes to the consoles.
run_userdata() {
    /bin/sh $LATEST/user_data >/run/userdata.log 2>&1 </dev/null
    status=$?
    while read -r line; do say "$line"; done </run/userdata.log
    say "GUEST-USERDATA-RC: $status"
}
