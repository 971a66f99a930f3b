import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.avro.AvroSchema;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.CachedSchemaRegistryClient;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.rest.entities.SchemaReference;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.rest.exceptions.RestClientException;

/**
 * Tests Confluent's CachedSchemaRegistryClient against the registry at the address in the argument. Confluent does not
 * publish the client on Maven Central. Flink's connector there contains its classes (7.5.3), unchanged except for a
 * package of Flink's.
 */
public class ConfluentClient {
  private static final String ORDER =
      "{\"type\":\"record\",\"name\":\"Order\",\"namespace\":\"java\",\"fields\":[{\"name\":\"id\",\"type\":\"string\"}%s]}";
  private static final AvroSchema FIRST = order("");
  private static final AvroSchema WIDER = order(",{\"name\":\"code\",\"type\":[\"null\",\"string\"],\"default\":null}");
  private static final AvroSchema BROKEN = order(",{\"name\":\"price\",\"type\":\"double\"}");

  private static String url;

  public static void main(String[] arguments) throws Exception {
    url = arguments[0];
    schemas();
    evolution();
    references();
    levelsAndModes();
    deletes();
  }

  private static AvroSchema order(String more) {
    return new AvroSchema(ORDER.formatted(more));
  }

  /** A client with an empty cache, so that its answers come from the registry. */
  private static CachedSchemaRegistryClient client() {
    return new CachedSchemaRegistryClient(List.of(url), 100, Map.of());
  }

  private static void schemas() throws Exception {
    var client = client();
    int first = client.register("java.orders-value", FIRST);
    same(first, client().register("java.orders-value", FIRST));
    int wider = client.register("java.orders-value", WIDER);
    same(true, wider > first);
    same(FIRST, client().getSchemaById(first));
    same(WIDER, client().getSchemaBySubjectAndId("java.orders-value", wider));
    same(first, client().getId("java.orders-value", FIRST));
    same(2, client().getVersion("java.orders-value", WIDER));
    same(List.of(1, 2), client().getAllVersions("java.orders-value"));
    var latest = client().getLatestSchemaMetadata("java.orders-value");
    same(List.of(wider, 2, "AVRO"), List.of(latest.getId(), latest.getVersion(), latest.getSchemaType()));
    same(WIDER, new AvroSchema(latest.getSchema()));
    same(first, client().getSchemaMetadata("java.orders-value", 1).getId());
    same(true, client().getAllSubjects().contains("java.orders-value"));
    same(List.of("java.orders-value"), List.copyOf(client().getAllSubjectsByPrefix("java.orders")));
    same(Set.of("java.orders-value"), Set.copyOf(client().getAllSubjectsById(first)));
    var versions = client().getAllVersionsById(wider);
    same("java.orders-value 2", versions.stream().map(v -> v.getSubject() + " " + v.getVersion()).findFirst().get());
    same(List.of(WIDER), client().getSchemas("java.orders", false, true));
    refused(40401, () -> client().getLatestSchemaMetadata("java.nothing-value"));
    refused(40402, () -> client().getSchemaMetadata("java.orders-value", 9));
    refused(40403, () -> client().getSchemaById(4_000_000));
    refused(40403, () -> client().getId("java.orders-value", BROKEN));
    told("schemas");
  }

  private static void evolution() throws Exception {
    same(true, client().testCompatibility("java.orders-value", FIRST));
    same(false, client().testCompatibility("java.orders-value", BROKEN));
    same(List.of(), client().testCompatibilityVerbose("java.orders-value", FIRST));
    var why = String.join("\n", client().testCompatibilityVerbose("java.orders-value", BROKEN));
    same(true, why.contains("price"));
    var refused = refused(409, () -> client().register("java.orders-value", BROKEN));
    same(409, refused.getStatus());
    same(true, refused.getMessage().contains("price"));
    same(List.of(1, 2), client().getAllVersions("java.orders-value"));
    told("evolution");
  }

  private static void references() throws Exception {
    var line = "{\"type\":\"record\",\"name\":\"Line\",\"namespace\":\"java\",\"fields\":[{\"name\":\"price\",\"type\":\"double\"}]}";
    var cart =
        "{\"type\":\"record\",\"name\":\"Cart\",\"namespace\":\"java\",\"fields\":[{\"name\":\"lines\",\"type\":{\"type\":\"array\",\"items\":\"java.Line\"}}]}";
    client().register("java.line", new AvroSchema(line));
    var reference = new SchemaReference("java.Line", "java.line", 1);
    int id = client().register("java.carts-value", new AvroSchema(cart, List.of(reference), Map.of("java.Line", line), null));
    // The client fetches the references of the schema, and parses both.
    var read = (AvroSchema) client().getSchemaById(id);
    same(List.of(reference), read.references());
    same("java.Line", read.rawSchema().getField("lines").schema().getElementType().getFullName());
    refused(42206, () -> client().deleteSchemaVersion("java.line", "1"));
    told("references");
  }

  private static void levelsAndModes() throws Exception {
    same("FULL", client().updateCompatibility("java.orders-value", "FULL"));
    same("FULL", client().getCompatibility("java.orders-value"));
    same("BACKWARD", client().getCompatibility(null));
    refused(42203, () -> client().updateCompatibility("java.orders-value", "SIDEWARD"));
    client().deleteCompatibility("java.orders-value");
    same("READWRITE", client().getMode());
    same("READONLY", client().setMode("READONLY", "java.orders-value"));
    same("READONLY", client().getMode("java.orders-value"));
    refused(42205, () -> client().register("java.orders-value", order(",{\"name\":\"n\",\"type\":\"int\",\"default\":0}")));
    client().deleteMode("java.orders-value");
    same("IMPORT", client().setMode("IMPORT", "java.imported-value"));
    same(7_777, client().register("java.imported-value", BROKEN, 5, 7_777));
    same(List.of(5), client().getAllVersions("java.imported-value"));
    told("levels and modes");
  }

  private static void deletes() throws Exception {
    var client = client();
    client.register("java.short-value", FIRST);
    client.register("java.short-value", WIDER);
    same(1, client.deleteSchemaVersion("java.short-value", "1"));
    same(List.of(2), client().getAllVersions("java.short-value"));
    same(List.of(1, 2), client().getAllVersions("java.short-value", true));
    same(List.of(2), client.deleteSubject("java.short-value"));
    same(false, client().getAllSubjects().contains("java.short-value"));
    same(true, client().getAllSubjects(true).contains("java.short-value"));
    refused(40401, () -> client().getAllVersions("java.short-value"));
    same(List.of(1, 2), client.deleteSubject("java.short-value", true));
    same(false, client().getAllSubjects(true).contains("java.short-value"));
    told("deletes");
  }

  private interface Call {
    Object run() throws Exception;
  }

  private static RestClientException refused(int code, Call call) throws Exception {
    Object answer;
    try {
      answer = call.run();
    } catch (RestClientException refusal) {
      same(code, refusal.getErrorCode());
      return refusal;
    }
    throw new AssertionError("not refused with " + code + ", but answered " + answer);
  }

  private static void same(Object expected, Object found) {
    if (!expected.equals(found)) {
      throw new AssertionError("expected " + expected + ", found " + found);
    }
  }

  private static void told(String what) {
    System.out.println(what + ": ok");
  }
}
