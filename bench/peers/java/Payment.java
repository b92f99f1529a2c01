import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.Instant;

/** A payment with what the windows have said of it so far: a count and a sum a window, entity by entity. */
public final class Payment {
    static final String[] ENTITIES = {"card", "account", "merchant", "device"};
    static final long[] WIDTHS_US = {60_000_000L, 3_600_000_000L, 86_400_000_000L, 604_800_000_000L};
    private static final ObjectMapper MAPPER = new ObjectMapper();

    public String id;
    public String[] keys;
    public long timeUs;
    public long amount;
    public long[] values = new long[ENTITIES.length * WIDTHS_US.length * 2];

    static Payment ofJson(byte[] json) throws IOException {
        JsonNode node = MAPPER.readTree(json);
        Payment payment = new Payment();
        payment.id = node.get("id").textValue();
        payment.keys = new String[] {
            node.get("card").textValue(), node.get("account").textValue(),
            node.get("merchant").get("id").textValue(), node.get("device").textValue(),
        };
        Instant time = Instant.parse(node.get("time").textValue());
        payment.timeUs = time.getEpochSecond() * 1_000_000L + time.getNano() / 1_000;
        payment.amount = Long.parseLong(node.get("amount").textValue());
        return payment;
    }

    /** One line: the id, the keys, time and amount, and the values. */
    byte[] line() {
        StringBuilder text = new StringBuilder(256).append(id);
        for (String key : keys) text.append(',').append(key);
        text.append(',').append(timeUs).append(',').append(amount);
        for (long value : values) text.append(',').append(value);
        return text.toString().getBytes(java.nio.charset.StandardCharsets.US_ASCII);
    }

    static Payment ofLine(byte[] line) {
        String[] parts = new String(line, java.nio.charset.StandardCharsets.US_ASCII).split(",");
        Payment payment = new Payment();
        payment.id = parts[0];
        payment.keys = new String[] {parts[1], parts[2], parts[3], parts[4]};
        payment.timeUs = Long.parseLong(parts[5]);
        payment.amount = Long.parseLong(parts[6]);
        for (int k = 0; k < payment.values.length; k++) payment.values[k] = Long.parseLong(parts[7 + k]);
        return payment;
    }
}
