"""The endpoints of the benchmark as users of FastAPI would write them: async SQLAlchemy, asyncmy, pydantic.

The tables, the statements, the tokens and what is refused are those of the application; the answers are the same JSON
(the benchmark compares them). What the application adds to an answer (ETag, X-Request-ID) is added here too. Answers
are written by pydantic at once: that is the fastest way that FastAPI's documentation describes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from sqlalchemy import func, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from cloudeye.config import Config
from cloudeye.db import MYSQL_ARGS
from cloudeye.models import Revocation, Site, User, utcnow
from cloudeye.services import sites

REVOCATIONS_SECONDS = 2.0  # as tokens.py has it
MASK = sites.MASK

config = Config.from_environment()
KEY = hmac.new(config.secret_key.encode(), b"access tokens", hashlib.sha256).hexdigest()
engine = create_async_engine(
    make_url(config.database_url).set(drivername="mysql+asyncmy", password=config.database_login()[1] or None),
    connect_args=MYSQL_ARGS,
    isolation_level="READ COMMITTED",
    pool_size=config.pool_size,
    max_overflow=config.pool_overflow,
    pool_timeout=config.pool_wait,
    pool_recycle=3600,
    pool_use_lifo=True,
    hide_parameters=True,
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI(title=config.name, openapi_url="/api/openapi.json")

# -- what goes over the wire -----------------------------------------------------------------------------------

Moment = Annotated[datetime, PlainSerializer(datetime.isoformat, return_type=str)]
Tag = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\s,]+$")]


class NewSite(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=120)
    url: str = Field(min_length=1, max_length=2048, pattern="^[Hh][Tt][Tt][Pp][Ss]?://")
    tags: list[Tag] = Field(default=[], max_length=20)
    interval: int = Field(default=0, ge=config.sync.minimum_interval, le=86_400)
    timeout: float | None = Field(default=None, ge=1)
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    headers: dict[str, str] | None = None
    body: str | None = Field(default=None, min_length=1, max_length=16_384)
    expected_statuses: str = Field(default="200-399", max_length=120)
    keyword_present: str | None = Field(default=None, min_length=1, max_length=255)
    keyword_absent: str | None = Field(default=None, min_length=1, max_length=255)
    follow_redirects: bool = True
    retries: int = Field(default=0, ge=0, le=10)
    maintenance: list[dict[str, Any]] | None = None
    paused: bool = False
    alert_targets: list[int] | None = Field(default=None, max_length=100)
    ignore_rules: dict[str, list[str]] | None = None
    redirect_paths: list[str] | None = Field(default=None, max_length=10)


class SiteOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    state: str
    status_code: int | None
    latency_ms: float | None
    error: str | None
    last_checked_at: Moment | None
    state_since: Moment | None
    id: int
    owner_id: int
    name: str
    url: str
    tags: list[str]
    interval: int
    timeout: float | None
    method: str
    headers: dict[str, str] | None
    body: str | None
    expected_statuses: str
    keyword_present: str | None
    keyword_absent: str | None
    follow_redirects: bool
    retries: int
    maintenance: list[dict[str, Any]] | None
    paused: bool
    alert_targets: list[int] | None
    ignore_rules: dict[str, list[str]] | None
    redirect_paths: list[str] | None
    tamper_state: str
    tamper_severity: str | None
    grade: str | None
    score: int | None
    open_findings: int
    worst_severity: str | None
    certificate_expires_at: Moment | None
    controlled_at: Moment | None
    created_at: Moment
    updated_at: Moment


class OneSite(BaseModel):
    site: SiteOut


class Paging(BaseModel):
    page: int
    per_page: int
    total: int
    next: str | None
    prev: str | None


class SomeSites(BaseModel):
    sites: list[SiteOut]
    paging: Paging


class SiteAnswer(BaseModel):
    status: Literal["success"] = "success"
    data: OneSite


class AddedAnswer(SiteAnswer):
    message: str


class SitesAnswer(BaseModel):
    status: Literal["success"] = "success"
    data: SomeSites


# -- who asks --------------------------------------------------------------------------------------------------


class Caller(BaseModel):
    id: int
    role: str
    version: int


class Revocations:
    """What this process knows of revoked tokens; read anew every two seconds, as in the application."""

    def __init__(self) -> None:
        self.sessions: frozenset[str] = frozenset()
        self.versions: dict[int, int] = {}
        self.read_at = float("-inf")
        self.reading = asyncio.Lock()

    async def refuse(self, claims: dict[str, Any]) -> bool:
        if time.monotonic() - self.read_at >= REVOCATIONS_SECONDS:
            async with self.reading:
                if time.monotonic() - self.read_at >= REVOCATIONS_SECONDS:
                    await self._read()
        return claims["sid"] in self.sessions or claims["ver"] < self.versions.get(int(claims["sub"]), 0)

    async def _read(self) -> None:
        begun = time.monotonic()
        async with engine.connect() as connection:
            columns = Revocation.session_id, Revocation.user_id, Revocation.access_version
            rows = (await connection.execute(select(*columns).where(Revocation.expires_at > utcnow()))).all()
        versions: dict[int, int] = {}
        for _, user_id, version in rows:
            if user_id is not None and version is not None:
                versions[user_id] = max(version, versions.get(user_id, 0))
        self.sessions = frozenset(row[0] for row in rows if row[0] is not None)
        self.versions, self.read_at = versions, begun


revocations = Revocations()


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


async def caller(authorization: Annotated[str, Header()] = "") -> Caller:
    scheme, _, token = authorization.partition(" ")
    refused = HTTPException(401, "Please log in: a valid access token is needed.", {"WWW-Authenticate": "Bearer"})
    if scheme.lower() != "bearer":
        raise refused
    try:
        claims = jwt.decode(token, KEY, algorithms=["HS256"])
        if claims["type"] != "access" or await revocations.refuse(claims):
            raise refused
        return Caller(id=int(claims["sub"]), role=claims["role"], version=claims["ver"])
    except (jwt.PyJWTError, KeyError, ValueError):
        raise refused from None


Session = Annotated[AsyncSession, Depends(session)]
SignedIn = Annotated[Caller, Depends(caller)]


def shown(site: Site, asks: Caller) -> SiteOut:
    """Headers and bodies may hold what lets somebody in: they are the owner's alone."""
    out = SiteOut.model_validate(site)
    if asks.id != site.owner_id:
        out.headers = dict.fromkeys(out.headers, MASK) if out.headers else out.headers
        out.body = MASK if out.body is not None else None
    return out


def tagged(request: Request, answer: BaseModel, status: int = 200, version: int | None = None) -> Response:
    """The answer with its entity tag; where the client has it already, without a body."""
    body = answer.model_dump_json().encode()
    digest = hashlib.sha256(body).hexdigest()[:20]
    tag = f'"{digest}"' if version is None else f'"{version}.{digest}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "X-Request-ID": request.headers.get("X-Request-ID") or uuid.uuid4().hex,
    }
    if request.method == "GET" and request.headers.get("If-None-Match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, status, headers, "application/json")


# -- the endpoints ---------------------------------------------------------------------------------------------


@app.get("/ping")
async def ping(request: Request, response: Response) -> dict[str, str]:
    response.headers["X-Request-ID"] = request.headers.get("X-Request-ID") or uuid.uuid4().hex
    return {"message": "pong!", "status": "success"}


@app.get("/api/v1/sites/{site_id}")
async def get_site(site_id: int, request: Request, session: Session, asks: SignedIn) -> Response:
    site = await session.get(Site, site_id)
    if site is None or (asks.role != "admin" and site.owner_id != asks.id):
        raise HTTPException(404, "Site does not exist")
    return tagged(request, SiteAnswer(data=OneSite(site=shown(site, asks))), version=site.version)


@app.get("/api/v1/sites")
async def list_sites(
    request: Request,
    session: Session,
    asks: SignedIn,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    per_page: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Response:
    query = select(Site)
    if asks.role != "admin":
        query = query.where(Site.owner_id == asks.id)
    found = (await session.scalars(query.order_by(Site.id).limit(per_page).offset((page - 1) * per_page))).all()
    total = await session.scalar(select(func.count()).select_from(query.subquery())) or 0

    def link(number: int) -> str:
        arguments = {**request.query_params, "page": str(number), "per_page": str(per_page)}
        return f"{request.url.path}?{urlencode(arguments)}"

    paging = Paging(
        page=page,
        per_page=per_page,
        total=total,
        next=link(page + 1) if page * per_page < total else None,
        prev=link(page - 1) if page > 1 else None,
    )
    answer = SitesAnswer(data=SomeSites(sites=[shown(site, asks) for site in found], paging=paging))
    return tagged(request, answer)


@app.post("/api/v1/sites", status_code=201)
async def add_site(given: NewSite, request: Request, session: Session, asks: SignedIn) -> Response:
    user = await session.get(User, asks.id)
    if user is None or not user.active or asks.version != user.access_version:
        raise HTTPException(401, "This account is not active.", {"WWW-Authenticate": "Bearer"})
    try:
        wanted = sites.complete(given.model_dump(exclude_unset=True), config.sync)
        sites.check(wanted, sites.SETTINGS, config.sync, ())
    except sites.BadSite as bad:
        raise HTTPException(400, bad.data) from None
    site = sites.new_site(user.id, wanted)
    session.add(site)
    await session.flush()
    out = shown(site, asks)
    await session.commit()
    return tagged(request, AddedAnswer(message=f"{site.name} was added!", data=OneSite(site=out)), 201, site.version)


@app.get("/bench/query/{milliseconds}")
async def query(milliseconds: int, session: Session) -> dict[str, str]:
    await session.execute(text("SELECT SLEEP(:seconds)"), {"seconds": milliseconds / 1000})
    return {"status": "success"}
