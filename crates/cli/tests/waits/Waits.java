import java.util.concurrent.*;
import java.util.concurrent.locks.*;

/** Waits for some seconds in each of Java's ways, and prints how long each lasted by both clocks. */
class Waits {
    interface Way {
        void run() throws Exception;
    }

    static void measure(String name, Way way) throws Exception {
        long start = System.nanoTime(), wall = System.currentTimeMillis();
        way.run();
        double passed = (System.nanoTime() - start) / 1e9;
        double shown = (System.currentTimeMillis() - wall) / 1e3;
        System.out.println(name + " " + passed + " " + shown);
    }

    public static void main(String[] arguments) throws Exception {
        long span = (long) (Double.parseDouble(arguments[0]) * 1000);
        measure("sleep", () -> Thread.sleep(span));
        Object lock = new Object();
        measure("wait", () -> {
            synchronized (lock) {
                lock.wait(span);
            }
        });
        measure("parkNanos", () -> LockSupport.parkNanos(span * 1_000_000));
        // currentTimeMillis() cuts off up to a millisecond, so that parkUntil() may end that much earlier.
        measure("parkUntil", () -> LockSupport.parkUntil(System.currentTimeMillis() + span));
        var executor = Executors.newScheduledThreadPool(1);
        measure("schedule", () -> executor.schedule(() -> 1, span, TimeUnit.MILLISECONDS).get());
        executor.shutdown();
        measure("poll", () -> new LinkedBlockingQueue<Integer>().poll(span, TimeUnit.MILLISECONDS));
        measure("sleeps", () -> {
            for (int i = 0; i < 10; i++) Thread.sleep(span / 10);
        });
    }
}
