"""predict.py with videos and cameras, a DFF of random weights and clips of a few small frames."""

import itertools
import os
import shutil
import struct
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from helpers.tiny_nets import SEG, registered, save_tiny

import predict
from data import errors as cli
from data.edges import decode_png
from data.errors import InputError
from data.image_io import read_image, read_index, write_png
from utils.inference import load
from utils.prediction import outputs as outputs_module
from utils.prediction.video import encoders
from utils.prediction.video import run as run_module

SIZE = (48, 64)
BACKGROUND = cv2.GaussianBlur(
    np.random.default_rng(3).integers(0, 256, (*SIZE, 3)).astype(np.uint8), (0, 0), 3
)


@pytest.fixture(scope="module")
def nets(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("nets")
    save_tiny(folder / "edge.pth")
    save_tiny(folder / "seg.pth", SEG)
    return {name: folder / f"{name}.pth" for name in ("edge", "seg")}


@pytest.fixture(autouse=True)
def tiny_nets() -> Iterator[None]:
    with registered():
        yield


def drawn_frames(count: int = 12, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """A disc that moves over a smooth background: uint8 (H, W, 3), RGB."""
    frames = []
    for number in range(count):
        frame = cv2.resize(BACKGROUND, size[::-1])
        frames.append(cv2.circle(frame, (8 + 4 * number, 24), 7, (250, 220, 40), -1))
    return frames


def write_clip(
    path: Path,
    frames: list[np.ndarray],
    rate: Fraction = Fraction(30000, 1001),
    times: list[float] | None = None,
) -> Path:
    """H.264 at a constant rate, or with a time for each frame, in seconds."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "8"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv444p"  # odd sizes, too
        step = 1 / rate if times is None else Fraction(1, 90000)
        stream.codec_context.time_base = step
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number if times is None else round(times[number] / step)
            frame.time_base = step
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read_clip(path: Path) -> tuple[list[np.ndarray], list[float], Any]:
    """Frames, RGB, their times in seconds, and PyAV's stream."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert len(container.streams) == 1  # no sound
        frames = list(container.decode(video=0))
        times = [float(frame.pts * frame.time_base) for frame in frames]
        info = {
            "codec": stream.codec_context.name,
            "format": stream.codec_context.pix_fmt,
            "rate": stream.average_rate,
            "seconds": float(stream.duration * stream.time_base),
        }
        return [frame.to_ndarray(format="rgb24") for frame in frames], times, info


def run(net: Path, out: Path, *words: object) -> int:
    argv = [*words, "--checkpoint", net, "--out", out, "--device", "cpu"]
    return predict.main(predict.parse_args([str(word) for word in argv]))


def outputs(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


# --- what goes in comes out ---


@pytest.mark.parametrize("task", ["edge", "seg"])
def test_a_clip_becomes_its_overlay(nets, tmp_path, capsys, task):
    """Frames counted, rate kept, and each like the overlay of that frame alone."""
    clip = write_clip(tmp_path / "clip.mp4", drawn_frames())
    assert run(nets[task], tmp_path / "out", clip) == 0
    assert outputs(tmp_path / "out") == ["clip_overlay.mp4"]
    said = capsys.readouterr()
    assert f"1 of 1 videos (12 frames) predicted: see {tmp_path / 'out'}" in said.out
    assert not said.err
    frames, times, info = read_clip(tmp_path / "out/clip_overlay.mp4")
    assert (info["codec"], info["format"]) == ("h264", "yuv420p")
    assert info["rate"] == Fraction(30000, 1001)
    np.testing.assert_allclose(times, [k * 1001 / 30000 for k in range(12)], atol=1e-5)
    assert info["seconds"] == pytest.approx(12 * 1001 / 30000, abs=1e-3)  # in its header: ms
    for number, image in enumerate(read_clip(clip)[0]):
        write_png(tmp_path / "frames" / f"{number:02d}.png", image)
    assert run(nets[task], tmp_path / "single", tmp_path / "frames") == 0
    singles = [read_image(tmp_path / f"single/{k:02d}_overlay.png") for k in range(12)]
    assert frames[0].shape == (*SIZE, 3)
    for number, (frame, single) in enumerate(zip(frames, singles, strict=True)):
        assert difference(frame, single) < 6, number
    # Nearer to its own overlay than to that of any other frame: none is lost or doubled.
    nearest = [np.argmin([difference(frame, single) for single in singles]) for frame in frames]
    assert nearest == list(range(12))


def test_the_index_is_at_the_front_of_the_file(nets, tmp_path):
    """Players in browsers begin before they have all of it."""
    clip = write_clip(tmp_path / "clip.mp4", drawn_frames(3))
    run(nets["edge"], tmp_path / "out", clip)
    content = (tmp_path / "out/clip_overlay.mp4").read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")


def test_frames_keep_their_times_where_the_rate_varies(nets, tmp_path):
    times = [0, 0.04, 0.1, 0.11, 0.3, 0.5, 0.52, 0.53]
    clip = write_clip(tmp_path / "clip.mkv", drawn_frames(8), times=times)
    assert run(nets["edge"], tmp_path / "out", clip) == 0
    np.testing.assert_allclose(read_clip(tmp_path / "out/clip_overlay.mp4")[1], times, atol=0.001)


def test_odd_sides_get_a_pixel_more(nets, tmp_path):
    clip = write_clip(tmp_path / "odd.mp4", drawn_frames(3, (47, 63)))
    assert run(nets["edge"], tmp_path / "out", clip) == 0
    frames, _, _ = read_clip(tmp_path / "out/odd_overlay.mp4")
    assert frames[0].shape == (48, 64, 3)
    doubled = encoders.even_sides(np.arange(9, dtype=np.uint8).reshape(3, 3))
    assert doubled.tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [6, 7, 8, 8], [6, 7, 8, 8]]


def test_a_phone_s_video_is_upright(nets, tmp_path):
    """The matrix in the header of an MP4's track turns by 90 degrees (ISO 14496-12, 8.3.2)."""
    clip = write_clip(tmp_path / "clip.mp4", drawn_frames(3))
    content = bytearray(clip.read_bytes())
    matrix = content.find(b"tkhd") + 4 + 40  # version 0
    assert struct.unpack_from(">9i", content, matrix)[0] == 0x10000
    turn = (0, 0x10000, 0, -0x10000, 0, 0, SIZE[0] << 16, 0, 0x40000000)
    struct.pack_into(">9i", content, matrix, *turn)
    clip.write_bytes(content)
    assert run(nets["edge"], tmp_path / "out", clip) == 0
    frames, _, _ = read_clip(tmp_path / "out/clip_overlay.mp4")
    assert frames[0].shape == (64, 48, 3)
    upright = np.rot90(drawn_frames(1)[0], -1)
    faded = 0.25 * upright + 0.45 * cv2.cvtColor(upright, cv2.COLOR_RGB2GRAY)[:, :, None] + 76
    assert difference(frames[0], faded) < difference(frames[0], faded[::-1])


def test_drawings_have_a_legend_of_one_size(nets, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", drawn_frames(3))
    flags = ("--no-overlay", "--side-by-side", "--max-frames", 2)
    assert run(nets["edge"], tmp_path / "out", clip, *flags) == 0
    assert outputs(tmp_path / "out") == ["clip_edges.mp4", "clip_side_by_side.mp4"]
    for name, width in (("edges", 64), ("side_by_side", 130)):
        frames, _, _ = read_clip(tmp_path / f"out/clip_{name}.mp4")
        assert len(frames) == 2
        assert frames[0].shape[0] > SIZE[0]
        assert frames[0].shape[1] >= width


def test_single_frames_are_files_where_that_is_asked_for(nets, tmp_path, capsys):
    clip = write_clip(tmp_path / "clip.mp4", drawn_frames(2))
    assert run(nets["edge"], tmp_path / "bits", clip, "--save-bits") == 0
    assert outputs(tmp_path / "bits") == [
        *(f"bits/clip/00000{k}.png" for k in (1, 2)),
        "clip_overlay.mp4",
    ]
    predictor = load(nets["edge"], "cpu")
    expected = predictor.edges(read_clip(clip)[0][1])
    found = decode_png(read_image(tmp_path / "bits/bits/clip/000002.png"))
    # OpenCV and PyAV turn YUV to RGB with slightly different rounding.
    assert np.mean((found[None] >> np.arange(len(expected))[:, None, None] & 1) == expected) > 0.95
    assert run(nets["seg"], tmp_path / "seg", clip, "--save-frames") == 0
    kinds = ("clip/{}_colors.png", "clip/{}_overlay.png", "labels/clip/{}.png")
    names = [kind.format(f"00000{k}") for kind in kinds for k in (1, 2)]
    assert outputs(tmp_path / "seg") == sorted([*names, "clip_overlay.mp4"])
    assert read_index(tmp_path / "seg/labels/clip/000001.png").shape == SIZE
    write_png(tmp_path / "x.png", drawn_frames(1)[0])
    status = cli.run(lambda: run(nets["seg"], tmp_path / "no", tmp_path / "x.png", "--save-frames"))
    assert status == 2
    assert "--save-frames is for videos" in capsys.readouterr().err


def test_frames_do_not_mix_with_other_files(nets, tmp_path):
    clip = write_clip(tmp_path / "in/clip.mp4", drawn_frames(2))
    write_png(tmp_path / "in/clip/000001.png", drawn_frames(1)[0])
    with pytest.raises(InputError, match="would lie among the frames of"):
        run(nets["edge"], tmp_path / "out", clip.parent, "--save-frames")
    out = tmp_path / "own"
    assert run(nets["edge"], out, clip, "--save-bits") == 0
    (out / "clip_overlay.mp4").unlink()
    with pytest.raises(InputError, match="bits/clip has files already"):
        run(nets["edge"], out, clip, "--save-bits")
    assert run(nets["edge"], out, clip, "--save-bits", "--skip-existing") == 0


def test_images_and_videos_in_one_run(nets, tmp_path, capsys):
    write_clip(tmp_path / "in/clip.MP4", drawn_frames(2))
    write_clip(tmp_path / "in/b.mp4", drawn_frames(3))
    write_png(tmp_path / "in/a.png", drawn_frames(1)[0])
    write_png(tmp_path / "in/b.png", drawn_frames(1)[0])
    assert run(nets["edge"], tmp_path / "out", tmp_path / "in") == 0
    assert outputs(tmp_path / "out") == sorted(
        [
            *("a_edges.png", "a_overlay.png", "b.png_edges.png", "b.png_overlay.png"),
            *("b.mp4_overlay.mp4", "clip_overlay.mp4"),
        ]
    )
    said = capsys.readouterr().out
    assert "2 of 2 images and 2 of 2 videos (5 frames) predicted" in said


# --- without PyAV ---


def test_opencv_writes_what_browsers_play(nets, tmp_path, monkeypatch, capsys):
    clip = write_clip(tmp_path / "clip.mp4", drawn_frames())
    monkeypatch.setitem(sys.modules, "av", None)
    assert run(nets["edge"], tmp_path / "out", clip) == 0
    assert capsys.readouterr().err == encoders.VP9_NOTE + "\n"
    monkeypatch.undo()
    assert outputs(tmp_path / "out") == ["clip_overlay.mp4"]
    frames, times, info = read_clip(tmp_path / "out/clip_overlay.mp4")
    assert (info["codec"], info["format"], len(frames)) == ("vp9", "yuv420p", 12)
    np.testing.assert_allclose(times, [k * 1001 / 30000 for k in range(12)], atol=0.001)


def test_opencv_without_vp9_says_that_browsers_may_not_play_it(nets, tmp_path, monkeypatch, capsys):
    clip = write_clip(tmp_path / "clip.mp4", drawn_frames(3))
    monkeypatch.setitem(sys.modules, "av", None)
    fourcc = cv2.VideoWriter.fourcc
    monkeypatch.setattr(
        encoders.cv2.VideoWriter,
        "fourcc",
        lambda *code: fourcc(*("xxxx" if code == tuple("vp09") else code)),
    )
    assert run(nets["edge"], tmp_path / "out", clip) == 0
    assert capsys.readouterr().err == encoders.MP4V_NOTE + "\n"
    assert outputs(tmp_path / "out") == ["clip_overlay.mp4"]


def test_a_full_disk_is_seen_without_pyav(nets, tmp_path, monkeypatch):
    """OpenCV says nothing: the frames in the file are counted."""
    clip = write_clip(tmp_path / "clip.mp4", drawn_frames(3))
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(encoders.OpenCvEncoder, "write", lose_frames)
    assert run(nets["edge"], tmp_path / "out", clip) == 2
    assert outputs(tmp_path / "out") == []


def lose_frames(encoder: encoders.OpenCvEncoder, image: np.ndarray, time: float) -> None:
    encoder.frames += 1
    if encoder.frames == 1:
        encoder.writer.write(image)


# --- what is no video, or not all of one ---


def test_names_of_videos(nets, tmp_path, monkeypatch, capsys):
    """As long as a file system takes; and such that are no text, which no library takes."""
    clip = write_clip(tmp_path / "clip.mp4", drawn_frames(2))
    long = "é" * 121  # 242 bytes, with _overlay.mp4 254
    shutil.copy(clip, tmp_path / f"{long}.mp4")
    strange = tmp_path / os.fsdecode(b"stra\xdfe.mp4")
    shutil.copy(clip, strange)
    assert run(nets["edge"], tmp_path / "out", tmp_path / f"{long}.mp4") == 0
    monkeypatch.setitem(sys.modules, "av", None)
    assert run(nets["edge"], tmp_path / "vp9", tmp_path / f"{long}.mp4") == 0
    for folder in ("out", "vp9"):
        assert outputs(tmp_path / folder) == [f"{long}_overlay.mp4"]
    capsys.readouterr()
    argv = [str(strange), "--checkpoint", str(nets["edge"]), "--out", str(tmp_path / "no")]
    assert cli.run(lambda: predict.main(predict.parse_args(argv))) == 2
    assert "the name is no UTF-8, as a video's must be; rename it" in capsys.readouterr().err


def test_broken_videos_are_listed_and_the_others_done(nets, tmp_path, capfd):
    clip = write_clip(tmp_path / "in/good.mp4", drawn_frames(3))
    (tmp_path / "in/empty.mp4").touch()
    (tmp_path / "in/text.avi").write_text("no video " * 99)
    (tmp_path / "in/headless.mov").write_bytes(clip.read_bytes()[100:])
    assert run(nets["edge"], tmp_path / "out", clip.parent, tmp_path / "none.mp4") == 2
    said = capfd.readouterr()
    assert "1 of 4 videos (3 frames) predicted" in said.out
    what = "is no video that can be read: empty, damaged, or of another kind"
    assert sorted(said.err.splitlines()) == sorted(
        [
            *(f"failed: {tmp_path}/in/{x}: {what}" for x in ("empty.mp4", "text.avi")),
            f"failed: {tmp_path}/in/headless.mov: {what}",
            f"failed: {tmp_path}/none.mp4: no such file",
        ]
    )
    assert outputs(tmp_path / "out") == ["in/good_overlay.mp4"]


def test_what_is_left_of_a_video_that_is_cut_off_is_kept(nets, tmp_path, capfd):
    """An MP4 whose index promises more frames than there are."""
    clip = write_clip(tmp_path / "clip.mp4", drawn_frames(40))
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) * 3 // 4])
    assert run(nets["edge"], tmp_path / "out", clip) == 2
    overlay = tmp_path / "out/clip_overlay.mp4"
    count = len(read_clip(overlay)[0])
    assert 1 <= count < 38
    (line,) = capfd.readouterr().err.splitlines()
    assert line == (
        f"failed: {clip}: {count} of 40 frames can be read, the file is cut off or damaged; they "
        f"are in {overlay}"
    )


def test_a_container_that_states_its_length_alone_is_not_called_damaged(nets, tmp_path, capfd):
    """Sound may be longer than the images: Matroska says how long the longest is."""
    clip = write_clip(tmp_path / "clip.mkv", drawn_frames(40))
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) * 4 // 5])
    assert run(nets["edge"], tmp_path / "out", clip) == 0
    count = len(read_clip(tmp_path / "out/clip_overlay.mp4")[0])
    assert 1 <= count < 38
    said = capfd.readouterr().err
    assert said.startswith(f"note: {clip}: {count} frames could be read, and its length is that of")


def test_a_video_without_a_frame_leaves_nothing(nets, tmp_path, capfd):
    """Only its index is there."""
    clip = write_clip(tmp_path / "clip.mp4", drawn_frames(3))
    content = clip.read_bytes()
    clip.write_bytes(content[: content.find(b"mdat") + 4])
    assert run(nets["edge"], tmp_path / "out", clip) == 2
    assert capfd.readouterr().err == f"failed: {clip}: no frame can be read\n"
    assert outputs(tmp_path / "out") == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), cli.Terminated(), MemoryError("x")])
def test_an_interrupted_video_leaves_nothing(nets, tmp_path, monkeypatch, error):
    clip = write_clip(tmp_path / "clip.mp4", drawn_frames(6))
    fail_at(monkeypatch, 4, error)
    status = cli.run(lambda: run(nets["edge"], tmp_path / "out", clip))
    assert status == {KeyboardInterrupt: 130, cli.Terminated: 143, MemoryError: 2}[type(error)]
    assert outputs(tmp_path / "out") == []


def test_a_frame_that_cannot_be_written_ends_its_video_only(nets, tmp_path, monkeypatch, capsys):
    for name in "ab":
        write_clip(tmp_path / f"in/{name}.mp4", drawn_frames(4))
    write = outputs_module.write_png

    def refuse(path: Path, *args: Any, **kwargs: Any) -> None:
        if path.match("a/000002.png"):
            raise PermissionError(13, "Permission denied", str(path))
        write(path, *args, **kwargs)

    monkeypatch.setattr(outputs_module, "write_png", refuse)
    out = tmp_path / "out"
    assert run(nets["edge"], out, tmp_path / "in", "--save-bits") == 2
    failed = f"failed: {tmp_path}/in/a.mp4: {out}/bits/a/000002.png: Permission denied"
    assert capsys.readouterr().err == f"{failed}\n"
    assert [name for name in outputs(out) if name.endswith(".mp4")] == ["b_overlay.mp4"]


def fail_at(monkeypatch: pytest.MonkeyPatch, frame: int, error: BaseException) -> None:
    """Raise `error` before a frame, counted from 1, goes through the net."""
    count = itertools.count(1)
    add = run_module.VideoWriter.add

    def failing(writer: Any, *args: Any) -> None:
        if next(count) == frame:
            raise error
        add(writer, *args)

    monkeypatch.setattr(run_module.VideoWriter, "add", failing)


# --- cameras ---


class Camera:
    """Stands for cv2.VideoCapture of a camera that gives some frames, then none."""

    frames = 9
    opened: ClassVar[list[object]] = []

    def __init__(self, number: int) -> None:
        self.opened.append(number)
        self.left = iter(drawn_frames(self.frames))

    def isOpened(self) -> bool:
        return True

    def get(self, key: int) -> float:
        size = {cv2.CAP_PROP_FRAME_WIDTH: 64.0, cv2.CAP_PROP_FRAME_HEIGHT: 48.0}
        return size.get(key, 10.0 if key == cv2.CAP_PROP_FPS else -1.0)

    def read(self) -> tuple[bool, np.ndarray | None]:
        image = next(self.left, None)
        return image is not None, None if image is None else image[:, :, ::-1]

    def release(self) -> None:
        pass


@pytest.fixture
def camera(monkeypatch) -> type[Camera]:
    Camera.opened.clear()
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    return Camera


def test_a_camera_ends_after_some_frames(nets, tmp_path, camera, capsys):
    assert run(nets["edge"], tmp_path / "out", "camera:2", "--max-frames", 5) == 0
    assert camera.opened == [2]
    assert "1 of 1 videos (5 frames) predicted" in capsys.readouterr().out
    assert outputs(tmp_path / "out") == ["camera2_overlay.mp4"]
    frames, times, _ = read_clip(tmp_path / "out/camera2_overlay.mp4")
    assert len(frames) == 5
    assert times == sorted(set(times))


def test_ctrl_c_ends_a_recording_well(nets, tmp_path, camera, monkeypatch, capsys):
    fail_at(monkeypatch, 5, KeyboardInterrupt())
    assert run(nets["edge"], tmp_path / "out", "camera:0") == 0
    assert not capsys.readouterr().err
    assert len(read_clip(tmp_path / "out/camera0_overlay.mp4")[0]) == 4


@pytest.mark.parametrize(("error", "status"), [(cli.Terminated(), 143), (MemoryError("x"), 2)])
def test_a_recording_is_kept_however_it_ends(nets, tmp_path, camera, monkeypatch, error, status):
    fail_at(monkeypatch, 5, error)
    assert cli.run(lambda: run(nets["edge"], tmp_path / "out", "camera:0")) == status
    assert len(read_clip(tmp_path / "out/camera0_overlay.mp4")[0]) == 4


def test_a_camera_that_is_pulled_out(nets, tmp_path, camera, capsys):
    assert run(nets["edge"], tmp_path / "out", "camera:0") == 2
    overlay = tmp_path / "out/camera0_overlay.mp4"
    line = f"failed: camera:0: the camera stopped after 9 frames; they are in {overlay}\n"
    assert capsys.readouterr().err == line
    assert len(read_clip(overlay)[0]) == 9


def test_a_camera_that_is_absent(nets, tmp_path, capfd):
    assert run(nets["edge"], tmp_path / "out", "camera:99") == 2
    assert capfd.readouterr().err == (
        "failed: camera:99: there is no camera 99, or another program has it, or you may not use "
        "it; the first camera is camera:0\n"
    )
    assert not outputs(tmp_path / "out")
