"""The two writers of a scene: SVG text with the standard library, pixels with Pillow."""

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np

from diagplan.drawing.colours import hex_code
from diagplan.drawing.scene import Cells, Item, Polygon, Polyline, Rect, Scene, Strokes, Text
from diagplan.planner.extras import missing_packages

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Painter", "svg_bytes", "svg_text"]

_FONTS = "Aileron, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}
_MOST_PIXELS = 40_000_000  # of the canvas before it is reduced


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def svg_bytes(scene: Scene) -> bytes:
    """The scene as an SVG document in UTF-8; every cell is a ``rect`` in a group of the cells' kind."""
    data: bytes = ET.tostring(_svg_tree(scene), encoding="utf-8", xml_declaration=True)
    return data


def svg_text(scene: Scene) -> str:
    """The same as text, without the declaration of an encoding: to put into a page."""
    return ET.tostring(_svg_tree(scene), encoding="unicode")


def _svg_tree(scene: Scene) -> ET.Element:
    width, height = str(scene.width), str(scene.height)
    root = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", width=width, height=height, role="img")
    root.set("viewBox", f"0 0 {width} {height}")
    root.set("font-family", _FONTS)
    ET.SubElement(root, "title").text = scene.title
    ET.SubElement(root, "rect", width=width, height=height, fill="#ffffff")
    for item in scene.items:
        _svg_item(root, item)
    return root


def _svg_item(root: ET.Element, item: Item) -> None:
    match item:
        case Cells():
            side = str(item.pitch - item.gap)
            group = ET.SubElement(root, "g", {"class": item.kind, "shape-rendering": "crispEdges"})
            for r, row in enumerate(item.colours):
                for c, colour in enumerate(row):
                    x, y = str(item.x + c * item.pitch), str(item.y + r * item.pitch)
                    ET.SubElement(group, "rect", x=x, y=y, width=side, height=side, fill=hex_code(colour))
        case Rect():
            inset = item.stroke_width / 2 if item.stroke else 0
            box = (item.x + inset, item.y + inset, item.width - 2 * inset, item.height - 2 * inset)
            x, y, width, height = (_number(value) for value in box)
            rect = ET.SubElement(root, "rect", x=x, y=y, width=width, height=height)
            rect.set("fill", hex_code(item.fill) if item.fill else "none")
            if item.stroke:
                rect.set("stroke", hex_code(item.stroke))
                rect.set("stroke-width", _number(item.stroke_width))
            else:
                rect.set("shape-rendering", "crispEdges")
            if item.kind:
                rect.set("class", item.kind)
        case Strokes():
            path = "".join("M{} {}L{} {}".format(*map(_number, line)) for line in item.lines.tolist())
            ET.SubElement(
                root, "path", {"d": path, "stroke": hex_code(item.colour), "stroke-width": _number(item.width)}
            )
        case Polyline():
            line = ET.SubElement(root, "polyline", points=_points(item.points), fill="none")
            line.set("stroke", hex_code(item.colour))
            line.set("stroke-width", _number(item.width))
        case Polygon():
            ET.SubElement(root, "polygon", points=_points(item.points), fill=hex_code(item.fill))
        case Text():
            text = ET.SubElement(root, "text", x=_number(item.x), y=_number(item.y), fill=hex_code(item.colour))
            text.set("font-size", _number(item.size))
            if item.anchor != "start":
                text.set("text-anchor", item.anchor)
            text.text = item.text


def _points(points: tuple[tuple[float, float], ...]) -> str:
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in points)


class Painter:
    """Draws scenes with Pillow at ``scale`` pixels per unit; lines are smoothed by drawing larger and reducing.

    Raises:
        MissingExtraError: Pillow is not installed.
    """

    def __init__(self, scale: int) -> None:
        try:
            from PIL import Image, ImageDraw, ImageFont

            ImageFont.load_default(12)  # fails where Pillow was built without FreeType
        except ImportError as error:
            raise missing_packages(
                ".png and .gif pictures", ["PIL"], got=str(error), instead="Or give a path that ends in .svg."
            ) from None
        self.scale = scale
        self._image, self._draw, self._font = Image, ImageDraw, ImageFont
        self._fonts: dict[float, ImageFont.ImageFont | ImageFont.FreeTypeFont] = {}

    def paint(self, scene: Scene) -> "Image.Image":
        """The scene as an RGB image of ``scale`` times its size."""
        area = scene.width * scene.height * self.scale**2
        finer = 2 if 4 * area <= _MOST_PIXELS else 1
        zoom = self.scale * finer
        image = self._image.new("RGB", (scene.width * zoom, scene.height * zoom), (255, 255, 255))
        for item in scene.items:
            self._item(image, item, zoom)
        return image.reduce(finer) if finer > 1 else image

    def _item(self, image: "Image.Image", item: Item, zoom: int) -> None:
        draw = self._draw.Draw(image)
        match item:
            case Cells():
                side, (rows, cols) = item.pitch * zoom, item.colours.shape[:2]
                kept = side - item.gap * zoom
                pixels = item.colours.repeat(side, axis=0).repeat(side, axis=1)
                blocks = pixels.reshape(rows, side, cols, side, 3)
                blocks[:, kept:] = blocks[:, :, :, kept:] = 255
                cells = self._image.fromarray(pixels)
                if item.gap:  # the last gap belongs to whatever is behind
                    cells = cells.crop((0, 0, cols * side - item.gap * zoom, rows * side - item.gap * zoom))
                image.paste(cells, (item.x * zoom, item.y * zoom))
            case Rect():
                left, top = round(item.x * zoom), round(item.y * zoom)
                right, bottom = round((item.x + item.width) * zoom) - 1, round((item.y + item.height) * zoom) - 1
                if right >= left and bottom >= top:
                    stroke = max(1, round(item.stroke_width * zoom)) if item.stroke else 0
                    draw.rectangle((left, top, right, bottom), fill=item.fill, outline=item.stroke, width=stroke)
            case Strokes():
                width = max(1, round(item.width * zoom))
                for line in np.rint(item.lines * zoom).astype(np.int64).tolist():
                    draw.line(line, fill=item.colour, width=width)
            case Polyline():
                line = [(x * zoom, y * zoom) for x, y in item.points]
                draw.line(line, fill=item.colour, width=max(1, round(item.width * zoom)), joint="curve")
            case Polygon():
                draw.polygon([(x * zoom, y * zoom) for x, y in item.points], fill=item.fill)
            case Text():
                self._text(draw, item, zoom)

    def _text(self, draw: "object", item: Text, zoom: int) -> None:
        from PIL.ImageDraw import ImageDraw

        assert isinstance(draw, ImageDraw)
        font = self._fonts.get(item.size * zoom)
        if font is None:
            font = self._fonts[item.size * zoom] = self._font.load_default(item.size * zoom)
        draw.text((item.x * zoom, item.y * zoom), item.text, fill=item.colour, font=font, anchor=_ANCHORS[item.anchor])
