package heddle.bench;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serializer;

/**
 * Avro behind the five bytes that Confluent's serializers write. Readers and writers are reused; encoders, decoders and
 * buffers are created for each value.
 */
final class AvroSerde implements Serde<GenericRecord> {
    private final Schema schema;
    private final int id;

    AvroSerde(Schema schema, int id) {
        this.schema = withStrings(schema);
        this.id = id;
    }

    Schema schema() {
        return schema;
    }

    /** Makes Avro read strings as String. Its Utf8 would be converted to String anyway. */
    private static Schema withStrings(Schema schema) {
        switch (schema.getType()) {
            case RECORD -> schema.getFields().forEach(field -> withStrings(field.schema()));
            case ARRAY -> withStrings(schema.getElementType());
            case STRING -> GenericData.setStringType(schema, GenericData.StringType.String);
            default -> { }
        }
        return schema;
    }

    @Override
    public Serializer<GenericRecord> serializer() {
        return new Serializer<>() {
            private final GenericDatumWriter<GenericRecord> writer = new GenericDatumWriter<>(schema);

            @Override
            public byte[] serialize(String topic, GenericRecord value) {
                if (value == null) {
                    return null;
                }
                try {
                    // A new buffer for each value: stream threads share a serializer, and short-lived ones are cheap.
                    ByteArrayOutputStream out = new ByteArrayOutputStream(256);
                    out.write(0);
                    out.writeBytes(ByteBuffer.allocate(4).putInt(id).array());
                    BinaryEncoder encoder = EncoderFactory.get().directBinaryEncoder(out, null);
                    writer.write(value, encoder);
                    return out.toByteArray();
                } catch (IOException e) {
                    throw new SerializationException(e);
                }
            }
        };
    }

    @Override
    public Deserializer<GenericRecord> deserializer() {
        return new Deserializer<>() {
            private final GenericDatumReader<GenericRecord> reader = new GenericDatumReader<>(schema);

            @Override
            public GenericRecord deserialize(String topic, byte[] bytes) {
                if (bytes == null) {
                    return null;
                }
                try {
                    BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(bytes, 5, bytes.length - 5, null);
                    return reader.read(null, decoder);
                } catch (IOException e) {
                    throw new SerializationException(e);
                }
            }
        };
    }
}
