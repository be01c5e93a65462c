"""install - Debian packages of peers and real programs; starts none of their services.

As root, or where sudo asks no password; elsewhere one line says what to install.
"""
import os
import shutil
import subprocess
import sys

POLICY = "/usr/sbin/policy-rc.d"


def root_words():
    """What makes a command run as root: [], ["sudo", "-n"], or None where nothing does."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and not subprocess.run(["sudo", "-n", "true"], check=False,
                                                   stderr=subprocess.DEVNULL).returncode:
        return ["sudo", "-n"]
    return None


def apt(prefix, *words):
    return subprocess.run(
        [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y",
         "-o", "DPkg::Lock::Timeout=60", *words], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def packages(names, what):
    """Installs NAMES; says what could not be."""
    if not names:
        return
    prefix = root_words()
    if prefix is None or not shutil.which("apt-get"):
        print(f"run: {what} not installed; as root: apt-get install {' '.join(names)}",
              file=sys.stderr)
        return
    print(f"run: installing {' '.join(names)}", file=sys.stderr, flush=True)
    policy = prefix == [] and not os.path.exists(POLICY)
    if policy:    # else a server's package would start its service
        with open(POLICY, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nexit 101\n")
        os.chmod(POLICY, 0o755)
    try:
        install = ("install", "--no-install-recommends")
        if apt(prefix, *install, *names):
            return
        apt(prefix, "update")
        for name in names:
            if not apt(prefix, *install, name):
                print(f"run: {name} could not be installed", file=sys.stderr)
    finally:
        if policy:
            os.unlink(POLICY)


def programs():
    from real import works
    packages(works.packages_missing(), "real programs")
