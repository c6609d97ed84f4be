#!/bin/sh
# Makes the certificates in this folder anew: an authority, a server and a client that it signed, and a stranger's
# client that it did not. Keys for tests, known to everybody: not a secret.
set -eu
cd "$(dirname "$0")"
days=36500
authority() { # NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days $days -subj "/CN=not a secret: $1" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign -keyout "$1-key.tmp" -out "$1-cert.pem"
}
signed() { # AUTHORITY NAME USAGE
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=not a secret: $2" -keyout "$2-key.pem" -out request.tmp
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=%s\nkeyUsage=critical,digitalSignature,keyEncipherment\nbasicConstraints=critical,CA:FALSE\n' "$3" > extensions.tmp
    openssl x509 -req -in request.tmp -CA "$1-cert.pem" -CAkey "$1-key.tmp" -CAcreateserial -days $days -extfile extensions.tmp -out "$2-cert.pem"
}
authority ca
authority stranger-ca
signed ca server serverAuth
signed ca client clientAuth
signed stranger-ca stranger clientAuth
rm -f -- *.tmp *.srl
