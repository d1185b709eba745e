"""See the sites, add one; take them out as a file and in again."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from flask import current_app, flash, redirect, request, url_for
from flask_login import current_user
from marshmallow import ValidationError
from sqlalchemy import func, or_, select

from cloudeye.api.sites import add_from_file, file_of, refusing_bad_sites
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext
from cloudeye.models import STATES, TAMPER_STATES, Site, SiteTag, utcnow
from cloudeye.pages.base import Form, blueprint, members_only, render
from cloudeye.schemas.sites import NewSiteSchema, SiteQuerySchema
from cloudeye.services import maintenance, sites
from cloudeye.turns import Turns

PER_PAGE = 50  # more would hold the hub for too long while they are read
STATE_WORDS = (N_("up"), N_("down"), N_("unknown"), N_("paused"))  # of the template; the words of STATES
TAMPER_WORDS = (N_("unknown"), N_("unchanged"), N_("changed"))  # the words of TAMPER_STATES
FILTERS = ("state", "tag", "paused", "q")
SHOWN = (
    "id", "name", "url", "state", "paused", "maintenance", "status_code", "latency_ms", "error", "last_checked_at",
    "state_since", "tamper_state", "tamper_severity", "grade", "open_findings",
)  # fmt: skip


@blueprint.get("/")
@members_only
def show_sites() -> Any:
    """Show the sites that the visitor may see, those that are down first."""
    return _page(_new_form())


@blueprint.post("/sites")
@members_only
def add_site() -> Any:
    """Watch another site."""
    settings = current_app.config["CLOUDEYE"].sync
    form = Form("site")
    with form.explaining():
        form.read("name", "url", "interval", "tags")
        interval = typed_number(form.values["interval"])
        given = form.check(NewSiteSchema(), interval=interval, tags=words_of(form.values["tags"]))
        with refusing_bad_sites():
            site = sites.create_site(db.session(), owner_id=current_user.id, given=given, config=settings)
        db.session.commit()
        flash(gettext("%(name)s was added. Its first check is under way.", name=site.name))
        return redirect(url_for("pages.show_sites"), 303)
    return _page(form)


@blueprint.get("/sites/export")
@members_only
def export_sites() -> Any:
    """Send the visitor's own sites as a file."""
    return file_of(current_user.id, "csv" if request.args.get("format") == "csv" else "json")


@blueprint.route("/sites/import", methods=["GET", "POST"])
@members_only
def import_sites() -> Any:
    """Watch the sites of a file, or say what is wrong with it."""
    form, troubles = Form("import", file="", dry_run=False), list[str]()
    if request.method == "POST":
        form.values["dry_run"] = "dry_run" in request.form
        with form.explaining():
            try:
                return _take_in(form)
            except Problem as problem:
                troubles = problem.data.pop("rows", []) if problem.data else []
                raise
    return form.answer(render("import.html", form=form, troubles=troubles))


def _take_in(form: Form) -> Any:
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        raise ValidationError({"file": [N_("Choose a file.")]})
    data = sent.stream.read()
    by_name = {".json": "json", ".csv": "csv"}.get(sent.filename.lower()[sent.filename.rfind(".") :])
    kind = by_name or ("json" if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{") else "csv")
    dry = form.values["dry_run"]
    added, left_out = add_from_file(current_user.id, data, kind, dry=dry)
    if dry:
        db.session.rollback()
        said = gettext(
            "The file is fine: it would add %(added)s sites and leave out %(left_out)s that are there already.",
            added=added,
            left_out=left_out,
        )
        flash(said)
        return redirect(url_for("pages.import_sites"), 303)
    db.session.commit()
    flash(gettext("%(added)s sites were added; %(left_out)s were there already.", added=added, left_out=left_out))
    return redirect(url_for("pages.show_sites"), 303)


def words_of(text: str) -> list[str]:
    """Return the words that were typed, with blanks or commas between."""
    return text.replace(",", " ").split()


def number_of(text: str) -> int | None:
    """Return the whole number that was typed, None where it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def typed_number(text: str) -> int | str:
    """Return the whole number that was typed into a field, or the text, of which the schema says what is wrong."""
    number = number_of(text.strip())
    return text if number is None else number


def _new_form() -> Form:
    return Form("site", name="", url="", tags="", interval=current_app.config["CLOUDEYE"].sync.default_interval)


def _page(form: Form) -> Any:
    mine = [] if current_user.is_admin else [Site.owner_id == current_user.id]
    groups = db.session.execute(
        select(Site.paused, Site.state, func.count()).where(*mine).group_by(Site.paused, Site.state)
    )
    counts: Counter[str] = Counter()
    for paused, state, number in groups:
        counts["paused" if paused else state] += number
    Turns.of_page().rest()
    chosen, asked = _asked()
    wanted = [*mine, *_conditions(asked)]
    total = db.session.scalar(select(func.count()).select_from(Site).where(*wanted)) or 0 if asked else counts.total()
    pages = max(1, -(-total // PER_PAGE))
    page = min(max(1, number_of(request.args.get("page", "1")) or 1), pages)
    Turns.of_page().rest()
    # "down" < "unknown" < "up": the alphabet happens to put first what needs a look.
    query = select(*(getattr(Site, name) for name in SHOWN)).where(*wanted).order_by(Site.state, Site.name, Site.id)
    found = db.session.execute(query.limit(PER_PAGE).offset((page - 1) * PER_PAGE)).all()

    now = utcnow()
    Turns.of_page().rest()

    def link(number: int) -> str:
        return url_for("pages.show_sites", page=number, **{name: asked[name] for name in asked})

    return form.answer(
        render(
            "sites.html",
            sites=found,
            in_maintenance={site.id for site in found if maintenance.active(site.maintenance, now)},
            tags=_tags_of([site.id for site in found]),
            counts={state: counts[state] for state in (*STATES, "paused") if state != "paused" or counts[state]},
            words={state: gettext(state) for state in (*STATES, *TAMPER_STATES, "paused")},
            filter=chosen,
            filtered=bool(asked),
            paging={
                "page": page,
                "pages": pages,
                "prev": link(page - 1) if page > 1 else None,
                "next": link(page + 1) if page < pages else None,
            },
            form=form,
            settings=current_app.config["CLOUDEYE"].sync,
        )
    )


def _asked() -> tuple[Form, dict[str, Any]]:
    """Return what was chosen, and what of it can be looked for; nonsense finds nothing to say but itself."""
    chosen = Form("filter", **{name: request.args.get(name, "") for name in FILTERS})
    given = {name: value for name, value in chosen.values.items() if value}
    try:
        asked = SiteQuerySchema(only=FILTERS).load(given)
    except ValidationError as error:
        chosen.refuse(400, "", error.messages_dict)
        asked = SiteQuerySchema(only=FILTERS).load({name: given[name] for name in given if name not in chosen.errors})
    return chosen, dict(asked)


def _conditions(asked: dict[str, Any]) -> list[Any]:
    found: list[Any] = [getattr(Site, name) == asked[name] for name in ("state", "paused") if name in asked]
    if "tag" in asked:
        found.append(Site.id.in_(select(SiteTag.site_id).where(SiteTag.tag == asked["tag"])))
    if "q" in asked:
        found.append(or_(*(column.icontains(asked["q"], autoescape=True) for column in (Site.name, Site.url))))
    return found


def _tags_of(numbers: list[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    query = select(SiteTag.site_id, SiteTag.tag).where(SiteTag.site_id.in_(numbers)).order_by(SiteTag.tag)
    for number, tag in db.session.execute(query) if numbers else ():
        found[number].append(tag)
    return found
