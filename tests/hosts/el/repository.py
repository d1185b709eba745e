"""A dnf repository of RPM doubles: Debian's programs under EL's names, at EL's paths."""

import fnmatch
import os
import shutil
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.hosts.el.debs import Kitchen
from tests.hosts.el.doubles import REPOSITORIES, Double, load
from tests.hosts.shell import run

# Of no use on a test host, or of Debian's own ways.
_NEVER = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/lintian/*", "/usr/share/bug/*", "/usr/share/info/*",
          "/usr/share/locale/*", "/usr/share/doc-base/*", "/usr/share/menu/*", "/usr/share/apport/*", "/etc/init.d/*",
          "/etc/apparmor.d/*", "/etc/ufw/*", "/usr/share/python3/runtime.d/*",
          "/usr/share/bash-completion/*")  # fmt: skip
_MERGED = ("/bin", "/sbin", "/lib", "/lib64")  # links into /usr on every system of today

_UNITS_ON = (
    "if [ $1 -eq 1 ]; then systemctl preset {units} >/dev/null 2>&1; fi; systemctl daemon-reload >/dev/null 2>&1; :"
)
_UNITS_OFF = "if [ $1 -eq 0 ]; then systemctl disable --now {units} >/dev/null 2>&1; fi; :"
_USER = (
    "getent group {name} >/dev/null || groupadd -r {name}\n"
    "getent passwd {name} >/dev/null || useradd -r -g {name} -d {home} -s /sbin/nologin {name}"
)


def build(major: int, base: Path, cache: Path, target: Path) -> None:
    """Make the repositories of EL `major` below `target`: baseos, appstream, crb and `installed`.

    Args:
        major: 9 or 10.
        base: the Debian root the RPMs are to be installed into.
        cache: where downloaded Debian packages are kept.
        target: a folder that does not exist yet.
    """
    with tempfile.TemporaryDirectory(prefix=f"el{major}-", dir=cache) as unpacked:
        _build(major, Kitchen(base, cache / "debs", Path(unpacked)), target)
    for name in REPOSITORIES:
        run("createrepo_c", "--quiet", str(target / name))


def _build(major: int, kitchen: Kitchen, target: Path) -> None:
    doubles, leave_out = load(major)
    carried = {name: double for name, double in doubles.items() if not double.installed}
    named = {deb for double in carried.values() for deb in double.debs}
    owners = {deb: [name for name, double in carried.items() if deb in double.debs] for deb in named}

    needs: dict[str, list[str]] = {}
    for name, double in carried.items():
        needs[name] = kitchen.needs(double.debs, leave_out) if double.debs else []
    helpers = {deb for debs in needs.values() for deb in debs} - named - kitchen.installed
    folders = kitchen.fetch(named | helpers | {deb for double in doubles.values() for deb in double.debs[:1]})

    jobs: list[tuple[Double, str, dict[str, Path], set[str]]] = []
    for name, double in doubles.items():
        version = kitchen.version(folders[double.debs[0]]) if double.debs else "1"
        requires = set(double.requires)
        for deb in needs.get(name, []):
            requires |= {f"debian-{deb}"} if deb in helpers else set()
            requires |= set(owners[deb]) if deb in owners and deb not in double.debs else set()
        sources = {} if double.installed else {deb: folders[deb] for deb in double.debs}
        jobs.append((double, version, sources, requires - {name}))
    for deb in sorted(helpers):
        helper = Double(f"debian-{deb}", without=["/etc/cron*"])
        jobs.append((helper, kitchen.version(folders[deb]), {deb: folders[deb]}, set()))

    for name in (*REPOSITORIES, "installed"):
        (target / name).mkdir(parents=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(lambda job: _rpm(major, kitchen.base, target, *job), jobs))


def _rpm(
    major: int, base: Path, target: Path, double: Double, version: str, sources: dict[str, Path], requires: set[str]
) -> None:
    with tempfile.TemporaryDirectory(prefix="double-") as name:
        work = Path(name)
        tree = work / "tree"
        tree.mkdir()
        if not double.installed:
            _fill(double, sources, tree)
        spec = work / "double.spec"
        spec.write_text(_spec(major, base, double, version, requires, tree))
        run(
            "rpmbuild", "-bb", "--quiet", "--target", "x86_64",
            "--define", f"_topdir {work}/top", "--define", f"_rpmdir {work}/rpms",
            "--define", "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
            "--define", "_build_id_links none", "--define", "debug_package %{nil}", "--define", "_buildshell /bin/bash",
            "--define", "__os_install_post %{nil}", "--define", "_binary_payload w3.zstdio",
            "--define", f"_dbpath {work}/db", str(spec),
        )  # fmt: skip
        for file in (work / "rpms").rglob("*.rpm"):
            shutil.move(file, target / ("installed" if double.installed else double.repository) / file.name)


def _fill(double: Double, sources: dict[str, Path], tree: Path) -> None:
    for source in sources.values():
        for folder, inner, names in os.walk(source):
            for name in (*inner, *names):
                file = Path(folder) / name
                if name in inner and not file.is_symlink() and any(file.iterdir()):
                    continue  # a folder comes with what is in it; only an empty one is worth something itself
                path = _merged("/" + str(file.relative_to(source)))
                if _wanted(double, path):
                    _copy(file, tree / _moved(double, path).lstrip("/"))
    for path, points_to in double.links.items():
        link = tree / path.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(points_to)
    if double.files.is_dir():
        for file in double.files.rglob("*"):
            if file.is_file():
                _copy(file, tree / file.relative_to(double.files))


def _wanted(double: Double, path: str) -> bool:
    if any(fnmatch.fnmatch(path, pattern) for pattern in (*_NEVER, *double.without)):
        return False
    return not double.only or any(fnmatch.fnmatch(path, pattern) for pattern in double.only)


def _merged(path: str) -> str:
    return f"/usr{path}" if path.startswith(tuple(f"{folder}/" for folder in _MERGED)) else path


def _moved(double: Double, path: str) -> str:
    for before, after in double.move.items():
        if path == before or path.startswith(f"{before}/"):
            return after + path.removeprefix(before)
    return path


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.is_symlink():
        target.unlink(missing_ok=True)
        target.symlink_to(os.readlink(file))
    elif file.is_dir():
        target.mkdir(exist_ok=True)
        shutil.copystat(file, target)
    else:
        target.unlink(missing_ok=True)
        shutil.copy2(file, target)


def _spec(major: int, base: Path, double: Double, version: str, requires: set[str], tree: Path) -> str:
    release = "1" if double.name.startswith("debian-") else f"1.el{major}"
    lines = [
        f"Name: {double.name}",
        f"Version: {version.replace('-', '_')}",
        f"Release: {release}",
        f"Summary: {double.name}, a double made of Debian packages",
        "License: that of the Debian packages",
        "AutoReqProv: no",
        *(f"Requires: {name}" for name in sorted(requires)),
        *(f"Provides: {name}" for name in double.provides),
        "%description",
        "Stands for the package of this name on the EL-shaped test hosts.",
        "%install",
        f"cp -a {tree}/. %{{buildroot}}/",
        *(f"mkdir -p %{{buildroot}}{folder}" for folder in double.folders),
    ]
    if double.user:
        lines += ["%pre", _USER.format(name=double.user[0], home=double.user[1])]
    if double.units:
        units = " ".join(double.units)
        lines += ["%post", _UNITS_ON.format(units=units), "%preun", _UNITS_OFF.format(units=units)]
    lines += [
        "%files",
        *(_entry(base, tree, file) for file in sorted(tree.rglob("*")) if _own(base, tree, file, double)),
    ]
    for folder, (mode, owner, group) in double.folders.items():
        lines.append(f'%attr({mode},{owner},{group}) %dir "{folder}"')
    return "\n".join(lines) + "\n"


def _own(base: Path, tree: Path, file: Path, double: Double) -> bool:
    """A package names its files, and the folders that neither the system nor `folders` has."""
    path = "/" + str(file.relative_to(tree))
    if not file.is_dir() or file.is_symlink():
        return True
    return path not in double.folders and not (base / path.lstrip("/")).exists()


def _entry(base: Path, tree: Path, file: Path) -> str:
    path = str(file.relative_to(tree)).replace("%", "%%")
    facts = file.lstat()
    kind = "%dir " if stat.S_ISDIR(facts.st_mode) else "%config(noreplace) " if path.startswith("etc/") else ""
    rights = "-" if stat.S_ISLNK(facts.st_mode) else f"{stat.S_IMODE(facts.st_mode):o}"
    return f'%attr({rights},root,root) {kind}"/{path}"'
