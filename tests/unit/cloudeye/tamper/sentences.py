"""What the pages of the corpus say: a few sentences and words in each language."""

# ruff: noqa: E501, RUF001 - what sites write is not to be wrapped or translated

from __future__ import annotations

SENTENCES = {
    "en": "The library is open to everyone, and joining costs nothing.|Our workshop repairs bicycles of every make while"
    " you wait.|Please bring your receipt when you return an item.|The council meets in public; anyone may attend."
    "|Read the terms before you order.|We roast our coffee in small batches and ship it the same day.|Payments are"
    " handled by our bank and never touch our servers.|Volunteers keep this archive alive.|Parking is behind the"
    " building.|Call us if anything is unclear: we are glad to help.",
    "de": "Die Bibliothek steht allen offen, die Anmeldung ist kostenlos.|Unsere Werkstatt repariert Fahrräder aller"
    " Marken.|Bitte bringen Sie zur Rückgabe den Kassenbon mit.|Der Gemeinderat tagt öffentlich.|Lesen Sie vor der"
    " Bestellung unsere Bedingungen.|Wir rösten in kleinen Mengen und versenden am selben Tag.|Die Zahlung übernimmt"
    " unsere Bank.|Parkplätze finden Sie hinter dem Haus.|Rufen Sie uns an, wenn etwas unklar ist.",
    "fr": "La bibliothèque est ouverte à tous et l'inscription est gratuite.|Notre atelier répare tous les vélos."
    "|Merci d'apporter le ticket de caisse pour tout retour.|Le conseil siège en public.|Lisez les conditions avant de"
    " commander.|Nous torréfions en petites quantités.|Les paiements sont traités par notre banque.|Le parking se"
    " trouve derrière le bâtiment.|Appelez-nous si un point n'est pas clair.",
    "es": "La biblioteca está abierta a todos y la inscripción es gratuita.|Nuestro taller repara bicicletas de todas"
    " las marcas.|Traiga el recibo para cualquier devolución.|El consejo se reúne en público.|Lea las condiciones antes"
    " de comprar.|Tostamos el café en lotes pequeños.|Nuestro banco gestiona los pagos.|El aparcamiento está detrás del"
    " edificio.|Llámenos si algo no queda claro.",
    "it": "La biblioteca è aperta a tutti e l'iscrizione è gratuita.|La nostra officina ripara biciclette di ogni marca."
    "|Per i resi serve lo scontrino.|Il consiglio si riunisce in pubblico.|Leggete le condizioni prima di ordinare.|I"
    " pagamenti sono gestiti dalla nostra banca.|Il parcheggio è dietro l'edificio.",
    "pt": "A biblioteca está aberta a todos e a inscrição é gratuita.|A nossa oficina repara bicicletas de todas as"
    " marcas.|Traga o recibo para devoluções.|O conselho reúne-se em público.|Leia as condições antes de encomendar.|Os"
    " pagamentos são tratados pelo nosso banco.|O estacionamento fica atrás do edifício.",
    "nl": "De bibliotheek is er voor iedereen en lid worden is gratis.|Onze werkplaats repareert fietsen van elk merk."
    "|Neem bij retour de kassabon mee.|De raad vergadert in het openbaar.|Lees de voorwaarden voordat u bestelt."
    "|Betalingen lopen via onze bank.|Parkeren kan achter het gebouw.",
    "pl": "Biblioteka jest otwarta dla wszystkich, a zapis jest bezpłatny.|Nasz warsztat naprawia rowery każdej marki."
    "|Przy zwrocie prosimy o paragon.|Rada obraduje publicznie.|Przed zamówieniem prosimy przeczytać regulamin."
    "|Płatności obsługuje nasz bank.|Parking znajduje się za budynkiem.",
    "ru": "Библиотека открыта для всех, запись бесплатна.|Наша мастерская чинит велосипеды любых марок.|Для возврата"
    " нужен чек.|Совет заседает открыто.|Прочитайте условия перед заказом.|Платежи проводит наш банк.|Стоянка находится"
    " за зданием.",
    "tr": "Kütüphane herkese açıktır ve üyelik ücretsizdir.|Atölyemiz her marka bisikleti onarır.|İade için fişinizi"
    " getirin.|Meclis halka açık toplanır.|Sipariş vermeden koşulları okuyun.|Ödemeleri bankamız alır.|Otopark binanın"
    " arkasındadır.",
    "sv": "Biblioteket är öppet för alla och det kostar inget att bli medlem.|Vår verkstad lagar cyklar av alla märken."
    "|Ta med kvittot vid retur.|Fullmäktige sammanträder offentligt.|Läs villkoren innan du beställer.|Betalningar sköts"
    " av vår bank.|Parkering finns bakom huset.",
    "ar": "المكتبة مفتوحة للجميع والتسجيل مجاني.|ورشتنا تصلح الدراجات من كل الأنواع.|يرجى إحضار الإيصال عند الإرجاع."
    "|يجتمع المجلس علنا.|اقرأ الشروط قبل الطلب.|يتولى مصرفنا المدفوعات.|موقف السيارات خلف المبنى.",
    "hi": "पुस्तकालय सबके लिए खुला है और सदस्यता निःशुल्क है।|हमारी कार्यशाला हर तरह की साइकिल ठीक करती है।|वापसी के लिए"
    " रसीद लाएँ।|परिषद की बैठक सार्वजनिक होती है।|आदेश देने से पहले शर्तें पढ़ें।|भुगतान हमारा बैंक संभालता है।",
    "el": "Η βιβλιοθήκη είναι ανοιχτή σε όλους και η εγγραφή δωρεάν.|Το εργαστήριό μας επισκευάζει ποδήλατα.|Για"
    " επιστροφές φέρτε την απόδειξη.|Το συμβούλιο συνεδριάζει δημόσια.|Διαβάστε τους όρους πριν παραγγείλετε.",
    "zh": "图书馆向所有人开放，办证免费。|我们的车间修理各种品牌的自行车。|退货时请出示收据。|委员会公开举行会议。|下单前请阅读"
    "条款。|付款由我们的银行处理。|停车场位于楼后。|如有疑问，请致电我们。",
    "ja": "図書館はどなたでも無料でご利用いただけます。|当店ではあらゆるメーカーの自転車を修理します。|返品の際はレシートを"
    "お持ちください。|議会は公開で行われます。|ご注文の前に規約をお読みください。|お支払いは銀行が処理します。|駐車場は建物の裏に"
    "あります。",
    "ko": "도서관은 누구나 무료로 이용할 수 있습니다.|저희 작업장은 모든 자전거를 수리합니다.|반품하실 때 영수증을 가져오세요."
    "|의회는 공개로 열립니다.|주문하기 전에 약관을 읽어 주세요.|결제는 은행에서 처리합니다.",
}
NAMES = {
    "en": "Home|Shop|News|About us|Contact|Search|Log in|Read more",
    "de": "Startseite|Laden|Aktuelles|Über uns|Kontakt|Suche|Anmelden|Weiterlesen",
    "fr": "Accueil|Boutique|Actualités|À propos|Contact|Rechercher|Connexion|Lire la suite",
    "es": "Inicio|Tienda|Noticias|Quiénes somos|Contacto|Buscar|Entrar|Leer más",
    "it": "Home|Negozio|Notizie|Chi siamo|Contatti|Cerca|Accedi|Continua",
    "pt": "Início|Loja|Notícias|Sobre nós|Contacto|Pesquisar|Entrar|Ler mais",
    "nl": "Home|Winkel|Nieuws|Over ons|Contact|Zoeken|Inloggen|Lees verder",
    "pl": "Strona główna|Sklep|Aktualności|O nas|Kontakt|Szukaj|Zaloguj się|Czytaj dalej",
    "ru": "Главная|Магазин|Новости|О нас|Контакты|Поиск|Войти|Читать далее",
    "tr": "Ana sayfa|Mağaza|Haberler|Hakkımızda|İletişim|Ara|Giriş|Devamı",
    "sv": "Hem|Butik|Nyheter|Om oss|Kontakt|Sök|Logga in|Läs mer",
    "ar": "الرئيسية|المتجر|الأخبار|من نحن|اتصل بنا|بحث|دخول|اقرأ المزيد",
    "hi": "मुखपृष्ठ|दुकान|समाचार|हमारे बारे में|संपर्क|खोजें|लॉग इन|और पढ़ें",
    "el": "Αρχική|Κατάστημα|Νέα|Σχετικά|Επικοινωνία|Αναζήτηση|Σύνδεση|Περισσότερα",
    "zh": "首页|商店|新闻|关于我们|联系我们|搜索|登录|阅读全文",
    "ja": "ホーム|ショップ|ニュース|会社概要|お問い合わせ|検索|ログイン|続きを読む",
    "ko": "홈|상점|뉴스|회사 소개|문의|검색|로그인|더 보기",
}
# one, many: views, comments, items in stock, people online
COUNTED = {
    "en": ("view", "views", "comment", "comments", "{} people are looking at this", "Only {} left"),
    "de": ("Aufruf", "Aufrufe", "Kommentar", "Kommentare", "{} Besucher online", "Nur noch {} auf Lager"),
    "fr": ("vue", "vues", "commentaire", "commentaires", "{} visiteurs en ligne", "Plus que {} en stock"),
    "es": ("visita", "visitas", "comentario", "comentarios", "{} usuarios en línea", "Solo quedan {}"),
    "it": ("visualizzazione", "visualizzazioni", "commento", "commenti", "{} utenti online", "Ne restano {}"),
    "pt": ("visualização", "visualizações", "comentário", "comentários", "{} visitantes online", "Restam {}"),
    "nl": ("weergave", "weergaven", "reactie", "reacties", "{} bezoekers online", "Nog {} op voorraad"),
    "pl": ("odsłona", "odsłon", "komentarz", "komentarzy", "{} osób na stronie", "Zostało {} szt."),
    "ru": ("просмотр", "просмотров", "комментарий", "комментариев", "{} посетителей на сайте", "Осталось {} шт."),
    "tr": ("görüntüleme", "görüntüleme", "yorum", "yorum", "{} ziyaretçi çevrimiçi", "Son {} ürün"),
    "sv": ("visning", "visningar", "kommentar", "kommentarer", "{} besökare online", "Bara {} kvar"),
    "ar": ("مشاهدة", "مشاهدات", "تعليق", "تعليقات", "{} زائر الآن", "بقي {} فقط"),
    "hi": ("दृश्य", "दृश्य", "टिप्पणी", "टिप्पणियाँ", "{} लोग देख रहे हैं", "केवल {} बचे हैं"),
    "el": ("προβολή", "προβολές", "σχόλιο", "σχόλια", "{} επισκέπτες", "Απομένουν {}"),
    "zh": ("次浏览", "次浏览", "条评论", "条评论", "当前在线 {} 人", "仅剩{}件"),
    "ja": ("回閲覧", "回閲覧", "件のコメント", "件のコメント", "現在{}人が閲覧中", "残り{}点"),
    "ko": ("회 조회", "회 조회", "개의 댓글", "개의 댓글", "현재 {}명 접속 중", "{}개 남음"),
}
