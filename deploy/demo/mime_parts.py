"""MIME pieces for make_mailbox.py: headers, encoded words, parameters, parts and small attachments, as bytes.

Written by hand and not with the email package, so that the sample can hold what real mail holds and that
package would refuse to write (raw 8-bit headers, wrong labels, missing end boundaries), and so that it is fast.
Lines end in LF, as in a Maildir. Everything is a pure function of its arguments.
"""

import base64
import binascii
import struct
import zlib
from urllib.parse import quote

CHARSETS_7BIT = ("us-ascii", "iso-2022-jp")


def encoded_words(text, charset, scheme="B"):
    """RFC 2047 encoded words of at most 75 characters each, one a folded line."""
    words, chunk = [], ""
    for char in text:
        if chunk and len(_encoded_word(chunk + char, charset, scheme)) > 75:
            words.append(_encoded_word(chunk, charset, scheme))
            chunk = ""
        chunk += char
    words.append(_encoded_word(chunk, charset, scheme))
    return "\n ".join(words)


def _encoded_word(text, charset, scheme):
    data = text.encode(charset)
    if scheme == "B":
        return f"=?{charset}?B?{base64.b64encode(data).decode()}?="
    safe = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    body = "".join(chr(b) if b in safe else "_" if b == 0x20 else f"={b:02X}" for b in data)
    return f"=?{charset}?Q?{body}?="


def unstructured(text, charset, scheme="B"):
    """A Subject or the like: as it is where it is ASCII (folded at spaces), in encoded words otherwise."""
    if not text.isascii():
        return encoded_words(text, charset, scheme)
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + len(word) > 70:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\n ".join(lines + [line])


def mailbox(name, address, charset, scheme="Q"):
    """An RFC 5322 mailbox; the display name quoted or in encoded words where it must be."""
    if not name:
        return address
    if not name.isascii():
        return f"{encoded_words(name, charset, scheme)} <{address}>"
    if any(char in name for char in '()<>[]:;@\\,."\''):
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{address}>'
    return f"{name} <{address}>"


def filename_parameters(filename, style):
    """Content-Disposition parameters for a file name: plain, RFC 2231, RFC 2231 in pieces, or the (wrong but
    common) encoded word in a quoted string."""
    if style == "2231":
        return f"; filename*=UTF-8''{quote(filename, safe='')}"
    if style == "2231-pieces":
        encoded = quote(filename, safe="")
        pieces, rest = [], "UTF-8''" + encoded
        while rest:
            cut = min(40, len(rest))
            while cut < len(rest) and "%" in rest[max(0, cut - 2):cut]:
                cut -= 1
            pieces.append(rest[:cut])
            rest = rest[cut:]
        return "".join(f";\n filename*{n}*={piece}" for n, piece in enumerate(pieces))
    if style == "2047":
        return f'; filename="{encoded_words(filename, "utf-8")}"'
    return f'; filename="{filename}"'


def part(content_type, body, encoding="7bit", disposition=None, extra=()):
    """One body part: its MIME headers, an empty line, and the body in that transfer encoding."""
    headers = [f"Content-Type: {content_type}"]
    if encoding != "7bit":
        headers.append(f"Content-Transfer-Encoding: {encoding}")
    if disposition:
        headers.append(f"Content-Disposition: {disposition}")
    headers.extend(extra)
    return "\n".join(headers).encode() + b"\n\n" + transfer_encode(body, encoding)


def transfer_encode(body, encoding):
    if encoding == "base64":
        return base64.encodebytes(body)
    if encoding == "quoted-printable":
        return binascii.b2a_qp(body, istext=True)
    return body


def text_part(text, charset, encoding=None, subtype="plain", parameters=""):
    """A text part; without an encoding given, the one that mail in this charset mostly has."""
    body = text.encode(charset)
    if encoding is None:
        encoding = "7bit" if charset in CHARSETS_7BIT else "quoted-printable"
        if not any(byte > 127 for byte in body):
            encoding = "7bit"
    return part(f"text/{subtype}; charset={charset}{parameters}", body, encoding)


def multipart(subtype, boundary, parts, parameters="", closed=True):
    """A multipart entity, headers included; closed=False leaves the last boundary out, as broken mail does."""
    out = [f'Content-Type: multipart/{subtype}; boundary="{boundary}"{parameters}\n\n'.encode()]
    if subtype == "mixed":
        out.append(b"This is a multi-part message in MIME format.\n")
    for piece in parts:
        out.append(f"--{boundary}\n".encode() + piece + b"\n")
    if closed:
        out.append(f"--{boundary}--\n".encode())
    return b"".join(out)


def png(width, height, shade):
    """A real PNG: a diagonal gradient."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(
        b"\0" + bytes(((x + y + shade) % 256) for x in range(width) for _ in range(3)) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 6)) + chunk(b"IEND", b""))


def pdf(title):
    """A real one-page PDF with a cross-reference table."""
    stream = f"BT /F1 24 Tf 72 720 Td ({title.encode('ascii', 'replace').decode()}) Tj ET".encode()
    stream = stream.replace(b"?", b".")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    xref = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, xref)


def calendar(uid, summary, start):
    """An iTIP request for one hour from start (a UTC datetime)."""
    stamp = start.strftime("%Y%m%dT%H%M%SZ")
    end = start.strftime("%Y%m%dT") + f"{(start.hour + 1) % 24:02d}" + start.strftime("%M%SZ")
    return ("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//Sample//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\n"
            f"UID:{uid}\r\nDTSTAMP:{stamp}\r\nDTSTART:{stamp}\r\nDTEND:{end}\r\nSUMMARY:{summary}\r\n"
            "END:VEVENT\r\nEND:VCALENDAR\r\n").encode()


def modified_utf7(name):
    """A mailbox name as IMAP (RFC 3501, 5.1.3) and Maildir++ write it."""
    out, run = [], ""

    def flush():
        nonlocal run
        if run:
            out.append("&" + base64.b64encode(run.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-")
            run = ""

    for char in name:
        if " " <= char <= "~":
            flush()
            out.append("&-" if char == "&" else char)
        else:
            run += char
    flush()
    return "".join(out)
