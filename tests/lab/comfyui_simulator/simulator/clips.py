"""What flows between nodes here: sizes, texts and seeds in the place of tensors."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Picture:
    """Frames, decoded or latent; width and height in pixels."""

    width: int
    height: int
    frames: int
    colour: int = 0
    text: str = ""
    seeds: tuple[int, ...] = ()

    def scaled(self, factor: float) -> "Picture":
        return replace(self, width=round(self.width * factor), height=round(self.height * factor))

    def sampled(self, text: str, seed: int) -> "Picture":
        return replace(self, text=text, seeds=(*self.seeds, seed))


@dataclass(frozen=True)
class Sound:
    seconds: float


@dataclass(frozen=True)
class PictureAndSound:
    """The joint latent of LTX-2."""

    picture: Picture
    sound: Sound


@dataclass(frozen=True)
class Video:
    picture: Picture
    fps: float
    sound: Sound | None
