"""casefile - reads a .case file and compares replies with it.

    # comment
    env: CORS_ORIGIN=https://a.example        settings of the instance
    workers: yes                              with workers, and locks granted
    db: {"_id": 1, "at": {"$date": "..."}}    a document (extended JSON) of $C
    > PUT /api/db/$C/1                        a request
    > Content-Type: application/json
    >
    > {"a": 1}
    < 200                                     its expected reply
    < X-Request-Id: *                         a header; `*` is any text
    < !ETag                                   a header that is absent
    < {"success": true, "n": *, ...}          JSON; or, after an empty `<`,
                                              text that is compared whole

In JSON `...` lets an object or array hold more, a bare `*` is any value and
`*` in a text is any text. `$C` is a collection of the case's own;
"$NAME=pattern" in an expected text keeps what was found as `$NAME`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

MORE, ANY = "\x01more", "\x01any"
TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\.\.\.|[\[\]{}*]|[^\[\]{}*".]+|\.')


@dataclass
class Exchange:
    line: int
    request: list[str] = field(default_factory=list)
    reply: list[str] = field(default_factory=list)


@dataclass
class Case:
    env: dict[str, str] = field(default_factory=dict)
    workers: bool = False
    documents: list[str] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)


def read(path: Path) -> Case:
    case, last = Case(), ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        kind, rest = line[:1], line[2:]
        if kind == ">":
            if last != ">":
                case.exchanges.append(Exchange(number))
            case.exchanges[-1].request.append(rest)
        elif kind == "<":
            case.exchanges[-1].reply.append(rest)
        elif line.startswith("env: "):
            name, _, value = line[5:].partition("=")
            case.env[name] = value
        elif line == "workers: yes":
            case.workers = True
        elif line.startswith("db: "):
            case.documents.append(line[4:])
        else:
            assert not line or kind == "#", f"{path}:{number}: {line}"
            continue
        last = kind
    assert case.exchanges, f"{path}: no request"
    return case


class Names(dict):
    """`$C` and what was kept on the way."""

    def fill(self, text: str) -> str:
        return re.sub(
            r"\$([A-Z]+)\b", lambda m: self.get(m[1], m[0]), text
        )


def split_request(lines: list[str]) -> tuple[str, str, list, bytes | None]:
    method, _, target = lines[0].partition(" ")
    headers, body = [], None
    for i, line in enumerate(lines[1:], 1):
        if line == "":
            body = "\n".join(lines[i + 1 :]).encode()
            break
        name, _, value = line.partition(": ")
        headers.append((name, value))
    return method, target, headers, body


def pattern_of(text: str):
    out, open_brackets = "", ""
    for token in TOKEN.findall(text):
        if token in "[{":
            open_brackets += token
        elif token in "]}":
            open_brackets = open_brackets[:-1]
        elif token == "*":
            token = json.dumps(ANY)
        elif token == "...":
            token = json.dumps(MORE)
            token += ": 0" if open_brackets[-1] == "{" else ""
        out += token
    return json.loads(out)


def same_text(want: str, got: str, names: Names) -> bool:
    kept = re.match(r"\$([A-Z]+)=", want)
    glob = want[kept.end() :] if kept else want
    parts = [re.escape(part) for part in glob.split("*")]
    if not re.fullmatch(".*".join(parts), got, re.S):
        return False
    if kept:
        names[kept[1]] = got
    return True


def differ(want, got, names: Names, at: str = "body") -> str:
    """Empty, or the first difference."""
    if want == ANY:
        return ""
    if isinstance(want, str) and isinstance(got, str):
        ok = same_text(names.fill(want), got, names)
        return "" if ok else f"{at}: expected {names.fill(want)!r}, got {got!r}"
    if isinstance(want, dict) and isinstance(got, dict):
        more = MORE in want
        want = {names.fill(k): v for k, v in want.items() if k != MORE}
        missing = [k for k in want if k not in got]
        extra = [k for k in got if k not in want]
        if missing or (extra and not more):
            return f"{at}: missing {missing}, not expected {extra}"
        found = (differ(v, got[k], names, f"{at}.{k}") for k, v in want.items())
        return next(filter(None, found), "")
    if isinstance(want, list) and isinstance(got, list):
        more = MORE in want
        want = [v for v in want if v != MORE]
        if len(got) < len(want) or (len(got) > len(want) and not more):
            return f"{at}: expected {len(want)} items, got {len(got)}: {got}"
        found = (
            differ(w, g, names, f"{at}[{i}]")
            for i, (w, g) in enumerate(zip(want, got))
        )
        return next(filter(None, found), "")
    if type(want) is type(got) and want == got:
        return ""
    return f"{at}: expected {want!r}, got {got!r}"


def differ_header(line: str, headers, names: Names) -> str:
    if line.startswith("!"):
        got = headers.get(line[1:])
        return "" if got is None else f"{line[1:]} is present: {got}"
    name, _, want = line.partition(": ")
    got = ", ".join(headers.get_all(name, []))
    if name in headers and same_text(names.fill(want), got, names):
        return ""
    return f"{name}: expected {names.fill(want)!r}, got {got!r}"


def check(lines: list[str], reply, names: Names) -> str:
    """Compares a reply with its lines; empty, or the first difference."""
    if str(reply.status) != lines[0]:
        return f"status: expected {lines[0]}, got {reply.status}"
    for i, line in enumerate(lines[1:], 1):
        if line == "":
            want = names.fill("\n".join(lines[i + 1 :]))
            got = reply.body.decode()
            ok = same_text(want, got, names)
            return "" if ok else f"body: expected {want!r}, got {got!r}"
        if line[0] in "{[":
            want = pattern_of("\n".join(lines[i:]))
            return differ(want, json.loads(reply.body), names)
        wrong = differ_header(line, reply.headers, names)
        if wrong:
            return wrong
    return ""
