"""How types and shapes are checked while tests run: an int is a float, as Python's type rules have it (PEP 484)."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
