"""Finds parts in the stock database, which is made from data/parts.csv in memory. The name is data for SQL, never a part of it."""

import argparse
import csv
import json
import sqlite3

parser = argparse.ArgumentParser()
parser.add_argument("name")
parser.add_argument("--least", type=int, default=0)
asked = parser.parse_args()

database = sqlite3.connect(":memory:")
database.execute("CREATE TABLE parts (name TEXT, stock INTEGER)")
with open("data/parts.csv", newline="") as rows:
    database.executemany("INSERT INTO parts VALUES (:name, :stock)", csv.DictReader(rows))
found = database.execute(
    "SELECT name, stock FROM parts WHERE instr(name, ?) > 0 AND stock >= ? ORDER BY name", (asked.name, asked.least)
)
print(json.dumps({"parts": [{"name": name, "stock": stock} for name, stock in found]}))
