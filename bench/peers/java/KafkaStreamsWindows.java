import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Four entities by four windows with Kafka Streams, by hand on the Processor API: a store of rows, a store of running
 * sums, a topic between each entity and the next. Arguments: broker, application, input, output, count, report.
 */
public final class KafkaStreamsWindows {
    private static final int WINDOWS = Payment.WIDTHS_US.length;

    public static void main(String[] args) throws Exception {
        Progress.expect(Long.parseLong(args[4]), args[5]);
        Topology topology = new Topology();
        for (int entity = 0; entity < Payment.ENTITIES.length; entity++) {
            String name = Payment.ENTITIES[entity];
            boolean last = entity == Payment.ENTITIES.length - 1;
            String from = entity == 0 ? args[2] : args[1] + "-by-" + name;
            String to = last ? args[3] : args[1] + "-by-" + Payment.ENTITIES[entity + 1];
            int number = entity;
            topology
                .addSource("from-" + name, Serdes.String().deserializer(), Serdes.ByteArray().deserializer(), from)
                .addProcessor(name, () -> new Windows(number), "from-" + name)
                .addStateStore(Stores.keyValueStoreBuilder(
                    Stores.inMemoryKeyValueStore(name + "-sums"), Serdes.String(), Serdes.ByteArray())
                    .withCachingEnabled(), name)
                .addStateStore(Stores.keyValueStoreBuilder(
                    Stores.inMemoryKeyValueStore(name + "-rows"), Serdes.String(), Serdes.ByteArray()), name)
                .addSink("to-" + name, to, Serdes.String().serializer(), Serdes.ByteArray().serializer(), name);
        }
        Properties settings = new Properties();
        settings.putAll(Map.of(
            StreamsConfig.APPLICATION_ID_CONFIG, args[1],
            StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0],
            StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2,
            StreamsConfig.REPLICATION_FACTOR_CONFIG, 1,
            StreamsConfig.STATE_DIR_CONFIG, args[5] + "-state",
            StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20,
            StreamsConfig.METRIC_REPORTER_CLASSES_CONFIG, "",
            StreamsConfig.ENABLE_METRICS_PUSH_CONFIG, false,
            "auto.offset.reset", "earliest"));
        KafkaStreams streams = new KafkaStreams(topology, settings);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
        streams.start();
    }

    private static final class Windows implements Processor<String, byte[], String, byte[]> {
        private final int entity;
        private ProcessorContext<String, byte[]> context;
        private KeyValueStore<String, byte[]> sums;
        private KeyValueStore<String, byte[]> rows;

        Windows(int entity) {
            this.entity = entity;
        }

        @Override
        public void init(ProcessorContext<String, byte[]> context) {
            this.context = context;
            sums = context.getStateStore(Payment.ENTITIES[entity] + "-sums");
            rows = context.getStateStore(Payment.ENTITIES[entity] + "-rows");
        }

        @Override
        public void process(Record<String, byte[]> record) {
            Payment payment;
            try {
                payment = entity == 0 ? Payment.ofJson(record.value()) : Payment.ofLine(record.value());
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
            add(payment, payment.keys[entity]);
            boolean last = entity == Payment.ENTITIES.length - 1;
            context.forward(new Record<>(last ? payment.id : payment.keys[entity + 1], payment.line(), record.timestamp()));
            if (last) Progress.tick();
        }

        /** State: the next row's number; of each window its first row's number and time, its count and sum. */
        private void add(Payment payment, String key) {
            byte[] before = sums.get(key);
            ByteBuffer state = ByteBuffer.allocate(8 + 32 * WINDOWS);
            if (before != null) state.put(0, before);
            long next = state.getLong(0), oldest = state.getLong(8 + 32 * (WINDOWS - 1));
            rows.put(key + '#' + next, row(payment.timeUs, payment.amount));
            state.putLong(0, next + 1);
            for (int k = 0; k < WINDOWS; k++) {
                int at = 8 + 32 * k;
                long head = state.getLong(at), headTime = state.getLong(at + 8);
                long count = state.getLong(at + 16) + 1, sum = state.getLong(at + 24) + payment.amount;
                if (head == next) headTime = payment.timeUs;
                while (headTime < payment.timeUs - Payment.WIDTHS_US[k]) {
                    sum -= ByteBuffer.wrap(rows.get(key + '#' + head)).getLong(8);
                    count--;
                    headTime = ByteBuffer.wrap(rows.get(key + '#' + ++head)).getLong(0);
                }
                state.putLong(at, head).putLong(at + 8, headTime).putLong(at + 16, count).putLong(at + 24, sum);
                payment.values[(entity * WINDOWS + k) * 2] = count;
                payment.values[(entity * WINDOWS + k) * 2 + 1] = sum;
            }
            for (long gone = oldest; gone < state.getLong(8 + 32 * (WINDOWS - 1)); gone++) rows.delete(key + '#' + gone);
            sums.put(key, state.array());
        }

        private static byte[] row(long timeUs, long amount) {
            return ByteBuffer.allocate(16).putLong(timeUs).putLong(amount).array();
        }
    }
}
