"""Holds answers of the tests' stubs against what the vendors publish.

    validate.py VENDOR NODE_MODULES < LINES

Each line is {"method", "path", "status", "request", "body"}, the last two in
JSON. Prints a JSON array of sentences, one for each violation.

google  the discovery documents in google-api-python-client
github  the OpenAPI description in @octokit/openapi
okta    the OpenAPI description in @okta/openapi
entra   the models of msgraph-sdk: no unknown field, no value of another type
"""

import importlib
import json
import pathlib
import re
import sys

import jsonschema
from referencing import Registry
from referencing.jsonschema import DRAFT202012

VIOLATIONS_MAX = 5


def main():
    vendor, node_modules = sys.argv[1], pathlib.Path(sys.argv[2])
    judge = {"google": Google, "github": GitHub, "okta": Okta, "entra": Entra}[vendor](node_modules)
    violations = []
    for line in sys.stdin:
        exchange = json.loads(line)
        place = f"{exchange['method']} {exchange['path']} {exchange['status']}"
        for sentence in judge.violations(exchange)[:VIOLATIONS_MAX]:
            violations.append(f"{place}: {sentence}")
    json.dump(violations, sys.stdout)


class Described:
    """Endpoints with a JSON Schema for each answer."""

    def __init__(self, document):
        resource = DRAFT202012.create_resource(document)
        self.registry = Registry().with_resource("urn:api", resource)
        self.endpoints = []
        self.validators = {}

    def add(self, method, template, status, pointer):
        """`pointer` is where the document keeps the schema; None: no body."""
        pattern = re.sub(r"\\\{[^/]*?\\\}", "[^/]+", re.escape(template))
        has_parameters = "{" in template
        self.endpoints.append((has_parameters, method.upper(), re.compile(pattern), status, pointer))

    def violations(self, exchange):
        method, path, status = exchange["method"], exchange["path"], str(exchange["status"])
        fits = [e for e in self.endpoints if e[1] == method and e[2].fullmatch(path)]
        if not fits:
            return ["the vendor describes no such endpoint"]
        # An endpoint without parameters goes before one with.
        exact = min(e[0] for e in fits)
        for _, _, _, described, pointer in (e for e in fits if e[0] == exact):
            if described == status:
                return self.errors(pointer, exchange["body"])
        # Errors are mostly left out of descriptions.
        return [f"the vendor describes no status {status}"] if status == "200" else []

    def errors(self, pointer, body):
        if pointer is None:
            return []
        if pointer not in self.validators:
            schema = {"$ref": f"urn:api#{pointer}"}
            self.validators[pointer] = jsonschema.Draft202012Validator(schema, registry=self.registry)
        errors = self.validators[pointer].iter_errors(body)
        return [f"{error.json_path}: {error.message[:300]}" for error in errors]


class Google(Described):
    def __init__(self, _):
        import googleapiclient

        folder = pathlib.Path(googleapiclient.__file__).parent / "discovery_cache/documents"
        schemas, methods = {}, []
        for name in ["admin.directory_v1.json", "admin.reports_v1.json"]:
            document = json.loads((folder / name).read_text())
            schemas.update({key: discovered(value) for key, value in document["schemas"].items()})
            methods += [
                (method, "/" + document["servicePath"] + method["path"])
                for method in methods_of(document)
            ]
        super().__init__({"schemas": schemas})
        for method, template in methods:
            answer = method.get("response", {}).get("$ref")
            template = template.replace("{+", "{")
            pointer = answer and f"/schemas/{answer}"
            self.add(method["httpMethod"], template, "200" if answer else "204", pointer)


def methods_of(resource):
    for method in resource.get("methods", {}).values():
        yield method
    for inner in resource.get("resources", {}).values():
        yield from methods_of(inner)


def discovered(schema):
    """A schema of a discovery document (JSON Schema 3, with changes) in today's words."""
    if "$ref" in schema:
        return {"$ref": f"urn:api#/schemas/{schema['$ref']}"}
    if schema.get("type", "any") == "any":
        return {}
    # A 64-bit integer is a string of type "string" already.
    result = {"type": schema["type"]}
    if "items" in schema:
        result["items"] = discovered(schema["items"])
    if schema["type"] == "object":
        properties = schema.get("properties", {})
        result["properties"] = {key: discovered(value) for key, value in properties.items()}
        extra = schema.get("additionalProperties")
        result["additionalProperties"] = discovered(extra) if extra else False
    return result


class GitHub(Described):
    def __init__(self, node_modules):
        file = node_modules / "@octokit/openapi/generated/api.github.com.json"
        document = openapi(json.loads(file.read_text()))
        super().__init__(document)
        for template, operations in document["paths"].items():
            for method, operation in operations.items():
                for status, answer in operation.get("responses", {}).items():
                    at = f"/paths/{escaped(template)}/{method}/responses/{status}"
                    has_schema = "application/json" in answer.get("content", {})
                    pointer = f"{at}/content/application~1json/schema" if has_schema else None
                    self.add(method, template, status, pointer)


class Okta(Described):
    def __init__(self, node_modules):
        document = openapi(json.loads((node_modules / "@okta/openapi/dist/spec.json").read_text()))
        super().__init__(document)
        for template, operations in document["paths"].items():
            for method, operation in operations.items():
                for status, answer in operation.get("responses", {}).items():
                    at = f"/paths/{escaped(template)}/{method}/responses/{status}/schema"
                    self.add(method, template, status, at if "schema" in answer else None)


def escaped(name):
    return name.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


def openapi(node):
    """Rewrites what OpenAPI 2 and 3.0 say in words of their own."""
    if isinstance(node, list):
        return [openapi(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: openapi(value) for key, value in node.items() if key not in ("example", "examples")}
    if isinstance(node.get("$ref"), str) and node["$ref"].startswith("#"):
        node["$ref"] = "urn:api" + node["$ref"]
    for key in ("exclusiveMinimum", "exclusiveMaximum"):
        if isinstance(node.get(key), bool):
            del node[key]
    if node.pop("nullable", False) is True:
        return {"anyOf": [node, {"type": "null"}]}
    # Okta sends null for what is not set, which OpenAPI 2 cannot say.
    if "x-okta-tags" in node or node.get("readOnly") is True:
        return {"anyOf": [node, {"type": "null"}]}
    return node


class Entra:
    MODELS = [
        (r"users(/delta(\(\))?)?", "user.User"),
        (r"groups(/delta(\(\))?)?", "group.Group"),
        (r"users/[^/]+", "user.User"),
        (r"groups/[^/]+", "group.Group"),
        (r"groups/[^/]+/(transitiveM|m)embers", "directory_object.DirectoryObject"),
        (r"groups/[^/]+/(transitiveM|m)embers/microsoft\.graph\.user", "user.User"),
        (r"groups/[^/]+/(transitiveM|m)embers/microsoft\.graph\.group", "group.Group"),
        (r"directory/deletedItems/microsoft\.graph\.user", "user.User"),
        (r"directory/deletedItems/microsoft\.graph\.group", "group.Group"),
        (r"organization", "organization.Organization"),
        (r"applications", "application.Application"),
        (r"servicePrincipals(/[^/]+)?", "service_principal.ServicePrincipal"),
    ]

    def __init__(self, _):
        from kiota_serialization_json.json_parse_node import JsonParseNode

        self.parse_node = JsonParseNode

    def violations(self, exchange):
        if exchange["status"] >= 300:
            return self.error(exchange["body"])
        path = re.sub(r"^/(v1\.0|beta)/", "", exchange["path"])
        if path == "$batch":
            return self.batch(exchange)
        for pattern, name in self.MODELS:
            if re.fullmatch(pattern, path):
                return self.objects(exchange["body"], name)
        return ["no model is known for this endpoint"]

    def error(self, body):
        error = body.get("error") if isinstance(body, dict) else None
        if isinstance(error, dict) and {"code", "message"} <= error.keys():
            return []
        return ["an error has a code and a message"]

    def batch(self, exchange):
        asked = {request["id"]: request for request in exchange["request"]["requests"]}
        found = []
        for answer in exchange["body"]["responses"]:
            request = asked.pop(answer["id"], None)
            if request is None:
                found.append(f"nobody asked for {answer['id']}")
                continue
            inner = {
                "method": request["method"],
                "path": "/v1.0/" + request["url"].lstrip("/").split("?")[0],
                "status": answer["status"],
                "body": answer.get("body"),
            }
            found += [f"{inner['path']}: {sentence}" for sentence in self.violations(inner)]
        return found + [f"no answer to {key}" for key in asked]

    def objects(self, body, name):
        if isinstance(body, dict) and isinstance(body.get("value"), list):
            return [
                f"value[{index}]{sentence}"
                for index, item in enumerate(body["value"])
                for sentence in self.object(item, name)
            ]
        return self.object(body, name)

    def object(self, item, name):
        named = item.get("@odata.type", "").removeprefix("#microsoft.graph.")
        if named:
            module = re.sub(r"(?<!^)(?=[A-Z])", "_", named).lower()
            name = f"{module}.{named[0].upper()}{named[1:]}"
        module, model = name.split(".")
        factory = getattr(importlib.import_module(f"msgraph.generated.models.{module}"), model)
        parsed = self.parse_node(item).get_object_value(factory)
        known = {}
        for deserializers in [parsed.get_field_deserializers()]:
            known.update(deserializers)
        found = []
        for key, value in item.items():
            if "@" in key or value is None:
                continue
            if key not in known:
                found.append(f": {model} has no {key}")
            elif not self.is_read(parsed, key):
                found.append(f".{key}: {json.dumps(value)[:100]} is of another type")
        return found

    def is_read(self, parsed, key):
        attribute = re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower()
        return getattr(parsed, attribute, True) is not None


main()
