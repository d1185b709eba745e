#!/bin/sh
# Install the Debian packages of a list that are missing; as another account than root, say how.
set -eu
missing=""
while read -r package; do
    case "$package" in "" | "#"*) continue ;; esac
    dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done <"$1"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "the tests need more packages. Run: sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing$missing"
case "$missing " in *" glewlwyd "*)
    # An OpenID Connect provider whose password everybody knows: the tests start one of their own, on loopback.
    mkdir -p /etc/systemd/system
    [ -e /etc/systemd/system/glewlwyd.service ] || ln -s /dev/null /etc/systemd/system/glewlwyd.service
    ;;
esac
apt-get update -qq
# shellcheck disable=SC2086 # the list is meant to be split
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing >/dev/null
