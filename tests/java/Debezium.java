import com.fasterxml.jackson.databind.ObjectMapper;
import io.apicurio.registry.utils.converter.avro.AvroData;
import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import io.debezium.engine.format.ChangeEventFormat;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.FileReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.SimpleHeaderConverter;

/**
 * Debezium's embedded engine: writes to Kafka what a PostgreSQL changes, as Debezium in Kafka Connect does with Confluent's Avro converter. Arguments: the
 * engine's properties (a file), Kafka's bootstrap, the registry. Prints "mark n" when row n of the table `marks` is in Kafka, and with it all that was committed before.
 */
public class Debezium implements DebeziumEngine.ChangeConsumer<RecordChangeEvent<SourceRecord>> {
  private final AvroData connect = new AvroData(1000);
  private final SimpleHeaderConverter headers = new SimpleHeaderConverter();
  private final HttpClient http = HttpClient.newHttpClient();
  private final ObjectMapper json = new ObjectMapper();
  private final Map<String, Integer> ids = new HashMap<>();
  private final KafkaProducer<byte[], byte[]> producer;
  private final String registry;

  public static void main(String[] arguments) throws Exception {
    var properties = new Properties();
    try (var file = new FileReader(arguments[0])) {
      properties.load(file);
    }
    var engine = DebeziumEngine.create(ChangeEventFormat.of(Connect.class))
        .using(properties)
        .notifying(new Debezium(arguments[1], arguments[2]))
        .using((success, message, error) -> {
          System.out.println("ended: " + message + " " + error);
          System.exit(1);
        })
        .build();
    engine.run();
  }

  private Debezium(String bootstrap, String registry) {
    this.registry = registry;
    var settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("acks", "all");
    producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
  }

  @Override
  public void handleBatch(List<RecordChangeEvent<SourceRecord>> events, DebeziumEngine.RecordCommitter<RecordChangeEvent<SourceRecord>> committer)
      throws InterruptedException {
    var marks = new StringBuilder();
    for (var event : events) {
      var record = event.record();
      producer.send(written(record));
      if (record.topic().endsWith(".marks") && record.value() != null) {
        marks.append("mark ").append(((Struct) record.key()).get("id")).append("\n");
      }
    }
    producer.flush();
    System.out.print(marks);
    System.out.flush();
    for (var event : events) {
      committer.markProcessed(event);
    }
    committer.markBatchFinished();
  }

  private ProducerRecord<byte[], byte[]> written(SourceRecord record) {
    var key = bytes(record.topic() + "-key", record.keySchema(), record.key());
    var value = bytes(record.topic() + "-value", record.valueSchema(), record.value());
    var written = new ProducerRecord<>(record.topic(), record.kafkaPartition(), record.timestamp(), key, value);
    for (var header : record.headers()) {
      written.headers().add(header.key(), headers.fromConnectHeader(record.topic(), header.key(), header.schema(), header.value()));
    }
    return written;
  }

  /** A zero byte, the schema's id, Avro: what Confluent's serializer writes. */
  private byte[] bytes(String subject, Schema schema, Object value) {
    if (value == null) {
      return null;
    }
    try {
      var avro = connect.fromConnectSchema(schema);
      var bytes = new ByteArrayOutputStream();
      var start = new DataOutputStream(bytes);
      start.writeByte(0);
      start.writeInt(id(subject, avro.toString()));
      start.flush();
      var encoder = EncoderFactory.get().directBinaryEncoder(bytes, null);
      new GenericDatumWriter<>(avro).write(connect.fromConnectData(schema, value), encoder);
      encoder.flush();
      return bytes.toByteArray();
    } catch (Exception failure) {
      throw new IllegalStateException(subject, failure);
    }
  }

  private int id(String subject, String schema) throws Exception {
    var known = ids.get(subject + schema);
    if (known != null) {
      return known;
    }
    var body = json.writeValueAsString(Map.of("schema", schema));
    var request = HttpRequest.newBuilder(URI.create(registry + "/subjects/" + subject + "/versions"))
        .header("Content-Type", "application/vnd.schemaregistry.v1+json")
        .POST(HttpRequest.BodyPublishers.ofString(body))
        .build();
    var answer = http.send(request, HttpResponse.BodyHandlers.ofString());
    if (answer.statusCode() != 200) {
      throw new IllegalStateException(answer.statusCode() + " " + answer.body() + "\n" + schema);
    }
    int id = json.readTree(answer.body()).get("id").asInt();
    ids.put(subject + schema, id);
    return id;
  }
}
