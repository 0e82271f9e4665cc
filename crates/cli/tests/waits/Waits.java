import java.util.concurrent.*;
import java.util.concurrent.locks.*;

/** Waits for a minute in each of Java's ways, and then for 36 s ten times. */
class Waits {
    interface Way {
        void run() throws Exception;
    }

    static void measure(String name, double seconds, Way way) throws Exception {
        long start = System.nanoTime(), wall = System.currentTimeMillis();
        way.run();
        double passed = (System.nanoTime() - start) / 1e9;
        double walls = (System.currentTimeMillis() - wall) / 1e3;
        // currentTimeMillis() cuts off up to a millisecond, so that parkUntil() may end that much earlier.
        boolean isRight = passed > seconds - 0.001 && passed < seconds + 10
            && Math.abs(walls - passed) < 1;
        System.out.println(isRight ? name : name + " " + passed + " " + walls);
    }

    public static void main(String[] arguments) throws Exception {
        measure("sleep", 60, () -> Thread.sleep(60_000));
        Object lock = new Object();
        measure("wait", 60, () -> {
            synchronized (lock) {
                lock.wait(60_000);
            }
        });
        measure("parkNanos", 60, () -> LockSupport.parkNanos(60_000_000_000L));
        measure("parkUntil", 60, () -> LockSupport.parkUntil(System.currentTimeMillis() + 60_000));
        var executor = Executors.newScheduledThreadPool(1);
        measure("schedule", 60, () -> executor.schedule(() -> 1, 60, TimeUnit.SECONDS).get());
        executor.shutdown();
        measure("poll", 60, () -> new LinkedBlockingQueue<Integer>().poll(60, TimeUnit.SECONDS));
        measure("sleeps", 360, () -> {
            for (int i = 0; i < 10; i++) Thread.sleep(36_000);
        });
    }
}
