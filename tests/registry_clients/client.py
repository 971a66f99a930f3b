"""Confluent's Python client and its serializers against the registry whose address is the argument."""

import sys
import tempfile
import uuid
from pathlib import Path

import grpc_tools
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from grpc_tools import protoc

url = sys.argv[1]
client = SchemaRegistryClient({"url": url})


def refused(code, call):
    try:
        call()
    except SchemaRegistryError as error:
        assert error.error_code == code, (code, error)
        return error
    raise AssertionError(f"not refused with {code}")


def value(topic):
    return SerializationContext(topic, MessageField.VALUE)


ORDER = '{"type": "record", "name": "Order", "namespace": "shop", "fields": [{"name": "id", "type": "string"}%s]}'


def avro():
    first = ORDER % ""
    second = ORDER % ', {"name": "discountCode", "type": ["null", "string"], "default": null}'
    third = ORDER % ', {"name": "price", "type": "double"}'
    old = AvroSerializer(client, first)
    new = AvroSerializer(client, second)
    old_bytes = old({"id": "O-1"}, value("orders"))
    new_bytes = new({"id": "O-2", "discountCode": "SPRING"}, value("orders"))
    read = AvroDeserializer(client, second)
    assert read(old_bytes, value("orders")) == {"id": "O-1", "discountCode": None}
    assert read(new_bytes, value("orders")) == {"id": "O-2", "discountCode": "SPRING"}
    assert AvroDeserializer(client)(new_bytes, value("orders"))["discountCode"] == "SPRING"
    error = refused(409, lambda: AvroSerializer(client, third)({"id": "O-3", "price": 1.0}, value("orders")))
    assert "price" in str(error), error

    assert client.get_versions("orders-value") == [1, 2]
    assert client.get_latest_version("orders-value").version == 2
    assert client.get_version("orders-value", 1).schema.schema_str.replace(" ", "") == first.replace(" ", "")
    assert client.lookup_schema("orders-value", Schema(second, "AVRO")).version == 2
    assert client.test_compatibility("orders-value", Schema(first, "AVRO"))
    assert not client.test_compatibility("orders-value", Schema(third, "AVRO"))
    refused(40401, lambda: client.get_latest_version("nothing-value"))
    refused(40402, lambda: client.get_version("orders-value", 9))
    refused(40403, lambda: client.get_schema(4_000_000))
    refused(42201, lambda: client.register_schema("broken-value", Schema('{"type": "recrod"}', "AVRO")))

    assert client.set_compatibility("orders-value", "FULL_TRANSITIVE")["compatibility"] == "FULL_TRANSITIVE"
    assert client.get_compatibility("orders-value") == "FULL_TRANSITIVE"
    assert client.get_compatibility() == "BACKWARD"
    refused(42203, lambda: client.set_compatibility("orders-value", "SIDEWARD"))


def references():
    line = '{"type": "record", "name": "Line", "namespace": "shop", "fields": [{"name": "price", "type": "double"}]}'
    cart = '{"type": "record", "name": "Cart", "namespace": "shop", "fields": [{"name": "lines", "type": {"type": "array", "items": "shop.Line"}}]}'
    client.register_schema("line", Schema(line, "AVRO"))
    schema = Schema(cart, "AVRO", [SchemaReference("shop.Line", "line", 1)])
    write = AvroSerializer(client, schema)
    cart = {"lines": [{"price": 2.5}]}
    written = write(cart, value("carts"))
    assert AvroDeserializer(SchemaRegistryClient({"url": url}))(written, value("carts")) == cart
    refused(42206, lambda: client.delete_version("line", 1))
    refused(42201, lambda: client.register_schema("x", Schema(schema.schema_str, "AVRO", [SchemaReference("shop.Line", "gone", 1)])))


def json():
    schema = '{"$schema": "http://json-schema.org/draft-07/schema#", "title": "Payment", "type": "object", "additionalProperties": false, "properties": {"id": {"type": "string"}%s}, "required": ["id"%s]}'
    write = JSONSerializer(schema % ("", ""), client)
    written = write({"id": "P-1"}, value("payments"))
    assert JSONDeserializer(schema % ("", ""), schema_registry_client=client)(written, value("payments")) == {"id": "P-1"}
    JSONSerializer(schema % (', "note": {"type": "string"}', ""), client)({"id": "P-2", "note": "n"}, value("payments"))
    error = refused(409, lambda: JSONSerializer(schema % (', "n": {"type": "string"}', ', "n"'), client)({"id": "P", "n": ""}, value("payments")))
    assert "requires" in str(error), error
    assert client.get_latest_version("payments-value").schema.schema_type == "JSON"


def protobuf():
    folder = Path(tempfile.mkdtemp())
    (folder / "money_heddle.proto").write_text('syntax = "proto3"; package shop; message Money { int64 cents = 1; }')
    (folder / "invoice_heddle.proto").write_text("""
        syntax = "proto3";
        package shop;
        import "money_heddle.proto";
        import "google/protobuf/timestamp.proto";
        message Invoice {
          enum State { OPEN = 0; PAID = 1; }
          string id = 1;
          repeated Money lines = 2;
          map<string, int32> counts = 3;
          oneof how { string card = 4; bool cash = 5; }
          optional State state = 6;
          google.protobuf.Timestamp at = 7;
        }""")
    wellknown = Path(grpc_tools.__file__).parent / "_proto"
    names = ["money_heddle.proto", "invoice_heddle.proto"]
    assert protoc.main(["protoc", f"-I{folder}", f"-I{wellknown}", f"--python_out={folder}", *names]) == 0
    sys.path.insert(0, str(folder))
    import invoice_heddle_pb2
    import money_heddle_pb2

    invoice = invoice_heddle_pb2.Invoice(id="I-1", lines=[money_heddle_pb2.Money(cents=5)], counts={"a": 1}, card="c", state=1)
    invoice.at.seconds = 7
    write = ProtobufSerializer(invoice_heddle_pb2.Invoice, client)
    written = write(invoice, value("invoices"))
    # Another client with an empty cache.
    other = SchemaRegistryClient({"url": url})
    read = ProtobufDeserializer(invoice_heddle_pb2.Invoice, {}, other)
    assert read(written, value("invoices")) == invoice
    text = client.get_latest_version("invoices-value").schema
    assert text.schema_type == "PROTOBUF" and "message Invoice" in text.schema_str, text
    assert [r.name for r in text.references] == ["money_heddle.proto"], text.references
    # The text that was generated from the descriptor is the same schema as the handwritten one.
    again = Schema((folder / "invoice_heddle.proto").read_text(), "PROTOBUF", text.references)
    changed = Schema(again.schema_str.replace("string id = 1", "int64 id = 1"), "PROTOBUF", text.references)
    assert client.test_compatibility("invoices-value", again)
    assert not client.test_compatibility("invoices-value", changed)


def headers():
    """Schemas that are named in headers, by their GUIDs."""
    schema = ORDER % ""
    headers = []
    context = SerializationContext("named", MessageField.VALUE, headers)
    write = AvroSerializer(client, schema, conf={"schema.id.serializer": header_schema_id_serializer})
    written = write({"id": "O-12345"}, context)
    (name, content), = headers
    assert (name, content[0], len(content)) == ("__value_schema_id", 1, 17), headers
    assert written[0] == 2 * len("O-12345"), "the value has no prefix"
    other = SchemaRegistryClient({"url": url})
    assert AvroDeserializer(other)(written, context) == {"id": "O-12345"}
    guid = str(uuid.UUID(bytes=content[1:]))
    assert other.get_schema_by_guid(guid).schema_str == client.get_latest_version("named-value").schema.schema_str
    refused(40403, lambda: client.get_schema_by_guid(str(uuid.UUID(int=7))))


def deletes():
    schema = Schema('"string"', "AVRO")
    first = client.register_schema("short-value", schema)
    assert client.register_schema("other-value", schema) == first
    assert client.delete_subject("short-value") == [1]
    refused(40401, lambda: client.get_versions("short-value"))
    assert "short-value" not in client.get_subjects()
    assert "short-value" in client.get_subjects(deleted=True)
    again = SchemaRegistryClient({"url": url})
    assert again.register_schema("short-value", schema) == first
    assert again.get_versions("short-value") == [2]
    assert again.delete_version("short-value", 2) == 2
    assert again.delete_subject("short-value", permanent=True) == [1, 2]
    assert "short-value" not in again.get_subjects(deleted=True)
    assert again.get_schema(first).schema_str == '"string"', "another subject has it"


for test in [avro, references, json, protobuf, headers, deletes]:
    test()
    print(f"{test.__name__}: ok")
