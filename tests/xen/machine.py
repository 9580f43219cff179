# SPDX-License-Identifier: ISC
"""A machine with a Xen on it: the packages it is made of, the two systems in memory that it boots, and QEMU.

Everything comes from the packages of this Debian, fetched once into a folder of $XDG_CACHE_HOME and unpacked there:
nothing is installed, and no rights are needed. QEMU emulates the processor (or uses KVM where the processor has vmx
or svm: Xen does not boot without), Xen runs on it, a Linux as dom0 and another one as a guest without hardware.
"""

import glob
import gzip
import lzma
import os
import re
import shutil
import stat
import subprocess

MODULES = ["xen-privcmd", "xenfs", "xen-evtchn", "xen-gntdev", "xen-gntalloc"]
TOOLS = ["xenstored", "xenconsoled", "xen-init-dom0", "xl", "vchan-socket-proxy", "lsevtchn"]


class Missing(Exception):
    """Why there can be no such machine here."""


def output(*words, **more):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
                          **more).stdout


def cache():
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "conduit-xen")


# ---- packages

def depends(package):
    return re.findall(r"^ *Depends: ([\w.+-]+)$", output("apt-cache", "depends", package), re.M)


def packages():
    kernels = [name for name in depends("linux-image-amd64") if name.startswith("linux-image-")]
    xens = [name for name in depends("xen-system-amd64") if name.startswith("xen-hypervisor-")]
    if not kernels or not xens:
        raise Missing("apt knows no linux-image-amd64 or no xen-system-amd64")
    version = re.sub(r"xen-hypervisor-(.*)-amd64", r"\1", xens[0])
    libraries = [name for name in depends("libxen-dev") if name.startswith("libxen")]
    # What QEMU needs and this machine has not: as apt would install it.
    plan = output("apt-get", "-s", "-qq", "install", "--no-install-recommends", "qemu-system-x86")
    return sorted({kernels[0], xens[0], f"xen-utils-{version}", "xenstore-utils", "libxen-dev", *libraries, "libyajl2",
                   "busybox-static", "qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios",
                   *re.findall(r"^Inst (lib\S+)", plan, re.M)})


def unpack(package, root):
    if not os.path.basename(package).startswith("linux-image-"):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
        return
    # 400 MB unpacked, and hardly any of it is needed.
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", root, "--wildcards", "./boot/vmlinuz-*",
                        "./lib/modules/*/kernel/drivers/xen/*"], stdin=archive.stdout, check=True)


def plain_kernel(root, to):
    """The kernel without its compression, which an emulated processor takes ten seconds to undo."""
    with open(glob.glob(root + "/boot/vmlinuz-*")[0], "rb") as file:
        packed = file.read()
    whole = lzma.LZMADecompressor().decompress(packed[packed.index(b"\xfd7zXZ\0"):])
    with open(to, "wb") as file:
        file.write(whole)


def fetch(folder, seconds):
    """Fill the cache, unless it has been. The folder is complete only under its final name."""
    if os.path.exists(folder + "/ready"):
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Missing("no apt-get, or no dpkg-deb")
    fresh = f"{folder}.{os.getpid()}"
    os.makedirs(fresh + "/tree")
    try:
        words = ["apt-get", "-qq", "-o", "APT::Sandbox::User=" + output("id", "-un").strip(), "download", *packages()]
        done = subprocess.run(words, cwd=fresh, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=seconds, check=False)
        if done.returncode != 0:
            raise Missing("the packages cannot be had: " + (done.stdout.strip().splitlines() or ["?"])[-1])
        for package in glob.glob(fresh + "/*.deb"):
            unpack(package, fresh + "/tree")
            os.unlink(package)
        plain_kernel(fresh + "/tree", fresh + "/vmlinux")
        with gzip.open(glob.glob(fresh + "/tree/boot/xen-*-amd64.gz")[0]) as packed, \
                open(fresh + "/xen", "wb") as plain:
            shutil.copyfileobj(packed, plain)
        open(fresh + "/ready", "w", encoding="ascii").close()
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(fresh, folder)
    except subprocess.TimeoutExpired:
        raise Missing(f"the packages did not come within {seconds} s") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


# ---- systems

def libraries(programs, path):
    """Every shared library that `programs` load, with the folders of `path` before the system's."""
    text = output("ldd", *programs, env={**os.environ, "LD_LIBRARY_PATH": path})
    found = set(re.findall(r"=> (/\S+)", text)) | set(re.findall(r"^\s+(/\S+) \(", text, re.M))
    return found | {output("gcc", "-print-file-name=libgcc_s.so.1").strip()}  # for pthread_cancel, by dlopen


class Initramfs:
    """A system in memory, written as cpio's "newc"."""

    def __init__(self, path):
        self.file = open(path, "wb")  # not compressed: that would be for the emulated processor to undo
        self.folders, self.number = set(), 0

    def put(self, name, mode, data=b""):
        parent = os.path.dirname(name)
        if parent and parent not in self.folders:
            self.folders.add(parent)
            self.put(parent, stat.S_IFDIR | 0o755)
        self.number += 1
        fields = [self.number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        self.file.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def copy(self, source, name=None, mode=0o755):
        with open(source, "rb") as file:
            self.put(name or source.lstrip("/"), stat.S_IFREG | mode, file.read())

    def close(self):
        self.put("TRAILER!!!", 0)
        self.file.close()


def strip(source, folder):
    bare = os.path.join(folder, os.path.basename(source))
    if subprocess.run(["strip", "-s", "-o", bare, os.path.realpath(source)], stderr=subprocess.DEVNULL,
                      check=False).returncode != 0:
        shutil.copyfile(os.path.realpath(source), bare)
    return bare


def make_system(path, root, programs, scripts, extra, scratch):
    """busybox, the Xen modules, `programs` with their libraries in /bin, `scripts` beside them, `extra` files."""
    private = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"
    system = Initramfs(path)
    system.copy(root + "/bin/busybox", "bin/busybox")
    for module in MODULES:
        found = glob.glob(f"{root}/lib/modules/*/kernel/drivers/xen/**/{module}.ko", recursive=True)
        system.copy(found[0], f"modules/{module}.ko")
    for program in programs:
        system.copy(strip(program, scratch), "bin/" + os.path.basename(program))
    for library in libraries(programs, private):
        where = "lib64/" if os.path.basename(library).startswith("ld-linux") else "lib/x86_64-linux-gnu/"
        system.copy(strip(library, scratch), where + os.path.basename(library))
    for name in ("xenstore-read", "xenstore-write", "xenstore-ls", "xenstore-rm", "xenstore-chmod", "xenstore-exists"):
        system.put("bin/" + name, stat.S_IFLNK | 0o777, b"xenstore")
    for script in scripts:
        system.copy(script, os.path.basename(script))
    for name, source in extra.items():
        system.copy(source, name, 0o600)
    system.close()


# ---- the machine

def has_hardware():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        return re.search(r"\b(vmx|svm)\b", file.read()) is not None and os.access("/dev/kvm", os.W_OK)


def start(folder, initramfs, words, memory, processors):
    """QEMU, with the console of dom0 on its standard output. A comma in -initrd is between modules."""
    root = folder + "/tree"
    libs = f"{root}/usr/lib/x86_64-linux-gnu"
    accel = ["-accel", "kvm", "-cpu", "host"] if has_hardware() else ["-accel", "tcg"]
    command = [
        root + "/usr/bin/qemu-system-x86_64", "-L", root + "/usr/share/qemu", "-L", root + "/usr/share/seabios",
        "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none", "-serial", "stdio",
        *accel, "-m", str(memory), "-smp", str(processors), "-kernel", folder + "/xen",
        "-append", "console=com1 com1=115200,8n1 dom0_mem=640M,max:640M dom0_max_vcpus=1 bootscrub=0 spec-ctrl=no "
                   "xpti=0 gnttab_max_frames=256",
        "-initrd", f"{folder}/vmlinux console=hvc0 quiet mitigations=off panic=1 rdinit=/init {words},{initramfs}",
    ]
    env = {**os.environ, "LD_LIBRARY_PATH": f"{libs}:{root}/lib/x86_64-linux-gnu", "QEMU_MODULE_DIR": libs + "/qemu"}
    return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
