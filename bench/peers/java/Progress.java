import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.concurrent.atomic.AtomicLong;

/** Counts payments, and reports what those behind the first quarter took: wall clock and CPU of the process. */
public final class Progress {
    private static final AtomicLong DONE = new AtomicLong();
    private static volatile long count, wall, cpu;
    private static Path report;

    static void expect(long payments, String file) {
        count = payments;
        report = Path.of(file);
    }

    static void tick() {
        long done = DONE.incrementAndGet();
        if (done == count / 4) {
            wall = System.nanoTime();
            cpu = cpuNs();
        } else if (done == count) {
            long events = count - count / 4;
            String text = String.format(
                java.util.Locale.ROOT, "{\"events\": %d, \"wall_s\": %.6f, \"cpu_s\": %.6f}", events,
                (System.nanoTime() - wall) / 1e9, (cpuNs() - cpu) / 1e9);
            try {
                Path fresh = report.resolveSibling(report.getFileName() + ".fresh");
                Files.writeString(fresh, text);
                Files.move(fresh, report, StandardCopyOption.ATOMIC_MOVE);
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
        }
    }

    private static long cpuNs() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
            .getProcessCpuTime();
    }
}
