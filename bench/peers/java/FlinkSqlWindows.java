import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.streaming.api.CheckpointingMode;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.Table;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.types.Row;

/**
 * Four entities by four windows with Flink SQL, which takes one OVER window a SELECT: sixteen of them, nested. Rows wait
 * for the watermark, so the log's last ones never come out. Arguments: broker, application, input, output, count, report.
 */
public final class FlinkSqlWindows {
    private static final String[] WIDTHS = {"'1' MINUTE", "'1' HOUR", "'1' DAY", "'7' DAY"};

    public static void main(String[] args) throws Exception {
        Progress.expect(Long.parseLong(args[4]), args[5]);
        StreamExecutionEnvironment flink = StreamExecutionEnvironment.getExecutionEnvironment();
        flink.setParallelism(1);
        flink.enableCheckpointing(10_000, CheckpointingMode.EXACTLY_ONCE);
        flink.getCheckpointConfig().setCheckpointStorage("file://" + args[5] + "-checkpoints");
        flink.getConfig().enableObjectReuse();
        StreamTableEnvironment tables = StreamTableEnvironment.create(flink);
        tables.executeSql(
            "CREATE TABLE payments (id STRING, `time` TIMESTAMP_LTZ(3), card STRING, account STRING,"
            + " merchant ROW<id STRING>, device STRING, amount BIGINT, WATERMARK FOR `time` AS `time`) WITH ("
            + "'connector' = 'kafka', 'topic' = '" + args[2] + "', 'properties.bootstrap.servers' = '" + args[0] + "',"
            + "'properties.group.id' = '" + args[1] + "', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json',"
            + "'json.timestamp-format.standard' = 'ISO-8601')");
        String query =
            "SELECT id, `time`, card AS k0, account AS k1, merchant.id AS k2, device AS k3, amount FROM payments";
        List<String> values = new ArrayList<>();
        for (int entity = 0; entity < Payment.ENTITIES.length; entity++) {
            for (String width : WIDTHS) {
                String count = "c" + values.size(), sum = "s" + values.size();
                query = "SELECT *, COUNT(*) OVER w AS " + count + ", SUM(amount) OVER w AS " + sum + " FROM (" + query
                    + ") WINDOW w AS (PARTITION BY k" + entity + " ORDER BY `time` RANGE BETWEEN INTERVAL " + width
                    + " PRECEDING AND CURRENT ROW)";
                values.add(count);
                values.add(sum);
            }
        }
        Table answer = tables.sqlQuery(query);
        KafkaSink<Row> sink = KafkaSink.<Row>builder()
            .setBootstrapServers(args[0])
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix(args[1])
            .setProperty("transaction.timeout.ms", "600000")
            .setRecordSerializer(KafkaRecordSerializationSchema.<Row>builder()
                .setTopic(args[3]).setValueSerializationSchema(FlinkSqlWindows::line).build())
            .build();
        tables.toDataStream(answer).sinkTo(sink);
        flink.execute(args[1]);
    }

    /** The line that the other engines write: id, keys, time, amount, values. */
    private static byte[] line(Row row) {
        StringBuilder text = new StringBuilder(256).append(row.getField(0));
        for (int k = 2; k < 6; k++) text.append(',').append(row.getField(k));
        text.append(',').append(row.getField(1)).append(',').append(row.getField(6));
        for (int k = 7; k < row.getArity(); k++) text.append(',').append(row.getField(k));
        Progress.tick();
        return text.toString().getBytes(StandardCharsets.US_ASCII);
    }
}
