"""predict.py's page: what it holds, compared with plain loops, and how it is written."""

import base64
import html.parser
import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.page import HOSTILE, INFO, SEG_INFO, head, write_edges, write_labels
from helpers.tiny_nets import EDGE, SEG, registered, save_tiny

import predict
from data.errors import InputError
from data.image_io import write_png
from utils.inference.loading import load
from utils.prediction.page.image_data import (
    edge_data,
    label_data,
    page_file,
    page_key,
    read_image_data,
    shrink_mask,
    to_percent,
)
from utils.prediction.page.index import EMBEDDED_BYTES, require_no_page, write_page
from utils.prediction.video.reader import quiet_decoders


def decoded(png: str) -> np.ndarray:
    """The pixels of a PNG in base64."""
    encoded = np.frombuffer(base64.b64decode(png), np.uint8)
    return cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)


class Scripts(html.parser.HTMLParser):
    """Collects the contents of all <script> elements, by id, and the names of all elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.elements: list[str] = []
        self.own: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        if tag == "script":
            self.own = dict(attrs).get("id") or "the page's"
            self.found[self.own] = ""

    def handle_endtag(self, tag):
        self.own = None if tag == "script" else self.own

    def handle_data(self, data):
        if self.own is not None:
            self.found[self.own] += data


# --- the data of an image ---


def test_whole_per_cents_select_the_pixels_of_the_threshold(rng):
    """At, just below and just above each threshold, and anywhere."""
    steps = np.array([n / 100 for n in range(101)], np.float32)
    prob = np.concatenate(
        [steps, np.nextafter(steps, np.float32(0)), np.nextafter(steps, np.float32(2))]
    )
    prob = np.concatenate([np.clip(prob, 0, 1), rng.random(2000, np.float32)])
    found = to_percent(prob)
    assert found.dtype == np.uint8 and found.max() == 100
    for n in range(1, 101):
        assert ((found >= n) == (prob >= np.float32(n / 100))).all(), n


def test_edges_are_packed_and_unpacked(rng):
    """At full size nothing is lost but the remainder below a per cent, and noise below five."""
    prob = rng.random((5, 20, 30), np.float32)
    prob[1] = 0.049  # noise
    prob[2] = 0
    prob[3] *= 0.3
    edges = prob > 0.9
    edges[2, 4, 5] = True  # drawn, whatever its probability
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    data = json.loads(json.dumps(edge_data(image, prob, edges)))
    assert (data["size"], data["full"], data["classes"]) == ([30, 20], [30, 20], [0, 2, 3, 4])
    for k, percent, drawn in zip(data["classes"], data["prob"], data["drawn"], strict=True):
        for y in range(20):
            for x in range(30):
                value = int(np.floor(np.float64(prob[k, y, x]) * 100 + 1e-6))
                assert decoded(percent)[y, x] == (value if value >= 5 else 0)
        assert ((decoded(drawn) > 0) == edges[k]).all()
    shown = decoded(data["image"].partition(",")[2])[:, :, ::-1]
    assert (shown == image).all()  # noise: as PNG, since JPEG would hardly be smaller


def test_large_images_become_copies(rng):
    """By area; a line of one pixel stays one that is connected."""
    prob = np.zeros((1, 600, 2400), np.float32)
    prob[0, :, 1200:] = 0.8
    prob[0, 100, 100] = 1
    edges = np.zeros(prob.shape, bool)
    for x in range(2400):
        edges[0, x // 4, x] = True
    data = edge_data(np.zeros((600, 2400, 3), np.uint8), prob, edges)
    assert (data["size"], data["full"]) == ([1024, 256], [2400, 600])
    percent, drawn = decoded(data["prob"][0]), decoded(data["drawn"][0])
    assert percent.shape == drawn.shape == (256, 1024)
    assert (percent[:, :511] <= 20).all() and (percent[:, 513:] == 80).all()
    parts, _ = cv2.connectedComponents(drawn, connectivity=8)
    assert parts == 2  # the background and one line
    assert (drawn > 0).sum() <= 1024 + 256


def test_a_mask_keeps_every_part_when_it_shrinks():
    mask = np.zeros((7, 9), bool)
    mask[[0, 6, 3], [0, 8, 4]] = True
    small = shrink_mask(mask, (3, 3))
    assert small.tolist() == [[True, False, False], [False, True, False], [False, False, True]]
    assert (shrink_mask(mask, (9, 7)) == mask).all()


def test_labels_are_packed_and_unpacked(rng):
    labels = rng.choice(np.array([0, 2, 255], np.uint8), (20, 30))
    data = label_data(np.full((20, 30, 3), 90, np.uint8), labels)
    assert data["classes"] == [0, 2, 255]
    assert (decoded(data["labels"]) == labels).all()
    wide = np.repeat(np.array([[0, 1]], np.uint8), 1500, axis=1)
    small = decoded(label_data(np.zeros((1, 3000, 3), np.uint8), wide)["labels"])
    assert small.shape == (1, 1024) and (small == ([0] * 512 + [1] * 512)).all()


def test_the_file_of_an_image_is_a_call(tmp_path):
    path = write_labels(tmp_path, "a", np.zeros((4, 6), np.uint8))
    text = path.read_text(encoding="ascii")
    assert path == page_file(tmp_path, "a") and path.parent.name == "page"
    assert re.fullmatch(rf'pageImage\("{page_key("a")}","[0-9a-f]{{8}}",\{{.*\}}\)\n', text)
    inside = read_image_data(path, SEG_INFO)
    assert inside in text and json.loads(inside)["size"] == [6, 4]


def test_data_of_earlier_runs_are_refused_where_they_do_not_fit(tmp_path):
    path = write_labels(tmp_path, "a", np.zeros((4, 6), np.uint8))
    other = replace(SEG_INFO, classes=("x", "y", "z"))
    with pytest.raises(InputError, match="of a net with other classes"):
        read_image_data(path, other)
    whole = path.read_text()
    wrong = ("", whole[:-9], whole.replace('"size"', '"</script>"'), "alert(1)", "ä")
    for text in wrong:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"\.js: is no data of a page; remove it"):
            read_image_data(path, SEG_INFO)


# --- the page ---


def names_of(*names: str) -> dict[Path, str]:
    return {Path(f"in/{name}.png"): name for name in names}


def page_of(out: Path) -> Scripts:
    return Scripts((out / "index.html").read_text(encoding="utf-8"))


def test_small_data_are_in_the_page_and_large_beside_it(tmp_path):
    for name in "ab":
        write_labels(tmp_path, name, np.zeros((4, 6), np.uint8))
    size = sum(path.stat().st_size for path in (tmp_path / "page").iterdir())
    line = write_page(tmp_path, names_of("a", "b"), {}, head(SEG_INFO), embedded_bytes=size)
    assert re.fullmatch(r"page: \S+index\.html, 2 images, \d\d kB in one file", line)
    page = page_of(tmp_path)
    keys = [f"i{page_key(name)}" for name in "ab"]
    assert list(page.found) == ["index", *keys, "the page's"]
    for key in keys:
        assert json.loads(page.found[key])["full"] == [6, 4]
    assert json.loads(page.found["index"])["folder"] is None
    policy = re.search(r'Policy" content="([^"]*)"', (tmp_path / "index.html").read_text())
    assert policy is not None and "file:" not in policy[1] and "self" not in policy[1]

    line = write_page(tmp_path, names_of("a", "b"), {}, head(SEG_INFO), embedded_bytes=size - 1)
    assert line.endswith("2 images, with the folder page")
    page = page_of(tmp_path)
    assert list(page.found) == ["index", "the page's"]
    assert json.loads(page.found["index"])["folder"] == "page"
    assert EMBEDDED_BYTES == 20_000_000


def test_the_page_of_thousands_of_images_stays_small(tmp_path):
    first = write_labels(tmp_path, "image 0", np.zeros((4, 6), np.uint8)).read_text()
    names = [f"image {number}" for number in range(2000)]
    for name in names:
        path = page_file(tmp_path, name)
        path.write_text(first.replace(page_key("image 0"), path.stem))
    line = write_page(tmp_path, names_of(*names), {}, head(SEG_INFO), embedded_bytes=1000)
    assert "2,000 images, with the folder page" in line
    assert (tmp_path / "index.html").stat().st_size < 150_000
    assert [name for name, _ in json.loads(page_of(tmp_path).found["index"])["images"]] == names


def test_names_are_text_wherever_they_stand(tmp_path):
    """No element of a name becomes one of the page, and each name is read back as it is."""
    info = replace(INFO, classes=("</script><b>", '"><img src=x onerror=alert(1)>', "{{data}}"))
    for name in HOSTILE:
        write_edges(tmp_path, name, np.full((3, 4, 6), 0.5, np.float32), info=info)
    plain = tmp_path / "plain"
    write_page(plain, {}, {}, head(INFO, tmp_path / "best.pth"))
    failures = {Path("<script>alert(2)</script>"): InputError("</ul><script>alert(3)</script>")}
    checkpoint = tmp_path / '<i>"&.pth'
    names = names_of(*HOSTILE) | {next(iter(failures)): "x"}
    write_page(tmp_path, names, failures, head(info, checkpoint))
    page, reference = page_of(tmp_path), page_of(plain)
    index = json.loads(page.found["index"])
    assert index["classes"] == list(info.classes)
    assert [name for name, _ in index["images"]][:-1] == list(HOSTILE[:-1])
    assert index["images"][-1][0] == "no utf-8: \\udcff"
    more = ["details", "summary", "ul", "li", *["script"] * len(HOSTILE)]
    assert sorted(page.elements) == sorted(reference.elements + more)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(3)&lt;/script&gt;" in text
    assert "<h1>&lt;i&gt;&quot;&amp;.pth</h1>" in text


def test_what_is_not_there_is_said(tmp_path):
    """A failed image is listed, even if an earlier run left its data; one without is counted."""
    for name in ("good", "failed now"):
        write_edges(tmp_path, name, np.full((3, 4, 6), 0.5, np.float32))
    write_labels(tmp_path, "of another net", np.zeros((4, 6), np.uint8))
    names = names_of("good", "failed now", "without data", "of another net")
    failures = {Path("in/failed now.png"): InputError("in/failed now.png: is damaged")}
    line = write_page(tmp_path, names, failures, head(INFO))
    assert "1 image, " in line and "1 of an earlier run without --page" in line
    assert "1 have data that do not fit" in line
    text = (tmp_path / "index.html").read_text()
    assert [name for name, _ in json.loads(page_of(tmp_path).found["index"])["images"]] == ["good"]
    assert "<summary>2 failed</summary>" in text and "in/failed now.png: is damaged" in text
    assert "other classes" in text and "1 of an earlier run without --page are not here" in text


def test_a_page_is_replaced_only_if_asked(tmp_path):
    require_no_page(tmp_path, tmp_path / "best.pth", overwrite=False)
    (tmp_path / "index.html").write_text("mine")
    require_no_page(tmp_path, tmp_path / "best.pth", overwrite=True)
    with pytest.raises(InputError, match=r"index\.html is there already; give --overwrite"):
        require_no_page(tmp_path, tmp_path / "best.pth", overwrite=False)
    with pytest.raises(InputError, match="would replace the checkpoint"):
        require_no_page(tmp_path, tmp_path / "index.html", overwrite=True)
    (tmp_path / "index.html").unlink()
    (tmp_path / "index.html").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        require_no_page(tmp_path, tmp_path / "best.pth", overwrite=True)


# --- predict.py ---


def run(*flags: object) -> int:
    return predict.main(predict.parse_args([str(flag) for flag in flags]))


@pytest.fixture(autouse=True)
def tiny():
    with registered():
        yield


@pytest.mark.parametrize("net", [EDGE, SEG])
def test_predict_writes_the_page(net, tmp_path, rng, capsys):
    checkpoint = tmp_path / "best.pth"
    save_tiny(checkpoint, net)
    images = tmp_path / "images"
    for name in ("one", "sub/two"):
        write_png(images / f"{name}.png", rng.integers(0, 256, (33, 41, 3), np.uint8))
    (images / "broken.png").write_bytes(b"no image")
    given = (images, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--device", "cpu")
    assert run(*given, "--page") == 2
    said = capsys.readouterr().out
    assert re.search(
        rf"^page: {tmp_path}/out/index.html, 2 images, \d+ kB in one file$", said, re.M
    )
    index = json.loads(page_of(tmp_path / "out").found["index"])
    assert [name for name, _ in index["images"]] == ["one", "sub/two"]
    text = (tmp_path / "out/index.html").read_text()
    assert "<summary>1 failed</summary>" in text and "broken.png" in text

    predictor = load(checkpoint, device="cpu")
    result = predictor(images / "sub/two.png")
    own = json.loads(page_of(tmp_path / "out").found[f"i{page_key('sub/two')}"])
    if net == EDGE:
        edges = result >= 0.5
        assert edges.any() and not edges.all()
        for k, percent, drawn in zip(own["classes"], own["prob"], own["drawn"], strict=True):
            floor = np.where(to_percent(result[k]) >= 5, to_percent(result[k]), 0)
            assert (decoded(percent) == floor).all()
            assert ((decoded(drawn) > 0) == edges[k]).all()
        assert index["drawn"] == "threshold 0.50, not thinned"
    else:
        assert (decoded(own["labels"]) == result).all()

    with pytest.raises(InputError, match="is there already"):
        run(*given, "--page")
    assert run(*given, "--page", "--overwrite") == 2
    assert run(*given[:4], tmp_path / "other", *given[5:]) == 2
    assert not (tmp_path / "other/index.html").exists()
    assert not (tmp_path / "other/page").exists()


def test_the_page_of_an_interrupted_run_has_what_was_done_before(tmp_path, rng, capsys):
    """Videos are not on it; frames leave no data."""
    save_tiny(tmp_path / "best.pth")
    for name in ("one", "two", "three"):
        write_png(tmp_path / f"in/{name}.png", rng.integers(0, 256, (33, 41, 3), np.uint8))
    with quiet_decoders():  # FFmpeg keeps the level of its first use
        video = cv2.VideoWriter(
            str(tmp_path / "in/clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (48, 32)
        )
        for _ in range(2):
            video.write(rng.integers(0, 256, (32, 48, 3), np.uint8))
        video.release()
    given = (tmp_path / "in", "--checkpoint", tmp_path / "best.pth", "--device", "cpu", "--page")
    given = (*given, "--save-frames", "--out", tmp_path / "out")
    assert run(*given) == 0
    assert len(list((tmp_path / "out/page").iterdir())) == 3
    page_file(tmp_path / "out", "two").unlink()
    (tmp_path / "out/index.html").write_text("cut off")
    capsys.readouterr()
    assert run(*given, "--skip-existing") == 0
    said = capsys.readouterr().out
    assert "1 of 3 images" in said and "3 were there already" in said and ", 3 images, " in said
    index = json.loads(page_of(tmp_path / "out").found["index"])
    assert [name for name, _ in index["images"]] == ["one", "three", "two"]


def test_a_segmentation_with_outlines_has_its_areas_on_the_page(tmp_path, rng):
    save_tiny(tmp_path / "best.pth", SEG)
    write_png(tmp_path / "in/one.png", rng.integers(0, 256, (33, 41, 3), np.uint8))
    given = (tmp_path / "in", "--checkpoint", tmp_path / "best.pth", "--device", "cpu", "--page")
    assert run(*given, "--outlines", "--out", tmp_path / "out") == 0
    index = json.loads(page_of(tmp_path / "out").found["index"])
    assert (index["task"], index["drawn"], index["lines"]) == ("seg", "", False)
    assert "segmentation" in (tmp_path / "out/index.html").read_text()
