import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.CheckpointingMode;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/**
 * Four entities by four windows with Flink's DataStream, by hand: a keyed function an entity, its state on the heap, in
 * order of arrival. Arguments: broker, application, input, output, count, report.
 */
public final class FlinkWindows {
    private static final int WINDOWS = Payment.WIDTHS_US.length;

    public static void main(String[] args) throws Exception {
        Progress.expect(Long.parseLong(args[4]), args[5]);
        StreamExecutionEnvironment flink = StreamExecutionEnvironment.getExecutionEnvironment();
        flink.setParallelism(1);
        flink.enableCheckpointing(10_000, CheckpointingMode.EXACTLY_ONCE);
        flink.getCheckpointConfig().setCheckpointStorage("file://" + args[5] + "-checkpoints");
        flink.getConfig().enableObjectReuse();
        KafkaSource<Payment> source = KafkaSource.<Payment>builder()
            .setBootstrapServers(args[0]).setTopics(args[2]).setGroupId(args[1])
            .setStartingOffsets(OffsetsInitializer.earliest()).setValueOnlyDeserializer(new Json()).build();
        DataStream<Payment> payments = flink.fromSource(source, WatermarkStrategy.noWatermarks(), "payments");
        for (int entity = 0; entity < Payment.ENTITIES.length; entity++) {
            int number = entity;
            payments = payments.keyBy(payment -> payment.keys[number]).process(new Windows(number))
                .name(Payment.ENTITIES[entity]);
        }
        KafkaSink<Payment> sink = KafkaSink.<Payment>builder()
            .setBootstrapServers(args[0])
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix(args[1])
            .setProperty("transaction.timeout.ms", "600000")
            .setRecordSerializer(KafkaRecordSerializationSchema.<Payment>builder()
                .setTopic(args[3]).setValueSerializationSchema(Payment::line).build())
            .build();
        payments.sinkTo(sink);
        flink.execute(args[1]);
    }

    /** A payment from its JSON. */
    private static final class Json extends AbstractDeserializationSchema<Payment> {
        @Override
        public Payment deserialize(byte[] json) throws java.io.IOException {
            return Payment.ofJson(json);
        }
    }

    /** A key's rows, as a ring that grows, and of each window its first row, its count and its sum. */
    public static final class Rows {
        public long[] times = new long[4];
        public long[] amounts = new long[4];
        public long next;
        public long[] heads = new long[WINDOWS];
        public long[] sums = new long[WINDOWS];

        void add(Payment payment, int entity) {
            long oldest = heads[WINDOWS - 1];
            if (next - oldest == times.length) grow(oldest);
            int mask = times.length - 1;
            times[(int) next & mask] = payment.timeUs;
            amounts[(int) next & mask] = payment.amount;
            next++;
            for (int k = 0; k < WINDOWS; k++) {
                sums[k] += payment.amount;
                while (times[(int) heads[k] & mask] < payment.timeUs - Payment.WIDTHS_US[k]) {
                    sums[k] -= amounts[(int) heads[k]++ & mask];
                }
                payment.values[(entity * WINDOWS + k) * 2] = next - heads[k];
                payment.values[(entity * WINDOWS + k) * 2 + 1] = sums[k];
            }
        }

        private void grow(long oldest) {
            long[] olderTimes = times, olderAmounts = amounts;
            times = new long[2 * olderTimes.length];
            amounts = new long[2 * olderTimes.length];
            for (long row = oldest; row < next; row++) {
                times[(int) row & times.length - 1] = olderTimes[(int) row & olderTimes.length - 1];
                amounts[(int) row & times.length - 1] = olderAmounts[(int) row & olderTimes.length - 1];
            }
        }
    }

    private static final class Windows extends KeyedProcessFunction<String, Payment, Payment> {
        private final int entity;
        private transient ValueState<Rows> state;

        Windows(int entity) {
            this.entity = entity;
        }

        @Override
        public void open(Configuration settings) {
            state = getRuntimeContext().getState(new ValueStateDescriptor<>(Payment.ENTITIES[entity], Rows.class));
        }

        @Override
        public void processElement(Payment payment, Context context, Collector<Payment> out) throws Exception {
            Rows rows = state.value();
            if (rows == null) rows = new Rows();
            rows.add(payment, entity);
            state.update(rows);
            out.collect(payment);
            if (entity == Payment.ENTITIES.length - 1) Progress.tick();
        }
    }
}
