"""Annotations in XML: Pascal VOC, a file a picture, and CVAT for images 1.1, one file for all."""

from pathlib import Path
from xml.etree import ElementTree

from detector.data.labelled import Labelled, Layout, enclosing_box
from detector.errors import InputError

__all__ = ["read_cvat", "read_voc"]

# Bytes. A CVAT export of a million boxes has some 200 MB.
MAX_BYTES = 1 << 30


def read_voc(source: Path, folder: Path) -> Layout:
    """Read Pascal VOC files: one, or all of a folder and the folders in it.

    VOC counts pixels from 1 and its corners are inside the box: xmin 1, xmax 1 is the first column. Many tools count
    from 0 instead, as continuous corners. A set in which any corner is below 1 is taken for one of theirs, whole, and
    this is noted. Objects marked `difficult` are to be ignored.

    Args:
        source: an XML file or a folder of them.
        folder: where the pictures are; a `filename` that is not there is looked for in the XML's own place in it.

    Raises:
        InputError: when a file is no VOC annotation.
    """
    files = sorted(source.rglob("*.xml")) if source.is_dir() else [source]
    if not files:
        raise InputError(f"a VOC data set must have .xml files; {source} has none")
    pictures, boxes = [], []
    for path in files:
        root = _parse(path)
        if root.tag != "annotation":
            raise InputError(f"{path}: a VOC file must begin with <annotation>; got <{root.tag}>")
        size = root.find("size")
        image_size = (_whole(size, "height", path), _whole(size, "width", path)) if size is not None else (0, 0)
        # Tools that do not know the size write 0.
        picture = Labelled(_voc_name(root, path, source, folder), image_size if min(image_size) > 0 else None)
        pictures.append(picture)
        for item in root.iter("object"):
            corners = item.find("bndbox")
            if corners is None:
                raise InputError(f"{path}: an object must have a bndbox; {_text(item, 'name', path)!r} has none")
            edges = [_number(_text(corners, key, path), path, key) for key in ("xmin", "ymin", "xmax", "ymax")]
            difficult = (item.findtext("difficult") or "0").strip() == "1"
            boxes.append((picture, _text(item, "name", path), edges, difficult))
    first = 0 if any(min(edges) < 1 for _, _, edges, _ in boxes) else 1
    for picture, name, (left, top, right, bottom), ignore in boxes:
        box = (left - first, top - first, right - left + first, bottom - top + first)
        picture.add(name, box, ignore=ignore)
    return Layout(pictures, ["a corner is below 1: the set is taken to count pixels from 0"] if first == 0 else [])


def read_cvat(source: Path, folder: Path) -> Layout:
    """Read a CVAT for images 1.1 file. Turned boxes become the upright boxes around them.

    Args:
        source: annotations.xml.
        folder: not needed: the file has names and sizes.

    Raises:
        InputError: when it is none, or holds tracks of a video, or shapes other than boxes.
    """
    root = _parse(source)
    if root.tag != "annotations":
        raise InputError(f"{source}: a CVAT file must begin with <annotations>; got <{root.tag}>")
    if root.find("track") is not None:
        raise InputError(f"{source}: only CVAT for images is read; this is CVAT for video; export it as images")
    pictures = []
    for image in root.iter("image"):
        name = _attribute(image, "name", source)
        height, width = (int(_number(_attribute(image, key, source), source, key)) for key in ("height", "width"))
        picture = Labelled(name, (height, width))
        pictures.append(picture)
        for shape in image:
            if shape.tag == "tag":  # said of the whole picture
                continue
            if shape.tag != "box":
                raise InputError(f"{source}: {name}: only boxes are read; got a {shape.tag}; make it a box in CVAT")
            corners = [_number(_attribute(shape, key, source), source, key) for key in ("xtl", "ytl", "xbr", "ybr")]
            left, top, right, bottom = corners
            degrees = _number(shape.get("rotation", "0"), source, "rotation")
            box = (left, top, right - left, bottom - top)
            box = enclosing_box(box, degrees, ((left + right) / 2, (top + bottom) / 2))
            picture.add(_attribute(shape, "label", source), box)
    return Layout(pictures)


def _parse(path: Path) -> ElementTree.Element:
    """Parse an XML file that declares no entities: a few of them can be made to fill all memory."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: an XML file must have at most {MAX_BYTES} bytes; split the export")
        parser = ElementTree.XMLParser(target=_NoDoctype(path))
        parser.feed(path.read_bytes())
        root: ElementTree.Element = parser.close()
        return root
    except OSError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"an XML file must be readable; {path} is not ({error.strerror or error})") from error
    except (ElementTree.ParseError, LookupError) as error:
        raise InputError(f"{path}: an XML file must be well-formed; it is not ({error})") from error


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type, which is announced before any entity in it is declared."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def doctype(self, *_: object) -> None:
        raise InputError(f"{self.path}: an XML file must have no DOCTYPE or ENTITY; it has one; remove it")


def _voc_name(root: ElementTree.Element, path: Path, source: Path, folder: Path) -> str:
    """Return the picture's name relative to the folder of pictures."""
    name = _text(root, "filename", path).replace("\\", "/").rpartition("/")[2]
    if source.is_dir() and not (folder / name).is_file():
        beside = (path.parent.relative_to(source) / name).as_posix()
        if (folder / beside).is_file():
            return beside
    return name


def _text(element: ElementTree.Element, key: str, path: Path) -> str:
    text = (element.findtext(key) or "").strip()
    if not text:
        raise InputError(f"{path}: <{element.tag}> must have a <{key}>; it has none")
    return text


def _attribute(element: ElementTree.Element, key: str, path: Path) -> str:
    value = element.get(key)
    if not value:
        raise InputError(f"{path}: <{element.tag}> must have the attribute {key}; it has none")
    return value


def _number(text: str, path: Path, key: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{path}: {key} must be a number; got {text!r}") from error


def _whole(element: ElementTree.Element, key: str, path: Path) -> int:
    return int(_number(_text(element, key, path), path, key))
