"""What moves on real pages from one visit to the next: times in the forms that sites write them, counts, tokens.

The forms are those of PHP, Django, moment.js, timeago.js and of writers in each country, written down by hand; nothing
here is taken from the tables by which cloudeye masks them.
"""

# ruff: noqa: E501, RUF001 - what sites write is not to be wrapped or translated

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

BEGIN = datetime(2026, 3, 14, 22, 58, 7, tzinfo=UTC)
# What lies between two visits: a minute, hours, across midnight, weeks, a turn of the year.
PAUSES = (
    timedelta(0),
    timedelta(seconds=61),
    timedelta(hours=3, minutes=7),
    timedelta(days=1, hours=9, minutes=13),
    timedelta(days=47, hours=14, seconds=5),
    timedelta(days=292, hours=1, minutes=1),
)

MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
    "pl": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
    "ru": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "tr": "Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık",
    "sv": "januari februari mars april maj juni juli augusti september oktober november december",
    "ar": "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
    "hi": "जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर",
    "el": "Ιανουαρίου Φεβρουαρίου Μαρτίου Απριλίου Μαΐου Ιουνίου Ιουλίου Αυγούστου Σεπτεμβρίου Οκτωβρίου Νοεμβρίου"
    " Δεκεμβρίου",
}
DAYS = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "de": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
    "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "es": "lunes martes miércoles jueves viernes sábado domingo",
    "it": "lunedì martedì mercoledì giovedì venerdì sabato domenica",
    "pt": "segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo",
    "nl": "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
    "pl": "poniedziałek wtorek środa czwartek piątek sobota niedziela",
    "ru": "понедельник вторник среда четверг пятница суббота воскресенье",
    "tr": "Pazartesi Salı Çarşamba Perşembe Cuma Cumartesi Pazar",
    "sv": "måndag tisdag onsdag torsdag fredag lördag söndag",
    "ar": "الاثنين الثلاثاء الأربعاء الخميس الجمعة السبت الأحد",
    "hi": "सोमवार मंगलवार बुधवार गुरुवार शुक्रवार शनिवार रविवार",
    "el": "Δευτέρα Τρίτη Τετάρτη Πέμπτη Παρασκευή Σάββατο Κυριακή",
}
DAY_FORM = {
    "en": "{day}, {month} {d}, {y} at {h12}:{mi:02} {ap}",
    "de": "{day}, {d}. {month} {y}, {h:02}:{mi:02} Uhr",
    "fr": "{day} {d} {month} {y} à {h}h{mi:02}",
    "es": "{day}, {d} de {month} de {y}, {h}:{mi:02} h",
    "it": "{day} {d} {month} {y} alle ore {h}.{mi:02}",
    "pt": "{day}, {d} de {month} de {y} às {h}h{mi:02}min",
    "nl": "{day} {d} {month} {y} om {h:02}:{mi:02} uur",
    "pl": "{day}, {d} {month} {y} r., godz. {h}:{mi:02}",
    "ru": "{day}, {d} {month} {y} г. в {h}:{mi:02}",
    "tr": "{d} {month} {y} {day}, saat {h:02}:{mi:02}",
    "sv": "{day} den {d} {month} {y} kl. {h:02}.{mi:02}",
    "ar": "{day}، {d} {month} {y} الساعة {h}:{mi:02}",
    "hi": "{day}, {d} {month} {y}, {h}:{mi:02} बजे",
    "el": "{day} {d} {month} {y}, {h}:{mi:02}",
}
# now, seconds, a minute, minutes, an hour, hours, a day, days, a month, months, a year, years
AGO = {
    "en": "just now|a few seconds ago|a minute ago|{n} minutes ago|an hour ago|{n} hours ago|a day ago|{n} days ago"
    "|a month ago|{n} months ago|a year ago|{n} years ago",
    "de": "gerade eben|vor ein paar Sekunden|vor einer Minute|vor {n} Minuten|vor einer Stunde|vor {n} Stunden"
    "|vor einem Tag|vor {n} Tagen|vor einem Monat|vor {n} Monaten|vor einem Jahr|vor {n} Jahren",
    "fr": "à l'instant|il y a quelques secondes|il y a une minute|il y a {n} minutes|il y a une heure|il y a {n} heures"
    "|il y a un jour|il y a {n} jours|il y a un mois|il y a {n} mois|il y a un an|il y a {n} ans",
    "es": "ahora mismo|hace unos segundos|hace un minuto|hace {n} minutos|hace una hora|hace {n} horas|hace un día"
    "|hace {n} días|hace un mes|hace {n} meses|hace un año|hace {n} años",
    "it": "adesso|alcuni secondi fa|un minuto fa|{n} minuti fa|un'ora fa|{n} ore fa|un giorno fa|{n} giorni fa"
    "|un mese fa|{n} mesi fa|un anno fa|{n} anni fa",
    "pt": "agora mesmo|há poucos segundos|há um minuto|há {n} minutos|há uma hora|há {n} horas|há um dia|há {n} dias"
    "|há um mês|há {n} meses|há um ano|há {n} anos",
    "nl": "zojuist|een paar seconden geleden|één minuut geleden|{n} minuten geleden|één uur geleden|{n} uur geleden"
    "|één dag geleden|{n} dagen geleden|één maand geleden|{n} maanden geleden|één jaar geleden|{n} jaar geleden",
    "pl": "przed chwilą|kilka sekund temu|minutę temu|{n} minut temu|godzinę temu|{n} godzin temu|1 dzień temu"
    "|{n} dni temu|miesiąc temu|{n} miesięcy temu|rok temu|{n} lat temu",
    "ru": "только что|несколько секунд назад|минуту назад|{n} минут назад|час назад|{n} часов назад|день назад"
    "|{n} дней назад|месяц назад|{n} месяцев назад|год назад|{n} лет назад",
    "tr": "az önce|birkaç saniye önce|bir dakika önce|{n} dakika önce|bir saat önce|{n} saat önce|bir gün önce"
    "|{n} gün önce|bir ay önce|{n} ay önce|bir yıl önce|{n} yıl önce",
    "sv": "just nu|för några sekunder sedan|för en minut sedan|för {n} minuter sedan|för en timme sedan"
    "|för {n} timmar sedan|för en dag sedan|för {n} dagar sedan|för en månad sedan|för {n} månader sedan"
    "|för ett år sedan|för {n} år sedan",
    "ar": "الآن|منذ ثوان|منذ دقيقة|منذ {n} دقائق|منذ ساعة|منذ {n} ساعات|منذ يوم|منذ {n} أيام|منذ شهر|منذ {n} أشهر"
    "|منذ عام|منذ {n} أعوام",
    "hi": "अभी|कुछ ही क्षण पहले|एक मिनट पहले|{n} मिनट पहले|एक घंटा पहले|{n} घंटे पहले|एक दिन पहले|{n} दिन पहले"
    "|एक महीने पहले|{n} महीने पहले|एक वर्ष पहले|{n} वर्ष पहले",
    "el": "μόλις τώρα|λίγα δευτερόλεπτα πριν|ένα λεπτό πριν|{n} λεπτά πριν|μία ώρα πριν|{n} ώρες πριν|μία μέρα πριν"
    "|{n} μέρες πριν|ένας μήνας πριν|{n} μήνες πριν|ένας χρόνος πριν|{n} χρόνια πριν",
    "zh": "刚刚|几秒前|1 分钟前|{n} 分钟前|1 小时前|{n} 小时前|昨天|{n} 天前|1 个月前|{n} 个月前|去年|{n} 年前",
    "ja": "たった今|数秒前|1分前|{n}分前|1時間前|{n}時間前|昨日|{n}日前|1ヶ月前|{n}ヶ月前|1年前|{n}年前",
    "ko": "방금 전|몇 초 전|1분 전|{n}분 전|한 시간 전|{n}시간 전|하루 전|{n}일 전|한 달 전|{n}달 전|일 년 전|{n}년 전",
}
LANGUAGES = tuple(AGO)
EASTERN_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
CHINESE_DIGITS = str.maketrans("0123456789", "〇一二三四五六七八九")

_Item = TypeVar("_Item")


class Moving:
    """One visit's moving parts, the same each time for the same page and visit."""

    def __init__(self, page: int, visit: int) -> None:
        self.rng = random.Random(f"page {page} visit {visit}")
        self.visit = visit
        self.now = BEGIN + timedelta(hours=5 * page) + sum(PAUSES[: visit + 1], timedelta(0))

    # -- times ------------------------------------------------------------------------------------------------

    def long_date(self, language: str) -> str:
        """The time now, as people of the language write it in full."""
        now = self.now
        if language == "zh":
            week = "一二三四五六日"[now.weekday()]
            part = "凌晨上午下午晚上"[now.hour // 6 * 2 :][:2]
            return f"{now.year}年{now.month}月{now.day}日 星期{week} {part}{now.hour % 12 or 12}:{now.minute:02}"
        if language == "ja":
            return f"令和{now.year - 2018}年{now.month}月{now.day}日({'月火水木金土日'[now.weekday()]}) {now.hour}時{now.minute}分"
        if language == "ko":
            half = "오전" if now.hour < 12 else "오후"
            day = "월화수목금토일"[now.weekday()]
            return f"{now.year}년 {now.month}월 {now.day}일 ({day}) {half} {now.hour % 12 or 12}시 {now.minute}분"
        text = DAY_FORM[language].format(
            day=DAYS[language].split()[now.weekday()], month=MONTHS[language].split()[now.month - 1],
            d=now.day, y=now.year, h=now.hour, mi=now.minute, h12=now.hour % 12 or 12,
            ap="AM" if now.hour < 12 else "PM",
        )  # fmt: skip
        return text.translate(EASTERN_DIGITS) if language == "ar" else text

    def short_date(self, language: str) -> str:
        """The day, in short."""
        now = self.now
        month = MONTHS.get(language, MONTHS["en"]).split()[now.month - 1]
        forms = {
            "en": f"{now:%a, %b} {now.day}", "de": f"{now.day:02}.{now.month:02}.{now.year}",
            "fr": f"{now.day:02}/{now.month:02}/{now.year}", "nl": f"{now.day}-{now.month}-{now.year}",
            "sv": f"{now:%Y-%m-%d}", "zh": f"{now.month}月{now.day}日", "ja": f"{now:%Y/%m/%d}",
            "ko": f"{now:%Y.%m.%d}.", "zh-long": f"{now.year}年".translate(CHINESE_DIGITS),
        }  # fmt: skip
        return forms.get(language, f"{now.day} {month} {now.year}")

    def chinese_date(self) -> str:
        """The day in Chinese numerals, as official gazettes write it."""
        ones = "〇一二三四五六七八九"

        def number(value: int) -> str:
            tens, one = divmod(value, 10)
            ten = "" if not tens else "十" if tens == 1 else f"{ones[tens]}十"
            return (ten + (ones[one] if one else "")) or ones[0]

        now = self.now
        return f"{str(now.year).translate(CHINESE_DIGITS)}年{number(now.month)}月{number(now.day)}日"

    def ago(self, language: str) -> str:
        """How long ago something was: sometimes now, sometimes minutes, sometimes years."""
        form = self.rng.choice(AGO[language].split("|"))
        return form.format(n=self.rng.randint(2, 28))

    def short_ago(self) -> str:
        """The same in the shortest form, as in feeds."""
        return self.rng.choice(
            ["now", "12s", "5m", "59m", "2h", "23h", "1d", "6d", "3w", "2mo", "4y", "Nov 3", "3 Jan"]
        )

    def clock(self) -> str:
        """The time of day."""
        now = self.now
        return self.rng.choice([f"{now:%H:%M:%S}", f"{now:%H:%M}", f"{now:%H:%M:%S} UTC"])

    def stamp(self) -> str:
        """The time as machines write it."""
        return self.now.strftime("%Y-%m-%dT%H:%M:%S+00:00")

    def http_date(self) -> str:
        """The time as HTTP writes it."""
        return self.now.strftime("%a, %d %b %Y %H:%M:%S GMT")

    # -- numbers ----------------------------------------------------------------------------------------------

    def count(self, most: int = 90_000) -> int:
        """A number that goes up and down."""
        return self.rng.randint(0, self.rng.choice([9, 99, most]))

    def grouped(self, separator: str = ",") -> str:
        """A count with its thousands apart."""
        return f"{self.count(9_000_000):,}".replace(",", separator)

    def short_count(self) -> str:
        """A count as social sites show it."""
        return self.rng.choice(["987", "1.2K", "12K", "3,4K", "1.1M", "2M", "640"])

    def signed(self) -> str:
        """A change in percent, with its direction."""
        value = self.rng.uniform(-9, 9)
        return self.rng.choice([f"{value:+.2f}%", f"{'▲' if value > 0 else '▼'} {abs(value):.1f} %"])

    def plural(self, one: str, many: str, none: str | None = None) -> str:
        """A counted thing."""
        number = self.rng.choice([1, 2, 5, 14, 230])
        return f"{number} {one if number == 1 else many}"

    # -- tokens -----------------------------------------------------------------------------------------------

    def hexes(self, length: int) -> str:
        """Random hexadecimal digits."""
        return "".join(self.rng.choices("0123456789abcdef", k=length))

    def word(self, length: int, letters: str = string.ascii_letters + string.digits) -> str:
        """Random letters and digits."""
        return "".join(self.rng.choices(letters, k=length))

    def base64(self, length: int) -> str:
        """Random bytes as base64."""
        return base64.b64encode(self.rng.randbytes(length)).decode()

    def base64url(self, length: int) -> str:
        """Random bytes as base64url."""
        return base64.urlsafe_b64encode(self.rng.randbytes(length)).decode().rstrip("=")

    def uuid(self) -> str:
        """A random UUID."""
        return str(uuid.UUID(bytes=self.rng.randbytes(16), version=4))

    def jwt(self) -> str:
        """A signed token."""
        body = json.dumps({"iat": int(self.now.timestamp()), "jti": self.uuid()}).encode()
        return f"eyJhbGciOiJIUzI1NiJ9.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.{self.base64url(32)}"

    # -- order ------------------------------------------------------------------------------------------------

    def shuffled(self, items: Iterable[_Item]) -> list[_Item]:
        """The same items in another order."""
        mixed = list(items)
        self.rng.shuffle(mixed)
        return mixed

    def attributes(self, **given: str) -> str:
        """Attributes in any order, quoted either way."""
        quote = self.rng.choice("\"'")
        return " ".join(f"{name.rstrip('_').replace('_', '-')}={quote}{value}{quote}" for name, value in
                        self.shuffled(given.items()))  # fmt: skip

    def gap(self) -> str:
        """White space that means nothing, or a comment."""
        return self.rng.choice(["\n", "\n\n    ", "  ", "\t\n", f"\n<!-- {self.uuid()} -->\n", "<!-- cached -->"])

    def state(self) -> dict[str, Any]:
        """Data that a page carries for its scripts, of no fixed size."""
        rng = self.rng
        return {
            "requestId": self.uuid(), "serverTime": int(self.now.timestamp() * 1000), "csrf": self.base64url(24),
            "user": None, "flags": {self.word(6, string.ascii_lowercase): rng.random() < 0.5 for _ in range(rng.randint(1, 5))},
            "items": [
                {"id": rng.randint(1, 10**6), "title": rng.choice(["Blue chair", "Red \"sofa\"", "L'été", "</b> & more"]),
                 "url": f"https://cdn.example.net/i/{self.hexes(8)}.jpg", "score": rng.random(), "tags": ["a", self.word(4)]}
                for _ in range(rng.randint(0, 7))
            ],
        }  # fmt: skip


Template = Callable[[random.Random, Moving, str], str]
