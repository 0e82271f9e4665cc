import java.lang.management.ManagementFactory;

/** Reads its thread's CPU time often, starts threads, and prints its id. */
final class Times {
    private static void read() {
        var threads = ManagementFactory.getThreadMXBean();
        long last = 0;
        for (int turn = 0; turn < 5_000; turn++) {
            long now = threads.getCurrentThreadCpuTime();
            if (now < last) {
                throw new IllegalStateException(now + " after " + last);
            }
            last = now;
        }
    }

    public static void main(String[] arguments) throws InterruptedException {
        var other = new Thread(Times::read);
        other.start();
        read();
        other.join();
        System.out.println(ProcessHandle.current().pid());
    }
}
