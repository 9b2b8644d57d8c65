# SPDX-License-Identifier: Apache-2.0
# Flattens a JSON document: a line "path=value" for every string, number and literal.

function token(    found) {
    if (!match(text, /[^ \t\r\n]/)) exit
    text = substr(text, RSTART)
    if (!match(text, /^("([^"\\]|\\.)*"|[^"{}:, \t\r\n\[\]]+|.)/)) exit
    found = substr(text, 1, RLENGTH)
    text = substr(text, RLENGTH + 1)
    return found
}

function plain(raw) {
    if (raw ~ /^"/) raw = substr(raw, 2, length(raw) - 2)
    gsub(/\\[nrt]/, " ", raw)
    gsub(/\\"/, "\"", raw)
    gsub(/\\\//, "/", raw)
    sub(/ +$/, "", raw)
    return raw
}

function value(path,    next_token, key, count) {
    next_token = token()
    if (next_token == "{") {
        while ((next_token = token()) != "}") {
            if (next_token == ",") next_token = token()
            key = plain(next_token)
            token()
            value(path == "" ? key : path "." key)
        }
    } else if (next_token == "[") {
        while ((next_token = token()) != "]") {
            if (next_token != ",") {
                text = next_token text
                value(path "." count++)
            }
        }
    } else {
        print path "=" plain(next_token)
    }
}

{ text = text $0 "\n" }
END { value("") }
