"""The GPU of a host: which part of the way from the card to a program is missing."""

from collections.abc import Iterator

from deploys.finding import Finding, Severity
from facts.environment import Gpu
from facts.fitness import HostState

# What the video studio runs with: LTX-2 on a card sold with 24 GB, PyTorch for CUDA 13.
MEMORY = 22_000  # MiB
MEMORY_OF = {"32gb": 30_000}  # by settings.comfyui.profile, where it is more
DRIVER = 580  # major version
CAPABILITY = (7, 5)
MISMATCH = "Driver/library version mismatch"


def findings(
    name: str, now: HostState, *, studio: bool, containers: bool, profile: str = ""
) -> Iterator[Finding]:
    """`studio`: ComfyUI renders with the GPU. `containers`: one of ours gets it. Neither starts without it."""
    gpu = now.environment.gpu
    broken = _broken(name, now, gpu)
    if broken:
        what, id_, fix, cause = broken
        yield Finding(name, id_, what, fix, cause=cause)
        return
    if containers and not gpu.toolkit:
        yield Finding(
            name,
            "gpu-toolkit",
            "the NVIDIA container toolkit is missing, so no container can get the GPU",
            "install nvidia-container-toolkit from NVIDIA's repository and run: nvidia-ctk runtime configure "
            "--runtime=docker && systemctl restart docker; or set settings.ollama.gpu to false",
            cause=f"the driver is fine ({gpu.said[0].strip()}); settings.ollama.gpu asks for the GPU in a container",
        )
    if studio:
        yield from _cards(name, gpu, MEMORY_OF.get(profile, MEMORY))


def _broken(name: str, now: HostState, gpu: Gpu) -> tuple[str, str, str, str] | None:
    """(what, id, fix, cause) of the first thing on the way that is missing; None when nvidia-smi answers."""
    said = " ".join(" ".join(gpu.said).split())
    if gpu.code == 0 and said and "No devices were found" not in said:
        return None
    ubuntu = now.os.startswith("ubuntu")
    if MISMATCH in said:
        return (
            f"the driver that runs ({gpu.loaded or 'unknown'}) is not the one that is installed",
            "gpu-mismatch",
            "reboot: an upgrade of the driver takes effect then",
            said,
        )
    if not gpu.devices and not gpu.loaded:
        return (
            "has no NVIDIA GPU: none is on its PCI bus",
            "gpu-none",
            "take the host out of groups.gpu (and set settings.ollama.gpu to false); for a trial without one set "
            "settings.comfyui.profile to cpu; in a virtual machine, have the card passed through",
            "",
        )
    drivers = sorted(set(gpu.devices.values()) - {"nvidia"})
    if not gpu.loaded:
        packages = "ubuntu-drivers install --gpgpu" if ubuntu else "apt-get install nvidia-driver (from non-free)"
        fix, cause = f"{packages}, and reboot", "no driver of NVIDIA is installed"
        if gpu.installed:
            fix = "modprobe nvidia, and read what it says; with Secure Boot, enrol the key: mokutil --sb-state"
            cause = f"the driver {gpu.installed} is installed and not loaded"
        elif "vfio-pci" in drivers:
            fix, cause = "take it out of vfio-pci's configuration", "it is set aside for virtual machines (vfio-pci)"
        elif "nouveau" in drivers:
            cause += "; nouveau drives it, which is not enough"
        return f"there is a GPU ({', '.join(gpu.devices)}) and no NVIDIA driver in use", "gpu-driver", fix, cause
    if gpu.code is None:
        major = gpu.loaded.partition(".")[0]
        fix = f"apt-get install nvidia-utils-{major}" if ubuntu else "apt-get install nvidia-smi (from non-free)"
        return f"the driver {gpu.loaded} runs, and the command nvidia-smi is missing", "gpu-tool", fix, ""
    if "compute_cap" in said:
        return (
            f"the driver {gpu.loaded} is so old that it does not tell the compute capability",
            "gpu-driver-old",
            f"install driver {DRIVER} or newer",
            said,
        )
    cause = "it gave no answer in 20 s" if gpu.code == 124 else said
    return (
        f"the driver {gpu.loaded} runs, and nvidia-smi fails with exit code {gpu.code}",
        "gpu-failed",
        "look at: dmesg | grep -i -e NVRM -e Xid; a card that fell off the bus comes back with a reboot",
        cause,
    )


def _cards(name: str, gpu: Gpu, needed: int) -> Iterator[Finding]:
    cards = [[word.strip() for word in line.split(",")] for line in gpu.said if line.count(",") >= 4]
    if not cards:
        yield Finding(
            name,
            "gpu-failed",
            f"nvidia-smi gave an answer that cannot be understood: {' '.join(gpu.said)[:200]!r}",
            "run nvidia-smi on the host, and report it as a bug",
            severity=Severity.WARNING,
        )
        return

    def warn(id_: str, what: str, fix: str) -> Finding:
        return Finding(name, id_, what, fix, severity=Severity.WARNING)

    # The best card counts. What a card does not tell, such as [N/A] for shared memory, is taken for enough.
    memory = [int(card[-3]) if card[-3].isdecimal() else needed for card in cards]
    best = memory.index(max(memory))
    *_, driver, capability = cards[best]
    card = f"GPU {cards[best][0]} ({', '.join(cards[best][1:-3])})"
    if memory[best] < needed:
        yield warn(
            "gpu-memory",
            f"{card} has {memory[best]} MiB of memory; video generation is set for {needed} MiB or more",
            "for a card with 24 GB set settings.comfyui.profile to 24gb; with a smaller one expect it to be slow, or "
            "to fail for want of memory",
        )
    major = driver.partition(".")[0]
    if major.isdecimal() and int(major) < DRIVER:
        yield warn(
            "gpu-driver-old",
            f"{card} has driver {driver}; CUDA 13 needs {DRIVER} or newer",
            f"install driver {DRIVER} or newer, and reboot",
        )
    parts = capability.split(".")
    if all(part.isdecimal() for part in parts) and tuple(map(int, parts)) < CAPABILITY:
        oldest = ".".join(map(str, CAPABILITY))
        yield warn(
            "gpu-capability",
            f"{card} has compute capability {capability}; CUDA 13 needs {oldest} or newer",
            "use a newer card (Turing, of 2018, or later)",
        )
