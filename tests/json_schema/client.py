"""Confluent's serializer and deserializer of JSON Schema, and the validator that they use, on lines of stdin.

client.py <registry> <schema> write   values as JSON -> bytes in base64
client.py <registry> <schema> read    bytes in base64 -> values as JSON
client.py <registry> <schema> check   values as JSON -> true or false
"""

import base64
import json
import sys

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from jsonschema import Draft202012Validator

url, path, does = sys.argv[1:]
with open(path) as file:
    text = file.read()
context = SerializationContext("orders", MessageField.VALUE)
if does == "write":
    write = JSONSerializer(text, SchemaRegistryClient({"url": url}))
    for line in sys.stdin:
        print(base64.b64encode(write(json.loads(line), context)).decode())
elif does == "read":
    read = JSONDeserializer(text)
    for line in sys.stdin:
        print(json.dumps(read(base64.b64decode(line), context)))
else:
    validator = Draft202012Validator(json.loads(text))
    for line in sys.stdin:
        print(json.dumps(validator.is_valid(json.loads(line))))
