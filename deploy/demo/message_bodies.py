"""Bodies for make_mailbox.py: what stands below a message's general headers, from Content-Type on, as bytes.

Each function takes the generator's random source and draws from it in a fixed order, so that a seed decides all.
"""

import mime_parts as mime
import sample_text as text

LARGE_ATTACHMENT_BYTES = 3_000_000
NESTED_MULTIPARTS = 12


def boundary(rnd):
    return f"=_{rnd.getrandbits(64):016x}"


def paragraphs(rnd, language, count=None):
    count = count or rnd.choice((1, 2, 2, 3, 4, 6))
    return [" ".join(rnd.choice(language.sentences) for _ in range(rnd.randrange(1, 6))) for _ in range(count)]


def wrap(paragraph, width=72, joint="\n"):
    lines, line = [], ""
    for word in paragraph.split(" "):
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return joint.join(lines + [line])


def plain(rnd, language, flowed=False, footer=None):
    """text/plain in one of the language's charsets, perhaps format=flowed, with a quotation and a signature."""
    charset = rnd.choice(language.charsets)
    joint = " \n" if flowed else "\n"
    pieces = [wrap(piece, joint=joint) for piece in paragraphs(rnd, language)]
    if rnd.random() < 0.4:
        quotation = "\n".join(f"> {line}" for line in wrap(paragraphs(rnd, language, 1)[0]).split("\n"))
        pieces.insert(rnd.randrange(len(pieces) + 1), quotation)
    body = "\n\n".join(pieces) + "\n"
    if rnd.random() < 0.5:
        body += "\n-- \n" + rnd.choice(language.people)[0] + "\n"
    if footer:
        body += f"_______________________________________________\n{footer}\n"
    if charset == "us-ascii" and not body.isascii():
        charset = "utf-8"
    encoding = None
    if charset in ("utf-8", "koi8-r", "gb2312", "gbk"):
        encoding = rnd.choice(("quoted-printable", "base64", "8bit"))
    return mime.text_part(body, charset, encoding, parameters="; format=flowed" if flowed else "")


def html_document(rnd, language, title, image=None):
    rows = "".join(f"<p>{piece}</p>\n" for piece in paragraphs(rnd, language))
    picture = f'<img src="cid:{image}" alt="" width="64">\n' if image else ""
    return (f"<!DOCTYPE html>\n<html><head><title>{title}</title><style>p {{ margin: 1em }}</style></head>\n"
            f"<body>\n<h1>{title}</h1>\n{picture}{rows}<script>alert('not run')</script>"
            f"<p>Fish &amp; chips &lt; 5&nbsp;&euro;</p>\n</body></html>\n")


def html_only(rnd):
    return mime.text_part(html_document(rnd, text.ENGLISH, "Hurry!"), "utf-8", "quoted-printable", "html")


def alternative(rnd, language, title):
    charset = "utf-8"
    return mime.multipart("alternative", boundary(rnd), [
        mime.text_part("\n\n".join(wrap(p) for p in paragraphs(rnd, language)) + "\n", charset, "quoted-printable"),
        mime.text_part(html_document(rnd, language, title), charset, rnd.choice(("quoted-printable", "base64")),
                       "html")])


def related(rnd, language, title):
    cid = f"img{rnd.getrandbits(32):08x}@sample"
    image = mime.part("image/png", mime.png(48, 32, rnd.randrange(256)), "base64", 'inline; filename="logo.png"',
                      (f"Content-ID: <{cid}>",))
    body = mime.multipart("alternative", boundary(rnd), [
        mime.text_part("\n".join(paragraphs(rnd, language, 1)) + "\n", "utf-8", "quoted-printable"),
        mime.text_part(html_document(rnd, language, title, cid), "utf-8", "quoted-printable", "html")])
    return mime.multipart("related", boundary(rnd), [body, image], '; type="multipart/alternative"')


def attachment(rnd, language, when):
    kind = rnd.choice(("pdf", "pdf", "png", "png", "text", "ics", "message", "zip"))
    number = rnd.randrange(1000)
    if kind == "pdf":
        name, style = rnd.choice(((f"invoice-{number}.pdf", "plain"), (f"Übersicht für März {number}.pdf", "2231"),
                                  ("Protokoll der außerordentlichen Mitgliederversammlung am Donnerstag.pdf",
                                   "2231-pieces"), (f"資料{number}.pdf", "2047")))
        return mime.part("application/pdf", mime.pdf(f"Document {number}"), "base64",
                         "attachment" + mime.filename_parameters(name, style))
    if kind == "png":
        return mime.part(f'image/png; name="picture{number}.png"', mime.png(160, 120, number), "base64",
                         f'attachment; filename="picture{number}.png"')
    if kind == "text":
        listing = "".join(f"{n}\t{rnd.getrandbits(32)}\n" for n in range(rnd.randrange(20, 400)))
        return mime.part("text/plain; charset=us-ascii", listing.encode(), "7bit",
                         f'attachment; filename="data {number}.txt"')
    if kind == "ics":
        return mime.part("text/calendar; charset=utf-8; method=REQUEST",
                         mime.calendar(f"{number}@sample", "Meeting", when), "base64",
                         'attachment; filename="invite.ics"')
    if kind == "message":
        inner = (f"From: Forwarded Person <fwd@example.com>\nTo: demo@example.org\nSubject: Forwarded no. {number}\n"
                 f"Date: Mon, 06 Jan 2025 10:00:00 +0000\nMessage-ID: <fwd{number}@example.com>\nMIME-Version: 1.0\n")
        return mime.part("message/rfc822", inner.encode() + plain(rnd, language), "7bit", "attachment")
    return mime.part("application/zip", b"PK\x05\x06" + bytes(18) + rnd.randbytes(rnd.randrange(200, 20000)), "base64",
                     f'attachment; filename="archive{number}.zip"')


def conversation_body(rnd, language, title, when):
    """(kind, body) of an ordinary message between people."""
    draw = rnd.random()
    if draw < 0.5:
        return "plain", plain(rnd, language)
    if draw < 0.58:
        return "flowed", plain(rnd, language, flowed=True)
    if draw < 0.8:
        return "alternative", alternative(rnd, language, title)
    if draw < 0.85:
        return "related", related(rnd, language, title)
    first = plain(rnd, language) if rnd.random() < 0.6 else related(rnd, language, title)
    parts = [first] + [attachment(rnd, language, when) for _ in range(rnd.choice((1, 1, 1, 2, 3)))]
    return "attachment", mime.multipart("mixed", boundary(rnd), parts)


def newsletter(rnd, number):
    return related(rnd, text.ENGLISH, f"Issue {number}")


def large(rnd):
    return mime.multipart("mixed", boundary(rnd), [
        plain(rnd, text.ENGLISH),
        mime.part("audio/x-wav", rnd.randbytes(LARGE_ATTACHMENT_BYTES), "base64",
                  'attachment; filename="recording.wav"')])


def nested(rnd):
    body = mime.text_part("At the bottom of it all.\n", "us-ascii")
    for _ in range(NESTED_MULTIPARTS):
        body = mime.multipart("mixed", boundary(rnd), [body])
    return body


def oddity(rnd, number, when, message_id):
    """(kind, subject, header changes, body) of the number-th odd message; a change to None drops the header."""
    simple = mime.text_part("Something is odd about this message.\n", "us-ascii")
    long_subject = "A subject that goes on " + "and on " * 120 + "until it ends"
    latin = "Größe: 3 m², naïve façade, 20 £\n".encode("iso-8859-1")
    kinds = (
        ("no-date", "Without a date", {"Date": None}, simple),
        ("no-from", "Without a sender", {"From": None}, simple),
        ("no-subject", "", {"Subject": None}, simple),
        ("no-message-id", "Without a Message-ID", {"Message-ID": None}, simple),
        ("duplicate-message-id", "Seen this before?", {}, simple),
        ("long-subject", long_subject, {}, simple),
        ("raw-8bit", "unlabelled", {"Subject": "Grüße, unlabelled".encode("iso-8859-1")},
         b"Content-Type: text/plain\n\n" + latin),
        ("raw-utf8", "Grüße, raw UTF-8", {"Subject": "Grüße, raw UTF-8"},
         "Content-Type: text/plain\n\nGrüße, unlabelled UTF-8\n".encode()),
        ("unknown-charset", "A charset nobody knows", {},
         mime.part("text/plain; charset=x-mystery-1", latin, "8bit")),
        ("wrong-charset", "Labelled us-ascii, but it is not", {},
         mime.part("text/plain; charset=us-ascii", latin, "8bit")),
        ("bad-date", "An impossible date", {"Date": "Thu, 32 Foo 2024 25:61:00 +9900"}, simple),
        ("old-date", "A two-digit year", {"Date": "1 Apr 24 09:10 EST"}, simple),
        ("empty", "Nothing below", {}, b"\n"),
        ("no-end-boundary", "The last boundary is missing", {},
         mime.multipart("mixed", boundary(rnd), [simple], closed=False)),
        ("nested", "Twelve boxes in each other", {}, nested(rnd)),
        ("group", "To a group", {"To": "Friends: a@example.com, \"B, C\" <bc@example.com>;, Nobody:;"}, simple),
        ("many-recipients", "To everyone",
         {"To": ",\n ".join(f"Person {n} <p{n}@example.com>" for n in range(150))}, simple),
        ("bare-content-type", "Only Content-Type: text", {}, b"Content-Type: text\n\nOld mail said just text.\n"),
        ("report", "Undelivered Mail Returned to Sender", {"From": "MAILER-DAEMON@example.org (Mail Delivery System)"},
         mime.multipart("report", boundary(rnd), [
             mime.text_part("Your message could not be delivered.\n", "us-ascii"),
             mime.part("message/delivery-status", b"Reporting-MTA: dns; mx.example.org\n\nFinal-Recipient: rfc822; "
                       b"x@example.com\nAction: failed\nStatus: 5.1.1\n"),
             mime.part("text/rfc822-headers", f"Subject: lost\nMessage-ID: {message_id}\n".encode())],
             "; report-type=delivery-status")),
        ("long-line", "One very long line", {}, mime.text_part("word " * 4000 + "\n", "us-ascii")),
        ("broken-base64", "Base64 that stops", {},
         b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nR3LDvMOfZSBhdXMg*&(\n"),
        ("calendar", "Invitation", {}, mime.part("text/calendar; charset=utf-8; method=REQUEST",
                                                 mime.calendar(message_id.strip("<>"), "Review", when), "base64")),
        ("control-characters", "A\tsubject with a tab", {},
         mime.part("text/plain; charset=us-ascii", b"bell \x07 esc \x1b[1m\n")),
        ("unknown-encoding", "An encoding nobody knows", {},
         b"Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: x-rot13\n\nUryyb\n"),
    )
    return kinds[number % len(kinds)]
