// Nanoseconds of one read, in the second of two rounds: the first one compiles.
import gauge.Gauge;
import java.nio.file.Path;

class Read {
    public static void main(String[] arguments) throws Exception {
        Gauge gauge = new Gauge(Path.of(arguments[0]));
        int count = Integer.parseInt(arguments[1]);
        double sum = 0;
        long took = 0;
        for (int round = 0; round < 2; round++) {
            long start = System.nanoTime();
            for (int i = 0; i < count; i++) sum += gauge.level();
            took = System.nanoTime() - start;
        }
        System.out.println((double) took / count + 0 * sum);
    }
}
