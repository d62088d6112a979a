"""Parts of faults of the environment: shell commands that make one on the box, and undo it."""

AWAY = "/run/lab-away"  # what a fault replaces is kept there meanwhile
PCI = "/sys/bus/pci/devices"


def script(path: str, *lines: str) -> str:
    """A program of that path, in POSIX shell."""
    text = "\n".join(("#!/bin/sh", *lines))
    return f"cat > {path} <<'END_OF_SCRIPT'\n{text}\nEND_OF_SCRIPT\nchmod 755 {path}"


def meminfo(total: int, available: int, swap: int = 0) -> dict[str, str]:
    """The kernel's own account of memory, in MB, as a virtual machine or lxcfs would show it."""
    sizes = {"MemTotal": total, "MemAvailable": available, "SwapTotal": swap, "SwapFree": swap}
    sed = ";".join(f"s/^{name}: .*/{name}: {size * 1000} kB/" for name, size in sizes.items())
    return {
        "make": f"sed '{sed}' /proc/meminfo > {AWAY} && mount --bind {AWAY} /proc/meminfo",
        "undo": f"umount /proc/meminfo; rm {AWAY}",
    }


def clock(seconds: int, more: str = ":") -> dict[str, str]:
    """A date that is off: the kernel's clock is that of the whole machine."""
    date = "/usr/local/bin/date"
    fake = script(date, f'exec /usr/bin/date -d @$(($(/usr/bin/date +%s) + {seconds})) "$@"')
    return {"make": f"{fake}\n{more}", "undo": f"rm -rf {date} /run/systemd/timesync"}


def context(home: str, endpoint: str) -> dict[str, str]:
    """A context of docker that is in use, as `docker context create` and `docker context use` write it."""
    meta = f'{{"Name":"other","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{endpoint}","SkipTLSVerify":false}}}}}}'
    config = '{\n\t"auths": {},\n\t"currentContext": "other"\n}'
    folder = f"{home}/.docker/contexts/meta/x"
    return {
        "make": f"mkdir -p {folder} && echo '{meta}' > {folder}/meta.json\n"
        f"echo '{config}' > {home}/.docker/config.json",
        "undo": f"rm -r {home}/.docker",
    }


def gpu(said: str = "", code: int = 0, driver: str = "nvidia", loaded: str = "580.95.05") -> dict[str, str]:
    """A card on the PCI bus, its driver, and an nvidia-smi that says what the real one does."""
    card = f"{PCI}/0000:01:00.0"
    make = [
        f"mount -t tmpfs lab {PCI} && mkdir {card} && echo 0x10de > {card}/vendor && echo 0x030000 > {card}/class",
        f"ln -s ../drivers/{driver} {card}/driver",
    ]
    undo = [f"umount {PCI}", "rm -f /usr/local/bin/nvidia-smi"]
    if loaded:
        make += [
            "mount -t tmpfs lab /sys/module && mkdir /sys/module/nvidia",
            f"echo {loaded} > /sys/module/nvidia/version",
        ]
        undo += ["umount /sys/module"]
    if said:
        make += [script("/usr/local/bin/nvidia-smi", "cat <<'END'", said, "END", f"exit {code}")]
    return {"make": "\n".join(make), "undo": "; ".join(undo)}
