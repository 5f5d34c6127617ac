"""Sentences, names and subjects in several languages, from which make_mailbox.py composes its messages.

Each Language names the charsets in which that language's mail is found in the wild, most common first; the
sentences keep to characters that every one of them has. Nothing here is random.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    code: str
    charsets: tuple
    people: tuple  # (display name, address)
    subjects: tuple
    sentences: tuple
    reply_prefix: str = "Re: "


ENGLISH = Language(
    "en", ("us-ascii", "utf-8", "us-ascii", "windows-1252"),
    (("Alice Harper", "alice.harper@example.com"), ("Bob Lindqvist", "bob@lindqvist.example"),
     ("Carol O'Neill", "carol.oneill@example.org"), ("Dave (Facilities)", "dave@facilities.example"),
     ("Erin Walsh", "erin.walsh@example.net"), ("Frank, Grace & Partners", "office@fgpartners.example"),
     ("Hannah Brooks", "hannah.brooks@example.com"), ("Ivan Petrescu", "ivan@petrescu.example"),
     ("Support", "support@hosting.example"), ("Priya Raman", "priya.raman@example.org")),
    ("Quarterly figures", "Lunch on Thursday?", "Server move next weekend", "Invoice 2024-{n}",
     "Draft of the annual report", "Keys for the bicycle shed", "Meeting notes", "Conference programme",
     "Your order no. {n}", "Photos from the trip", "Question about the contract", "Backup report for host{n}",
     "Choir practice moved", "Minutes of the board meeting", "New phone number", "Re-scheduling the interview"),
    ("Thanks for sending this over so quickly.", "I have read it twice and have only a few remarks.",
     "The figures on page four do not add up yet.", "Could we talk about it on Thursday, perhaps at ten?",
     "The train was late again, so I missed the first part.", "Please find the revised version attached.",
     "Nothing of this is urgent, but it should not be forgotten either.",
     "The new machine is in the rack and answers on its old address.",
     "If that does not suit you, Friday afternoon would be fine as well.",
     "I spoke to the printers and they need the final files by the end of the month.",
     "Let me know if anything is missing.", "The children send their love, and so does the dog.",
     "We decided to keep the old name for the time being.", "My notes are below, in no particular order.",
     "The invoice was paid on Monday, it should arrive any day.", "There is cake in the kitchen."))

GERMAN = Language(
    "de", ("utf-8", "iso-8859-1", "windows-1252", "iso-8859-15"),
    (("Jürgen Müller", "juergen.mueller@example.de"), ("Käthe Böhm", "kaethe.boehm@verein.example"),
     ("Søren Weiß", "soeren.weiss@example.de"), ("Stadtwerke Köln", "kundendienst@stadtwerke.example")),
    ("Rückfrage zum Angebot", "Grüße aus Köln", "Entwürfe für die Jahrestagung", "Rechnung für März",
     "Schlüsselübergabe am Donnerstag", "Übersicht der offenen Punkte", "Einladung zur Mitgliederversammlung"),
    ("Vielen Dank für die schnelle Rückmeldung.", "Die Entwürfe liegen bei, bitte prüfen Sie sie bis Freitag.",
     "Über die Größe des Saals müssen wir noch reden.", "Schöne Grüße auch an die Kollegen in Düsseldorf.",
     "Der Zähler wurde am Dienstag abgelesen.", "Für Rückfragen stehe ich jederzeit zur Verfügung.",
     "Die Straße ist wegen Bauarbeiten gesperrt.", "Bitte den Schlüssel nicht wieder im Büro vergessen!"),
    "AW: ")

FRENCH = Language(
    "fr", ("utf-8", "iso-8859-1", "windows-1252"),
    (("Hélène Dupré", "helene.dupre@example.fr"), ("François Lefèvre", "f.lefevre@cinema.example"),
     ("Amélie Gauthier", "amelie@gauthier.example")),
    ("Réunion de préparation", "Le devis demandé", "Été 2024 : planning", "Photos de la fête", "Déménagement du serveur"),
    ("Merci beaucoup pour votre réponse détaillée.", "Le devis est joint à ce message.",
     "Nous avons réservé la salle jusqu'à minuit.", "Le café était fermé, nous sommes allés à côté.",
     "À très bientôt, j'espère.", "La fête a été déplacée à cause de la météo.",
     "Pouvez-vous vérifier les chiffres de février ?"),
    "RE : ")

SPANISH = Language(
    "es", ("iso-8859-1", "utf-8"),
    (("José Ibáñez", "jose.ibanez@example.es"), ("María Núñez", "maria.nunez@example.es")),
    ("¿Nos vemos mañana?", "Presupuesto del año próximo", "Cumpleaños de Begoña"),
    ("Muchas gracias por la información.", "Mañana llegaré un poco más tarde.",
     "El año pasado fue mucho más difícil.", "¿Podrías enviarme la dirección otra vez?"))

RUSSIAN = Language(
    "ru", ("koi8-r", "utf-8", "windows-1251"),
    (("Анна Соколова", "sokolova@example.ru"), ("Дмитрий Орлов", "orlov@station.example")),
    ("Отчёт за третий квартал", "Вопрос по договору", "Расписание поездов"),
    ("Спасибо за быстрый ответ.", "Отчёт приложен к письму.", "Встреча перенесена на четверг.",
     "Пожалуйста, проверьте цифры ещё раз.", "Поезд опять опоздал на двадцать минут."))

JAPANESE = Language(
    "ja", ("iso-2022-jp", "utf-8", "iso-2022-jp", "shift_jis", "euc-jp"),
    (("山田太郎", "taro.yamada@example.jp"), ("佐藤花子", "hanako@sato.example")),
    ("会議の日程について", "お見積りの件", "写真を送ります", "来週の打ち合わせ"),
    ("お世話になっております。", "資料を添付しましたのでご確認ください。", "来週の木曜日はいかがでしょうか。",
     "ご返信ありがとうございました。", "電車が遅れたため、少し遅刻しました。", "よろしくお願いいたします。"))

CHINESE = Language(
    "zh", ("gb2312", "utf-8", "gbk"),
    (("王小明", "xiaoming.wang@example.cn"), ("李丽", "lili@office.example")),
    ("会议安排", "合同的问题", "新服务器的报价"),
    ("谢谢您的回复。", "附件是修改后的文件,请查收。", "我们下星期四见面好吗?", "请再检查一次数字。", "火车又晚点了。"))

KOREAN = Language(
    "ko", ("euc-kr", "utf-8"),
    (("김민준", "minjun.kim@example.kr"),),
    ("회의 일정", "견적 요청"),
    ("빠른 답변 감사합니다.", "수정한 파일을 첨부합니다.", "목요일에 만날 수 있을까요?"))

POLISH = Language(
    "pl", ("iso-8859-2", "utf-8"),
    (("Łukasz Żółtowski", "lukasz@example.pl"),),
    ("Pytanie o fakturę", "Zdjęcia z wycieczki"),
    ("Dziękuję za szybką odpowiedź.", "Faktura została zapłacona w poniedziałek.", "Proszę sprawdzić załącznik."))

GREEK = Language(
    "el", ("utf-8", "iso-8859-7"),
    (("Ελένη Παππά", "eleni@example.gr"),),
    ("Πρόγραμμα συνεδρίου",),
    ("Ευχαριστώ πολύ για την απάντηση.", "Το αρχείο είναι συνημμένο."))

HEBREW = Language(
    "he", ("utf-8", "windows-1255"),
    (("נועה לוי", "noa.levi@example.il"),),
    ("שאלה על החוזה",),
    ("תודה על התשובה המהירה.", "הקובץ מצורף להודעה."))

# Weighted by how often each appears in the sample mailbox.
LANGUAGES = (
    [ENGLISH] * 24 + [GERMAN] * 8 + [FRENCH] * 4 + [SPANISH] * 2 + [RUSSIAN] * 3 + [JAPANESE] * 4
    + [CHINESE] * 3 + [KOREAN] + [POLISH] + [GREEK] + [HEBREW])

LISTS = (
    ("imap-talk", "imap-talk.lists.example", "imap-talk@lists.example",
     ("CONDSTORE and renames", "UIDVALIDITY changed after restore", "IDLE behind a NAT", "SORT on a million messages",
      "NOTIFY in the wild", "[PATCH] Quote backslashes in mailbox names", "What do you log?")),
    ("gardeners", "gardeners.lists.example", "gardeners@lists.example",
     ("Tomatoes in the rain", "Slugs, again", "Seed exchange in spring", "Compost that smells", "Pruning roses")),
)

JUNK_SUBJECTS = (
    "!!! You have WON {n} EUR !!!", "Re: your parcel {n} could not be delivered", "Cheap watches, only today",
    "Your mailbox is almost full, click here", "=?utf-8?B?RlJFRSDwn46B?= gift card inside",
    "Dear beneficiary, I am barrister J. Smith and write in strict confidence concerning a dormant account "
    "in which a considerable sum awaits a person of trust such as yourself, kindly read until the end")
