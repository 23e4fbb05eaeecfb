"""Reads a multipart form with one file in it, as the object store takes it. It judges no field."""

from email.message import Message


def read_form(body: bytes, content_type: str) -> tuple[dict[str, str], bytes | None]:
    """The fields before the file, and the file; what comes behind the file is not heeded.

    None for the file where there is none; nothing at all where the body is no such form.
    """
    boundary = _header(content_type).get_boundary()
    fields: dict[str, str] = {}
    if boundary is None:
        return fields, None
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = _name(head.decode("utf-8", "replace"))
        if name == "file":
            return fields, content
        if name is not None:
            fields[name] = content.decode("utf-8", "replace")
    return fields, None


def _name(head: str) -> str | None:
    for line in head.split("\r\n"):
        title, _, value = line.partition(":")
        if title.lower() == "content-disposition":
            name = _header(value.strip()).get_param("name")
            return name if isinstance(name, str) else None
    return None


def _header(value: str) -> Message:
    """The standard library reads parameters of `Content-Type` alone; a disposition has the same form."""
    message = Message()
    message["content-type"] = value
    return message
