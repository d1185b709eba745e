"""Turns a Debian root into one of the shape of an Enterprise Linux."""

import fnmatch
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.el import doubles
from tests.hosts.settings import USER
from tests.hosts.shell import run

PACKAGES = (
    "systemd systemd-sysv libpam-systemd dbus netbase iproute2 iputils-ping procps "
    "openssh-server sudo ca-certificates openssl less python3 python3-venv "
    "dnf python3-dnf rpm dnf-plugins-core firewalld"
)
MIRROR = "var/lib/mirror"  # where the host has its repositories


@dataclass(frozen=True)
class Distribution:
    """One member of the family, as its release files name it."""

    id: str
    name: str
    version: str
    major: int
    release_package: str
    repository_file: str
    id_like: str = "rhel centos fedora"
    pretty_suffix: str = ""

    @property
    def suite(self) -> str:
        """The Debian release whose programs have about the versions of this major."""
        return {9: "bookworm", 10: "trixie"}[self.major]


DISTRIBUTIONS = {
    "centos9": Distribution(
        "centos", "CentOS Stream", "9", 9, "centos-stream-release", "centos.repo", id_like="rhel fedora"
    ),
    "centos10": Distribution(
        "centos", "CentOS Stream", "10", 10, "centos-stream-release", "centos.repo", id_like="rhel fedora",
        pretty_suffix=" (Coughlan)",
    ),
    "rocky9": Distribution(
        "rocky", "Rocky Linux", "9.6", 9, "rocky-release", "rocky.repo", pretty_suffix=" (Blue Onyx)"
    ),
    "alma10": Distribution(
        "almalinux", "AlmaLinux", "10.1", 10, "almalinux-release", "almalinux.repo", pretty_suffix=" (Heliotrope Lion)"
    ),
}  # fmt: skip

# What makes a host Debian, and what EL's minimal installation has not.
_DEBIAN = (
    "etc/debian_version", "etc/apt", "etc/dpkg", "etc/alternatives/README", "etc/issue", "etc/issue.net",
    "usr/bin/apt*", "usr/bin/dpkg*", "usr/sbin/dpkg*", "usr/lib/apt", "usr/lib/dpkg", "usr/share/dpkg",
    "usr/lib/systemd/system/apt-*", "usr/lib/systemd/system/dpkg-*", "lib/systemd/system/apt-*",
    "lib/systemd/system/dpkg-*", "etc/systemd/system/timers.target.wants/apt-*",
    "etc/systemd/system/timers.target.wants/dpkg-*", "var/lib/dpkg", "var/lib/apt", "var/cache/apt", "var/log/apt",
    "etc/cron.daily/apt-compat", "etc/cron.daily/dpkg", "etc/logrotate.d/apt", "etc/logrotate.d/dpkg",
    "usr/bin/rpmbuild", "usr/bin/rpmsign", "usr/bin/add-apt-repository", "usr/lib/python3/dist-packages/apt*",
    "usr/share/python-apt", "usr/share/keyrings/debian-*",
)  # fmt: skip

_FINISH = f"""
set -eu
groupadd -r wheel
useradd --create-home --shell /bin/bash --comment 'operator' --groups wheel {USER}
install -d -m 700 -o {USER} -g {USER} /home/{USER}/.ssh
cat > /etc/sudoers <<'EOF'
Defaults env_reset
Defaults secure_path = /sbin:/bin:/usr/sbin:/usr/bin
root ALL=(ALL) ALL
%wheel ALL=(ALL) ALL
#includedir /etc/sudoers.d
EOF
printf '%s ALL=(ALL) NOPASSWD:ALL\\n' {USER} > /etc/sudoers.d/90-{USER}
chmod 440 /etc/sudoers /etc/sudoers.d/90-{USER}
printf 'PermitRootLogin no\\nPasswordAuthentication no\\n' > /etc/ssh/sshd_config.d/40-test-host.conf
rm -f /etc/ssh/ssh_host_*
update-ca-certificates >/dev/null 2>&1
mkdir -p /etc/pki/tls/certs /etc/pki/ca-trust/source/anchors /etc/sysconfig /usr/libexec /var/log/journal
ln -sf /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt
ln -sf /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/cert.pem

# The unit is sshd here, and sh is bash.
systemctl disable ssh >/dev/null 2>&1
unit=/usr/lib/systemd/system
sed '/^Alias=/d; s/ssh\\.service/sshd.service/g' $unit/ssh.service > $unit/sshd.service
rm -f $unit/ssh.service $unit/ssh.socket $unit/ssh@.service /etc/systemd/system/sshd.service
ln -sf bash /usr/bin/sh

# Accounts that are Debian's alone: what leans on them is to fail here.
sed -i 's/^nogroup:/nobody:/' /etc/group /etc/gshadow
for name in www-data list irc proxy uucp news backup gnats; do
    if getent passwd $name >/dev/null; then userdel $name; fi
    if getent group $name >/dev/null; then groupdel $name; fi
done
groupdel sudo
rm -f /usr/lib/sysusers.d/basic.conf

# Nothing is enabled by being installed, but for what EL's own list names.
mkdir -p /usr/lib/systemd/system-preset
rm -f /usr/lib/systemd/system-preset/*
for name in sshd firewalld chronyd crond logrotate.timer; do
    case $name in *.*) echo "enable $name" ;; *) echo "enable $name.service" ;; esac
done > /usr/lib/systemd/system-preset/90-default.preset
echo 'disable *' > /usr/lib/systemd/system-preset/99-default-disable.preset
systemctl enable systemd-networkd sshd firewalld >/dev/null 2>&1
systemctl disable systemd-networkd-wait-online >/dev/null 2>&1 || true

mkdir -p /usr/lib/rpm/macros.d /var/lib/rpm
printf '%%_dbpath /var/lib/rpm\\n%%_install_langs en_US\\n' > /usr/lib/rpm/macros.d/macros.el
rm -rf /root/.rpmdb /var/lib/rpm/*
rpm --initdb
# Debian 12's rpm wants to be told that this is meant; Debian 13's does not know the option.
force=$(rpm --help | grep -o -- --force-debian || true)
rpm -i --justdb --nodeps --noscripts $force /{MIRROR}/installed/*.rpm
rm -rf /{MIRROR}/installed
: > /etc/machine-id
"""


def make(shape: str, base: Path, repositories: Path, target: Path) -> None:
    """Make the root of a distribution's shape.

    Args:
        shape: a key of `DISTRIBUTIONS`.
        base: a Debian root with `PACKAGES`; it stays as it is.
        repositories: what `repository.build` made for its major.
        target: where the new root is made.
    """
    distribution = DISTRIBUTIONS[shape]
    run("cp", "-a", "--reflink=auto", str(base), str(target))
    _carve(distribution.major, target)
    run("cp", "-a", "--reflink=auto", str(repositories), str(target / MIRROR))
    _release_package(distribution, target / MIRROR / "installed")
    _release_files(distribution, target)
    _package_manager(distribution, target)
    if distribution.major == 10:
        # EL 10's Python is 3.12 and has this name as well; Debian 13's is 3.13.
        (target / "usr/bin/python3.12").symlink_to("python3.13")
    run("chroot", str(target), "/bin/bash", "-c", _FINISH)
    public = target / "usr/lib/firewalld/zones/public.xml"
    public.write_text(public.read_text().replace("  <forward/>", '  <service name="cockpit"/>\n  <forward/>'))
    for pattern in _DEBIAN:
        for path in target.glob(pattern):
            _remove(path)


def _carve(major: int, target: Path) -> None:
    listed, _ = doubles.load(major)
    for double in listed.values():
        if double.carve:
            lists = [target / f"var/lib/dpkg/info/{deb}.list" for deb in double.debs]
            for path in (line for file in lists for line in file.read_text().splitlines()):
                file = target / path.lstrip("/")
                taken = not double.only or any(fnmatch.fnmatch(path, pattern) for pattern in double.only)
                if taken and not file.is_dir():  # nor a link to one: /bin
                    file.unlink(missing_ok=True)


def _release_package(distribution: Distribution, folder: Path) -> None:
    """The package by which dnf knows $releasever."""
    spec = folder / "release.spec"
    spec.write_text(
        f"Name: {distribution.release_package}\nVersion: {distribution.version}\nRelease: 1.el{distribution.major}\n"
        f"Summary: release files\nLicense: none\nBuildArch: noarch\nAutoReqProv: no\n"
        f"Provides: system-release = {distribution.version}\n"
        f"Provides: system-release(releasever) = {distribution.major}\n"
        f"%description\nStands for {distribution.name}'s.\n%files\n"
    )
    run("rpmbuild", "-bb", "--quiet", "--define", f"_rpmdir {folder}", "--define", f"_topdir {folder}/top",
        "--define", "_build_name_fmt %%{NAME}.rpm", "--define", f"_dbpath {folder}/top/db", str(spec))  # fmt: skip
    spec.unlink()
    shutil.rmtree(folder / "top", ignore_errors=True)


def _release_files(distribution: Distribution, target: Path) -> None:
    version = distribution.version
    os_release = {
        "NAME": distribution.name,
        "VERSION": f"{version}{distribution.pretty_suffix}",
        "ID": distribution.id,
        "ID_LIKE": distribution.id_like,
        "VERSION_ID": version,
        "PLATFORM_ID": f"platform:el{distribution.major}",
        "PRETTY_NAME": f"{distribution.name} {version}{distribution.pretty_suffix}",
        "CPE_NAME": f"cpe:/o:{distribution.id}:{distribution.id}:{version}",
    }
    (target / "etc/os-release").unlink(missing_ok=True)
    (target / "usr/lib/os-release").write_text("".join(f'{key}="{value}"\n' for key, value in os_release.items()))
    (target / "etc/os-release").symlink_to("../usr/lib/os-release")
    line = f"{distribution.name} release {version}{distribution.pretty_suffix}\n"
    own = f"{distribution.id}-release"
    (target / "etc" / own).write_text(line)
    for name in ("redhat-release", "system-release"):
        (target / "etc" / name).symlink_to(own)


def _package_manager(distribution: Distribution, target: Path) -> None:
    (target / "etc/dnf/dnf.conf").write_text(
        "[main]\ngpgcheck=1\ninstallonly_limit=3\nclean_requirements_on_remove=True\nbest=True\nskip_if_unavailable=False\n"
    )
    plugins = target / "etc/dnf/plugins"
    plugins.mkdir(exist_ok=True)
    (plugins / "local.conf").write_text("[main]\nenabled=0\n")
    # Debian 13's cannot be loaded: nothing there depends on the module that it needs.
    (target / "usr/lib/python3/dist-packages/dnf-plugins/system_upgrade.py").unlink(missing_ok=True)
    # The doubles are not signed.
    sections = [
        f"[{name}]\nname={distribution.name} $releasever - {name}\nbaseurl=file:///{MIRROR}/{name}\n"
        f"enabled={0 if name == 'crb' else 1}\ngpgcheck=0\nmetadata_expire=1h\n"
        for name in doubles.REPOSITORIES
    ]
    folder = target / "etc/yum.repos.d"
    folder.mkdir(exist_ok=True)
    (folder / distribution.repository_file).write_text("\n".join(sections))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
