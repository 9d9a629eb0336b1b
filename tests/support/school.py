"""A small school: two tables, two files, and pieces of configuration."""

from __future__ import annotations

TABLES = """
CREATE TABLE cities (id SERIAL KEY, code text NOT NULL UNIQUE, name text);
CREATE TABLE pupils (
  id SERIAL KEY, name text NOT NULL UNIQUE, city_id int NOT NULL REFERENCES cities, age int DEFAULT 6
);
"""
CITIES = "code,name\nhfa,Haifa\ntlv,Tel Aviv\n"
PUPILS = "name,city.code,age\nAda,hfa,9\nBob,tlv,\nCid,hfa,11\n"
FILES = {"cities.csv": CITIES, "pupils.csv": PUPILS}
STAGE = '[[stages]]\nid = "{0}"\nname = "{0}"\n'
SEED = '[[stages.seeds]]\nname = "{0}"\nsource = "{1}"\n'
ONE_STAGE = STAGE.format("all") + SEED.format("cities", "cities.csv") + SEED.format("pupils", "pupils.csv")
TWO_STAGES = (
    STAGE.format("cities")
    + SEED.format("cities", "cities.csv")
    + STAGE.format("pupils")
    + 'dependencies = ["cities"]\n'
    + SEED.format("pupils", "pupils.csv")
)
TWO_SYNCS = TWO_STAGES.replace("[[stages.seeds]]\n", '[[stages.seeds]]\nmode = "sync"\n')
MODELS = """
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text

metadata = MetaData()
Table("cities", metadata, Column("id", Integer, primary_key=True), Column("code", Text, unique=True, nullable=False),
      Column("name", Text))
Table("pupils", metadata, Column("id", Integer, primary_key=True), Column("name", Text, unique=True, nullable=False),
      Column("city_id", ForeignKey("cities.id"), nullable=False, index=True), Column("age", Integer))
"""
MODELED = '[project]\nschema = "models.py:metadata"\n'
