"""A very small application that the bundle can release: an app of one's own needs no more than this."""

import os
import sqlite3
import time

import click
from flask import Flask, jsonify, request
from flask.cli import AppGroup

app = Flask(__name__)
database = AppGroup("db")
app.cli.add_command(database)


def connect() -> sqlite3.Connection:
    return sqlite3.connect(os.environ["APP_DATABASE_URL"].removeprefix("sqlite:///"), timeout=10)


@app.get("/ping")
@app.get("/healthz")
def ping():
    return jsonify(status="success", message="pong!")


@app.get("/readyz")
def readyz():
    return jsonify(status="success", data={"release": os.environ["APP_RELEASE"]})


@app.post("/notes")
def notes():
    if request.is_json:
        note = request.get_json()
        time.sleep(note["seconds"])
        with open(os.path.join(os.environ["APP_DATA_DIR"], "notes"), "a") as file:
            file.write(f"{note['id']}\n")
    return jsonify(status="success", data={"length": len(request.get_data())}), 201


@database.command()
def upgrade() -> None:
    with connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS admins (email TEXT PRIMARY KEY)")


@app.cli.command("create-admin")
@click.option("--email", required=True)
@click.option("--password-file", required=True)
def create_admin(email: str, password_file: str) -> None:
    with connect() as connection:
        connection.execute("INSERT OR IGNORE INTO admins VALUES (?)", (email,))


@app.cli.command()
def check() -> None:
    with connect() as connection:
        connection.execute("SELECT email FROM admins")
