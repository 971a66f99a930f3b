import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.io.JsonEncoder;
import org.apache.avro.util.RandomData;

/** Answers of Apache Avro for Java: one question a line on standard input, one answer a line on standard output. */
public class AvroOracle {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] arguments) throws Exception {
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      ObjectNode answer = JSON.createObjectNode();
      try {
        answer(JSON.readTree(line), answer);
      } catch (Exception | StackOverflowError | OutOfMemoryError error) {
        answer.removeAll();
        answer.put("error", String.valueOf(error));
      }
      out.println(JSON.writeValueAsString(answer));
      out.flush();
    }
  }

  private static Schema schema(JsonNode question, String key) {
    return new Schema.Parser().parse(question.get(key).toString());
  }

  private static void answer(JsonNode question, ObjectNode answer) throws Exception {
    switch (question.get("ask").asText()) {
      case "compat" -> {
        var pair = SchemaCompatibility.checkReaderWriterCompatibility(schema(question, "reader"), schema(question, "writer"));
        answer.put("compatible", pair.getType() == SchemaCompatibility.SchemaCompatibilityType.COMPATIBLE);
      }
      case "parse" -> answer.put("name", schema(question, "schema").getName());
      case "random" -> {
        Schema schema = schema(question, "schema");
        ArrayNode values = answer.putArray("hex");
        for (Object value : new RandomData(schema, question.get("count").asInt(), question.get("seed").asLong(), true)) {
          var bytes = new ByteArrayOutputStream();
          BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(bytes, null);
          new GenericDatumWriter<>(schema).write(value, encoder);
          encoder.flush();
          values.add(HexFormat.of().formatHex(bytes.toByteArray()));
        }
      }
      case "rewrite" -> {
        Schema schema = schema(question, "schema");
        byte[] bytes = HexFormat.of().parseHex(question.get("hex").asText());
        BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(bytes, null);
        Object value = new GenericDatumReader<>(schema).read(null, decoder);
        answer.put("end", decoder.isEnd());
        var again = new ByteArrayOutputStream();
        BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(again, null);
        new GenericDatumWriter<>(schema).write(value, encoder);
        encoder.flush();
        answer.put("hex", HexFormat.of().formatHex(again.toByteArray()));
      }
      case "resolve" -> {
        Schema reader = schema(question, "reader");
        byte[] bytes = HexFormat.of().parseHex(question.get("hex").asText());
        BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(bytes, null);
        Object value = new GenericDatumReader<>(schema(question, "writer"), reader).read(null, decoder);
        answer.put("end", decoder.isEnd());
        var json = new ByteArrayOutputStream();
        JsonEncoder encoder = EncoderFactory.get().jsonEncoder(reader, json);
        new GenericDatumWriter<>(reader).write(value, encoder);
        encoder.flush();
        answer.put("value", json.toString(StandardCharsets.UTF_8));
      }
      default -> throw new IllegalArgumentException(question.toString());
    }
  }
}
