package heddle.bench;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The order flow as a Kafka Streams program: exactly once, stores in RocksDB with changelogs.
 *
 * <p>Two choices favour Kafka Streams. The seen ids are in a plain key-value store that forgets nothing, because a
 * window store costs more. The accounts are cached, so that a commit writes each customer once.
 */
public final class Flow {
    private static final double TIER = 10_000.0;

    private Flow() {}

    /** Arguments: bootstrap, application id, state folder, commit interval in ms, threads, contracts folder, schema ids. */
    public static void main(String[] arguments) throws Exception {
        Path contracts = Path.of(arguments[5]);
        AvroSerde orders = serde(contracts, "orders.created-value", arguments[6]);
        AvroSerde status = serde(contracts, "orders.status-value", arguments[7]);
        AvroSerde tiers = serde(contracts, "customers.tier-value", arguments[8]);
        AvroSerde accounts = serde(contracts, "Account", arguments[9]);

        Topology topology = new Topology();
        topology.addSource("orders", Serdes.String().deserializer(), orders.deserializer(), "orders.created");
        topology.addProcessor("ledger", () -> new Ledger(status.schema(), tiers.schema(), accounts.schema()), "orders");
        topology.addStateStore(
                Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("accounts"), Serdes.String(), accounts)
                        .withCachingEnabled(),
                "ledger");
        topology.addStateStore(
                Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("seen"), Serdes.String(), Serdes.Long()),
                "ledger");
        topology.addSink("status", "orders.status", Serdes.String().serializer(), status.serializer(), "ledger");
        topology.addSink("tiers", "customers.tier", Serdes.String().serializer(), tiers.serializer(), "ledger");

        KafkaStreams streams = new KafkaStreams(topology, settings(arguments));
        // Without leaving the group, the next start would wait until this member's session expires.
        CloseOptions close = CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP)
                .withTimeout(Duration.ofSeconds(20));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(close)));
        streams.start();
    }

    private static Properties settings(String[] arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[1]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[2]);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, arguments[3]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, arguments[4]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        // The same linger as Heddle's, so that the two are comparable.
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 5);
        return settings;
    }

    private static AvroSerde serde(Path contracts, String name, String id) throws Exception {
        String text = Files.readString(contracts.resolve(name + ".avsc"));
        return new AvroSerde(new Schema.Parser().parse(text), Integer.parseInt(id));
    }

    /** Keeps a running total of each customer's orders, and emits when it reaches another full 10,000. */
    private static final class Ledger implements Processor<String, GenericRecord, String, GenericRecord> {
        private final Schema statusSchema;
        private final Schema tierSchema;
        private final Schema accountSchema;
        private ProcessorContext<String, GenericRecord> context;
        private KeyValueStore<String, GenericRecord> accounts;
        private KeyValueStore<String, Long> seen;

        Ledger(Schema statusSchema, Schema tierSchema, Schema accountSchema) {
            this.statusSchema = statusSchema;
            this.tierSchema = tierSchema;
            this.accountSchema = accountSchema;
        }

        @Override
        public void init(ProcessorContext<String, GenericRecord> context) {
            this.context = context;
            accounts = context.getStateStore("accounts");
            seen = context.getStateStore("seen");
        }

        @Override
        public void process(Record<String, GenericRecord> record) {
            GenericRecord order = record.value();
            String orderId = (String) order.get("orderId");
            if (seen.get(orderId) != null) {
                return;
            }
            seen.put(orderId, record.timestamp());
            String customer = (String) order.get("customerId");
            GenericRecord before = accounts.get(customer);
            long orders = (before == null ? 0 : (Long) before.get("orders")) + 1;
            double totalBefore = before == null ? 0.0 : (Double) before.get("totalAmount");
            double total = totalBefore + (Double) order.get("totalAmount");
            GenericRecord account = new GenericData.Record(accountSchema);
            account.put("orders", orders);
            account.put("totalAmount", total);
            account.put("lastOrderId", orderId);
            accounts.put(customer, account);
            int tier = (int) (total / TIER);
            if (tier > (int) (totalBefore / TIER)) {
                GenericRecord reached = new GenericData.Record(tierSchema);
                reached.put("customerId", customer);
                reached.put("tier", tier);
                reached.put("orderId", orderId);
                context.forward(record.withValue(reached), "tiers");
            }
            GenericRecord status = new GenericData.Record(statusSchema);
            status.put("orderId", orderId);
            status.put("customerId", customer);
            status.put("ordersOfCustomer", orders);
            status.put("totalOfCustomer", total);
            context.forward(record.withValue(status), "status");
        }
    }
}
